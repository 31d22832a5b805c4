"""The class token's mean over frames before the output projection, in FAVOR+.

Weights of a mean sum to one: mean_f (u_f W_o + b_o) = (mean_f u_f) W_o + b_o. FAVOR+ divides by its denominators after
its last product, in a kernel that also puts the tokens back in place; the mean becomes part of that one, and F - 1 rows
need no projection. Softmax attention has no such kernel: there the mean is cheaper where the stream is normed.
"""

NAME = "class-mean"
