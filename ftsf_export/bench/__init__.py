"""How fast a file runs: repeated calls under a clock, summed up without leaving any of them out."""
