"""What has to be said before any test module is imported."""

import os

# The kernels of plugins/ are run by Triton's interpreter. Triton reads this when it is first imported, and torch imports
# it.
os.environ.setdefault("TRITON_INTERPRET", "1")
