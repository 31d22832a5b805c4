"""What this machine has and which commands can run on it."""

from __future__ import annotations

from ftsf_export.doctor.commands import needs_of_commands
from ftsf_export.doctor.examine import Diagnosis, examine
from ftsf_export.doctor.packages import required_packages
from ftsf_export.errors import EnvironmentLacks, UsageError

__all__ = ["Diagnosis", "check_command", "doctor", "require_command"]


def doctor() -> Diagnosis:
    """Look at this machine. What is missing is in the result, never an error."""
    return examine()


def check_command(command: str) -> None:
    """Raises UsageError when there is no such command."""
    known = needs_of_commands(required_packages())
    if command not in known:
        raise UsageError(f"--for: expected one of {', '.join(known)}, got {command!r}")


def require_command(diagnosis: Diagnosis, command: str) -> None:
    """Raises EnvironmentLacks when the command cannot run here."""
    if lacks := diagnosis.command(command).lacks:
        raise EnvironmentLacks(f"ftsf {command} cannot run here: {'; '.join(lack.sentence() for lack in lacks)}")
