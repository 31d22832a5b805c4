"""A folder for torch's compiler that is thrown away.

``torch._dynamo``, which torch loads on the way of an export, makes ``torchinductor_USER`` among the temporary files and
leaves it there (PyTorch 2.13, ``torch/_inductor/runtime/cache_dir_utils.py``). Nothing is compiled here, so nothing is
lost with a folder of our own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ftsf_export.disk import scratch_folder

_NAME = "TORCHINDUCTOR_CACHE_DIR"


@contextmanager
def torch_cache_thrown_away() -> Iterator[None]:
    """While it lasts torch's folder is ours, unless the user named one. Raises OutputError as ``scratch_folder``."""
    if _NAME in os.environ:
        yield
        return
    with scratch_folder("ftsf-torch-") as folder:
        os.environ[_NAME] = str(folder)
        try:
            yield
        finally:
            del os.environ[_NAME]
