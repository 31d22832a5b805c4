"""Which TensorRT Polygraphy drives: TensorRT itself, or TensorRT for RTX. The one place that decides it.

Polygraphy binds one of the two when its modules are first imported (``POLYGRAPHY_USE_TENSORRT_RTX``, read into
``polygraphy.config``), for the life of the process. So the choice must come before any other import of Polygraphy, and
a process that needs the other one starts a child: ``runners.child_runner``.
"""

from __future__ import annotations

import sys

from ftsf_export.errors import ConfigError, RunError

MODULES = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}
# Architectures that TensorRT for RTX has packages for, as ``platform.machine`` names them; setup.py has the same.
RTX_MACHINES = ("x86_64", "AMD64")


def choose_flavour(builder: str) -> None:
    """Binds Polygraphy to the builder's library: ``tensorrt`` or ``rtx``.

    Raises ConfigError for another name, RunError when this process is bound to the other library already.
    """
    if builder not in MODULES:
        raise ConfigError([f"builder: an engine is run by {' or '.join(MODULES)}, got {builder!r}"])
    from polygraphy import config

    wanted = builder == "rtx"
    if wanted == config.USE_TENSORRT_RTX:
        return
    if "polygraphy.util" in sys.modules:
        bound = MODULES["rtx" if config.USE_TENSORRT_RTX else "tensorrt"]
        raise RunError(
            f"this process is bound to {bound} and cannot run {MODULES[builder]}; start another process for it"
        )
    config.USE_TENSORRT_RTX = wanted
