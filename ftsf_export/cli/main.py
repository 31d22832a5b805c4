"""Entry points ``ftsf`` and ``ftsf-export``: the group, and the one place where errors become exit codes."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence

import click

from ftsf_export import __version__
from ftsf_export.cli.entry import EXIT_INTERRUPTED
from ftsf_export.cli.supervised import ENDINGS, supervised
from ftsf_export.cli.terminal import NobodyReads, RemarkHandler, Terminal
from ftsf_export.control_characters import shown
from ftsf_export.errors import (
    EXIT_BUG,
    EXIT_DONE,
    ConfigError,
    FtsfError,
    OutputError,
    SaidElsewhere,
    UsageError,
    did_you_mean,
)
from ftsf_export.memory import out_of_memory

# What a shell reports for a program that a closed pipe ended.
EXIT_BROKEN_PIPE = 141

# In the order of a user's day. Each is a module of this package with a click command named ``command``.
COMMANDS = ("export", "verify", "build", "plan", "bench", "sweep", "predict", "finetune", "targets", "info", "doctor")

# The disk says no, whoever wrote to it.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


class Commands(click.Group):
    """Loads a command's module when it is asked for: a device needs only what the one command needs."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"ftsf_export.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            meant = did_you_mean(args[0], COMMANDS)
            ctx.fail(f"expected a command, one of {', '.join(COMMANDS)}, got {args[0]!r}{meant}")
        return super().resolve_command(ctx, args)


version_option = click.version_option(
    __version__, prog_name="ftsf-export", message="%(prog)s %(version)s", help="Print the version."
)


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@version_option
@click.pass_context
def ftsf(ctx: click.Context) -> None:
    """Export video transformers to ONNX and TensorRT, with proof that the numbers did not change.

    \b
    Exit codes: 0 done, 1 a gate failed or some of many inputs are wrong, 2 wrong usage or input,
    3 the environment lacks something, 4 a stage broke, 70 a bug of ours, 130 interrupted (Ctrl-C),
    143 terminated (SIGTERM).
    """
    if ctx.invoked_subcommand is None:
        raise click.UsageError(f"a command is missing: one of {', '.join(COMMANDS)}", ctx)


def main() -> None:
    """The ``ftsf`` program."""
    args = sys.argv[1:]
    sys.exit(supervised(lambda: run(ftsf, args, "ftsf"), Terminal.from_args(args)))


def export_main() -> None:
    """The ``ftsf-export`` program: the same as ``ftsf export``."""
    args = sys.argv[1:]
    sys.exit(supervised(lambda: _run_export(args), Terminal.from_args(args)))


def _run_export(args: Sequence[str]) -> int:
    from ftsf_export.cli.export import command

    return run(version_option(command), args, "ftsf-export")


def run(command: click.Command, args: Sequence[str], prog_name: str) -> int:
    """Runs one command line and returns its exit code. Whatever goes wrong is said here, in one line.

    Raises OutOfMemory alone, which ``supervised`` says.
    """
    terminal = Terminal.from_args(args)
    # Remarks that a library logs and nobody handles Python would print as they are, with names out of files.
    logging.lastResort = RemarkHandler(terminal)
    try:
        code, error = _attempt(command, args, prog_name, terminal)
        terminal.close(code, error)
    except BrokenPipeError:
        # Python flushes stdout once more at exit and would complain about the same pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    return code


def _attempt(command: click.Command, args: Sequence[str], prog_name: str, terminal: Terminal) -> tuple[int, str]:
    """Exit code, and the error's message (empty when done)."""
    try:
        code = command.main(args=list(args), prog_name=prog_name, standalone_mode=False, obj=terminal)
        return (code if isinstance(code, int) else EXIT_DONE), ""
    except BrokenPipeError:
        raise
    except NobodyReads as error:
        raise BrokenPipeError from error
    except SystemExit as ending:
        # So does rich end the program, with 1, when nobody reads what is printed.
        if isinstance(ending.__context__, BrokenPipeError):
            raise BrokenPipeError from ending
        raise
    except (KeyboardInterrupt, click.Abort):
        terminal.error(ENDINGS[EXIT_INTERRUPTED])
        return EXIT_INTERRUPTED, "interrupted"
    except Exception as error:
        if (lacking := out_of_memory(error)) is not None:
            # There may be none left to say it with.
            raise lacking from None
        known = _known(error)
        if known is None:
            return EXIT_BUG, _report_bug(error, terminal)
        if isinstance(known, SaidElsewhere):
            return known.exit_code, known.message
        for message in known.problems if isinstance(known, ConfigError) else [known.message]:
            terminal.error(_typed(message), details=known.details)
        return known.exit_code, _typed(known.message)


def _typed(message: str) -> str:
    """The words of the Python interface as they are typed here."""
    return message.replace("overwrite=True", "--overwrite").replace("resume=True", "--resume")


def _known(error: Exception) -> FtsfError | None:
    """The error of our tree that this one is, or stands for; None for a bug."""
    if isinstance(error, FtsfError):
        return error
    if isinstance(error, click.ClickException):
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        return UsageError(error.format_message() + (f" (see {where} --help)" if where else ""))
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return OutputError(f"{error.filename or 'output'}: cannot be written or read: {error.strerror}")
    return None


def _report_bug(error: Exception, terminal: Terminal) -> str:
    message = f"{type(error).__name__}: {error}"
    click.echo(shown("".join(traceback.format_exception(error)), lines=True), err=True)
    terminal.error(f"this is a bug of ftsf-export, please report it with the traceback above: {message}")
    return message
