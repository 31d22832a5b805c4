"""The last block computes only what the class token needs.

Logits are a function of the class token alone. In the last block its spatial attention asks with one query a frame, of
keys and values of all tokens; its MLP sees one token. Every other row of the last two branches is read by nobody.
Softmax attention and FAVOR+ take the mean over frames before the output projection:
mean_f (x_f W + b) = (mean_f x_f) W + b.
"""

NAME = "class-tail"
