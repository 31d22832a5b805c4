"""Every error that a user can meet, and the exit code that each stands for.

    FtsfError
    |-- GateFailed           1  a gate said no: parity, precision, plan, accuracy (artefacts are kept, marked failed)
    |-- PartlyDone           1  some of many inputs are wrong; what was made of the others is kept
    |-- UsageError           2  wrong usage, configuration or input file
    |   |-- ConfigError         one or more fields of a configuration are wrong: all of them, at once
    |   |-- BundleError         a bundle is missing, altered, half there, or of a schema that we do not know
    |   |-- VideoError          a video that cannot be read, or that is too short
    |   `-- OutputError         a place that cannot be written: it exists, no permission, no space left
    |-- EnvironmentLacks     3  a package, a driver or a GPU is not there: says what to install
    `-- StageError           4  a stage broke
        |-- ExportError         torch.export, the ONNX converter or the checker refused
        |-- SaidElsewhere       another process of the same work failed, and says why: nothing is printed here
        |-- BuildError          the compiler refused, crashed or ran out of time
        |-- RunError            a runtime refused or crashed
        `-- OutOfMemory         memory ran out, while a library was loaded or at work

Anything else that reaches the command line is a bug of ours (exit code 70, traceback kept).

A message is one line that says what, where, expected, got and how to mend it. ``details`` holds what else
may help (a library's own log); the command line shows it only with ``-v``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from ftsf_export.jetson import install_advice

EXIT_DONE = 0
EXIT_BUG = 70


def install_command(extra: str) -> str:
    """What brings the packages of one of our extras to this machine; of the package itself for ""."""
    return install_advice(extra) or _pip(extra)


def _pip(extra: str) -> str:
    return f"pip install 'ftsf-export[{extra}]'" if extra else "pip install ftsf-export"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about a ``word`` that is none of the ``known``: the closest of them, if one is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


class FtsfError(Exception):
    """Base of the tree. ``exit_code`` is what the command line returns."""

    exit_code = EXIT_BUG

    def __init__(self, message: str, *, details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class GateFailed(FtsfError):
    """A gate said no. The artefacts are kept and marked failed."""

    exit_code = 1


class PartlyDone(FtsfError):
    """Some of many inputs are wrong. What was made of the others is kept."""

    exit_code = 1


class UsageError(FtsfError):
    """Wrong usage, configuration or input file."""

    exit_code = 2


class ConfigError(UsageError):
    """One or more fields are wrong; ``problems`` holds one sentence for each, all found in one pass."""

    def __init__(self, problems: Sequence[str]) -> None:
        if not problems:
            raise ValueError("ConfigError needs at least one problem")
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class BundleError(UsageError):
    """A bundle is missing, altered, half there, or of a schema that we do not know."""


class VideoError(UsageError):
    """A video that cannot be read, or that is too short."""


class OutputError(UsageError):
    """A place that cannot be written: it exists, there is no permission, or no space is left."""


class EnvironmentLacks(FtsfError):
    """A package, a driver or a GPU is not there. ``install`` is the command that brings it, if one does: for what comes
    with one of our extras, that of the ``extra``."""

    exit_code = 3

    def __init__(self, message: str, *, extra: str = "", install: str = "", details: str = "") -> None:
        install = install or (extra and install_command(extra))
        super().__init__(f"{message}; install it with: {install}" if install else message, details=details)
        self.install = install


class StageError(FtsfError):
    """A stage broke."""

    exit_code = 4


class SaidElsewhere(StageError):
    """Another process of the same work failed, and says why: nothing is printed here."""


class ExportError(StageError):
    """torch.export, the ONNX converter or the checker refused."""


class BuildError(StageError):
    """The compiler refused, crashed or ran out of time."""


class RunError(StageError):
    """A runtime refused or crashed."""


class OutOfMemory(StageError):
    """Memory ran out, while a library was loaded or at work."""
