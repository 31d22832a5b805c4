"""8 bits: an FP32 graph, and what its values reach on real clips, become a graph with explicit scales.

In order: ``sites`` finds what is to be quantized, ``equalise`` moves scales of channels between neighbours (exact),
``observe`` looks at the values on clips, ``scales`` chooses ranges, ``place`` writes the nodes; ``stage`` does all
that.

Letters: C channels, R rows of a weight (what comes in), O columns (what goes out), K head width, H heads.
"""
