"""What has to be said before any test module is imported."""

import os

# The kernels of plugins/ run in Triton's interpreter. Triton reads this when it is first imported; torch imports it.
os.environ.setdefault("TRITON_INTERPRET", "1")
