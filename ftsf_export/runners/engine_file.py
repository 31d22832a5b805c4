"""The bare engine in a file, for who makes its own execution context (a benchmark). No Polygraphy, so no binding to one
library for the life of the process."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from ftsf_export.errors import ConfigError, RunError
from ftsf_export.runners.flavour import MODULES
from ftsf_export.runners.tensorrt import know_plugins, require_tensorrt


def load_engine(path: Path, builder: str) -> tuple[Any, str]:
    """The ICudaEngine in ``path``, and the version of the library that runs it.

    ``builder`` ("tensorrt" or "rtx") is the one that made it. Raises ConfigError for another name, EnvironmentLacks
    without the library or a GPU, and RunError with the library's own log for an engine that it refuses.
    """
    if builder not in MODULES:
        raise ConfigError([f"builder: an engine is run by {' or '.join(MODULES)}, got {builder!r}"])
    require_tensorrt(builder)
    library = import_module(MODULES[builder])
    errors: list[str] = []

    class Log(library.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (library.ILogger.INTERNAL_ERROR, library.ILogger.ERROR):
                errors.append(message)

    know_plugins(builder)
    engine = library.Runtime(Log()).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        said = errors[0] if errors else "no reason given"
        raise RunError(
            f"{path.name}: {MODULES[builder]} {library.__version__} refuses it: {said}; "
            "an engine runs only on the GPUs and the library version it was built for: build it here with ftsf build",
            details="\n".join(errors),
        )
    return engine, str(library.__version__)
