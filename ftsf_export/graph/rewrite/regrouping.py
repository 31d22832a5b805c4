"""Regrouping of frames as part of the head split and of the norm before it.

Norms and products act on each token alone, so they commute with any order P of the tokens: LN(P x) W = P (LN(x) W).
Spatial attention's frames are therefore joined with the F frames of one position side by side, (T, F), instead of frame
after frame, (F, T). Split into heads, head and frame are then one stride: a fused attention reads its values where the
product left them, and the order back is part of the kernel that adds the result to the stream.
"""

NAME = "regrouping"
