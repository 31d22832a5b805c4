"""Export-friendly forms of the model: plain reshape, transpose and products on the model's own weights.

Letters, here and below: B clips, F frames, T tokens a frame (1 + P with its copy of the class token), S stream tokens
(F * T), N tokens that attend to each other, H heads, K head width, D width, M features of FAVOR+, R hidden width.
"""
