"""What this machine has and which commands can run on it."""

from __future__ import annotations

from ftsf_export.doctor.commands import REQUIREMENTS
from ftsf_export.doctor.examine import Diagnosis, examine
from ftsf_export.doctor.packages import advice
from ftsf_export.errors import EnvironmentLacks, UsageError

__all__ = ["Diagnosis", "advice", "check_command", "doctor", "require_command"]


def doctor() -> Diagnosis:
    """Look at this machine. What is missing is in the result, never an error."""
    return examine()


def check_command(command: str) -> None:
    """Raises UsageError when there is no such command."""
    known = [requirements.command for requirements in REQUIREMENTS]
    if command not in known:
        raise UsageError(f"--for: expected one of {', '.join(known)}, got {command!r}")


def require_command(diagnosis: Diagnosis, command: str) -> None:
    """Raises EnvironmentLacks when the command cannot run here."""
    if lacks := diagnosis.command(command).lacks:
        raise EnvironmentLacks(f"ftsf {command} cannot run here: {'; '.join(lack.sentence() for lack in lacks)}")
