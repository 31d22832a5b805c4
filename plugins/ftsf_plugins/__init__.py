"""Linear attentions as one kernel each: additive attention (Fastformer) and FAVOR+ (Performer), for TensorRT plugins.

A folder an operation: ``reference.py`` (float64, NumPy), ``kernel.py`` (Triton), ``plugin.py`` (TensorRT). Importing
this package imports neither Triton nor TensorRT nor torch.
"""
