"""The class token's mean over frames, taken of the pooled keys.

The copies of the class token enter spatial attention with equal queries q and values v in every frame f, and additive
attention is linear in the values: mean_f ((G_f * v) W_o + q) = ((mean_f G_f) * v) W_o + q, with G_f the pooled key of
frame f. So the mean is taken of F vectors a head instead of being taken of, and put back into, the whole stream.
"""

NAME = "additive-class"
