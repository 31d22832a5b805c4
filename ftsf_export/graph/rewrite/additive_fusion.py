"""The two poolings of additive attention as attentions with one query.

sum_n softmax_n(w . y_n) y_n = softmax(w Y^T) Y with the rows of Y the tokens: the same sums, written as the two
products and the softmax that compilers know. A compiler that sees multiply and sum makes about seven kernels of it,
one that sees an attention makes one.
"""

NAME = "additive-fusion"
