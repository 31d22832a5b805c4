"""What the user sees: results on stdout, the rest on stderr; with ``--json`` stdout gets one JSON line, last.

Each call is one line. Text may come from a stranger's file: control characters in it are shown, line feeds too.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from ftsf_export.control_characters import shown, shown_in_json
from ftsf_export.progress import OnProgress, silent
from ftsf_export.strict_json import plain
from ftsf_export.verdict import Status, Verdict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# An error of more characters is cut, unless all was asked for.
_LONGEST, _CUT = 480, " ... (-v shows all)"
# How often a bar is drawn anew between results, in seconds; and what clears its line.
_REDRAW_S, _ERASE_LINE = 0.1, "\r\x1b[2K"
# Only "passed" is ever green.
STYLES = {Status.PASSED: "green", Status.FAILED: "bold red", Status.INCONCLUSIVE: "yellow", Status.NOT_RUN: "dim"}


class NobodyReads(Exception):
    """Whoever read stdout is gone (``ftsf ... | head -1``)."""


class Terminal:
    """Two consoles and the facts for ``--json``. A command gets one through ``ftsf_command``."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self._muted = False
        self._facts: dict[str, Any] = {}
        self._under_bar = False  # Whether the cursor may stand in the line of a bar.

    def mute(self) -> None:
        """From now on errors alone are printed: another process says the rest."""
        self._muted = self.quiet = True

    @cached_property
    def _out(self) -> Console:
        return _console(stderr=False)

    @cached_property
    def _err(self) -> Console:
        return _console(stderr=True)

    @classmethod
    def from_args(cls, args: Iterable[str]) -> Terminal:
        """Reads the three flags from the raw arguments, so that they also hold when the others cannot be parsed."""
        flags: set[str] = set()
        for arg in args:
            if arg == "--":
                break
            flags.update(arg[1:] if re.fullmatch(r"-[qv]+", arg) else [arg])
        return cls(
            as_json="--json" in flags, quiet=bool({"q", "--quiet"} & flags), verbose=bool({"v", "--verbose"} & flags)
        )

    def say(self, text: str | Text = "", *, style: str = "") -> None:
        """A line of the result: stdout, or stderr when stdout belongs to JSON; then ``-q`` silences it."""
        if self._muted or (self.as_json and self.quiet):
            return
        line = shown(text) if isinstance(text, str) else text
        self._clear_bar()
        (self._err if self.as_json else self._out).print(line, style=style or None, soft_wrap=True)

    def note(self, text: str, *, style: str = "dim") -> None:
        """A remark on the way: stderr, silenced by ``-q``."""
        if not self.quiet:
            self._clear_bar()
            self._err.print(shown(text), style=style, soft_wrap=True)

    def warn(self, text: str) -> None:
        """What a user has to know although nothing failed: stderr, never silenced."""
        if self._muted:
            return
        self._clear_bar()
        self._err.print(_line(("warning:", "bold yellow"), " ", text), soft_wrap=True)

    def error(self, message: str, *, details: str = "") -> None:
        """One line on stderr, never silenced; ``details`` (a library's own log), and what makes it longer than a
        reader takes in, only with ``-v``."""
        said = " ".join(message.split())
        if len(said) > _LONGEST and not self.verbose:
            said = f"{said[: _LONGEST - len(_CUT)]}{_CUT}"
        self._err.print(_line(("error:", "bold red"), " ", said), soft_wrap=True)
        if details and self.verbose:
            self._err.print(shown(details.rstrip(), lines=True), soft_wrap=True)

    def verdict(self, verdict: Verdict, *, judged_here: bool = False) -> None:
        """One line for each verdict, and one for each measure that failed (all of them with ``-v``).

        What passed shows its first limit kept: a green word alone is no figure. What was read from a bundle says who
        recorded it, and is never green, unless this command judged it (``judged_here``).
        """
        recorded = "" if judged_here else verdict.provenance
        style = "dim" if recorded and verdict.passed else STYLES[verdict.status]
        parts = [f"  {verdict.gate}"]
        if recorded:
            parts.append(f" ({recorded})")
        if verdict.own_limits:
            parts.append(f" (at your {verdict.own_limits})")
        if verdict.proxy_for:
            parts.append(f" (a proxy for {verdict.proxy_for})")
        kept = [measure.sentence() for measure in verdict.measures if measure.limit is not None]
        said = [*(kept[:1] if verdict.passed else []), *([verdict.reason] if verdict.reason else [])]
        if said:
            parts.append(": " + "; ".join(" ".join(text.split()) for text in said))
        self.say(_line((f"{verdict.status.value:>12}", style), *parts))
        if self.verbose and verdict.conditions:
            self.say(f"{'':>14}run at {verdict.conditions}")
        for measure in verdict.measures:
            if self.verbose or not measure.passed:
                self.say(f"{'':>14}{measure.sentence()}", style="" if measure.passed else "red")

    def line(self, text: str) -> None:
        """A line of data on stdout, whatever else is shown: it is there as soon as it is known. Raises NobodyReads."""
        self._clear_bar()
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError as error:
            # click would take that error for the end of the program, with exit code 1.
            raise NobodyReads from error

    def record(self, **facts: Any) -> None:
        """Facts of the JSON object; printed once, at the end, whatever happens in between."""
        self._facts.update(facts)

    @contextmanager
    def progress(self, *, above: bool = False) -> Iterator[OnProgress]:
        """A callback for a stage to report to: a bar on a terminal, else a line a stage, nothing with ``-q``.

        ``above``: results are shown while it lasts, above the bar, which is drawn anew at each report.
        """
        if self.quiet:
            yield silent
        elif self._err.is_terminal:
            yield from self._bar(above)
        else:
            yield self._lines()

    def _lines(self) -> OnProgress:
        said: list[str] = []

        def report(stage: str, _fraction: float | None) -> None:
            # "engine rtx rtx-40: Timing tactics" is a phase of a stage: for bars only.
            name = stage.split(": ")[0]
            if name not in said:
                said.append(name)
                self.note(name)

        return report

    def _bar(self, above: bool) -> Iterator[OnProgress]:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        # rich would send stdout, whatever it is, to where the bar is.
        bar = Progress(*columns, console=self._err, transient=True, auto_refresh=not above, redirect_stdout=not above)
        with bar as progress:
            task = progress.add_task("", total=None)
            self._under_bar, drawn = above, 0.0

            def report(stage: str, fraction: float | None) -> None:
                nonlocal drawn
                due = above and time.monotonic() - drawn > _REDRAW_S
                progress.update(
                    task,
                    description=shown(stage),
                    total=None if fraction is None else 1.0,
                    completed=fraction or 0,
                    refresh=due,
                )
                drawn = time.monotonic() if due else drawn

            try:
                yield report
            finally:
                self._under_bar = False

    def _clear_bar(self) -> None:
        """Takes the bar away from the line on which something is to be shown."""
        if self._under_bar:
            self._err.file.write(_ERASE_LINE)
            self._err.file.flush()

    def close(self, exit_code: int, error: str = "") -> None:
        """Prints the JSON line if it was asked for. Raises BrokenPipeError when nobody reads stdout any more."""
        if self.as_json and not self._muted:
            facts = {**self._facts, **({"error": error} if error else {}), "exit_code": exit_code}
            # What cattrs does not know are the scalars of NumPy.
            line = json.dumps(
                plain(facts), default=lambda value: plain(value.item()), allow_nan=False, ensure_ascii=False
            )
            sys.stdout.write(shown_in_json(line) + "\n")
        sys.stdout.flush()


class RemarkHandler(logging.Handler):
    """Gives warnings of libraries to a terminal, as remarks."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.WARNING)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        self._terminal.note(record.getMessage())


pass_terminal = click.make_pass_decorator(Terminal, ensure=True)


# rich is loaded when the first line is printed: `--help` and `--version` print none through it.
def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    # soft_wrap in every print, and no highlighting: a path or a hash must survive a pipe unbroken.
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def _line(*parts: str | tuple[str, str]) -> Text:
    """One line of plain parts and parts with a style; control characters are shown."""
    from rich.text import Text

    return Text.assemble(*(shown(part) if isinstance(part, str) else (shown(part[0]), part[1]) for part in parts))
