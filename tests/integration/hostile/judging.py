"""What must hold of every run, and why an input that a command took is harmless."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.integration.hostile.case import (
    BROKE,
    DONE,
    GATE_FAILED,
    LACKS,
    MOST_BYTES,
    MOST_SECONDS,
    RECORDING,
    REFUSED,
    Case,
    Outcome,
    Run,
    Verdict,
)

_OUTCOMES = {
    GATE_FAILED: Outcome.GATE_FAILED, REFUSED: Outcome.REFUSED, LACKS: Outcome.LACKS, BROKE: Outcome.BROKE,
}  # fmt: skip
# Every bad field of a configuration is said at once, a line each.
_MOST_LINES, _LONGEST_LINE = 20, 600
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
# Of libraries and of Python, where a line of ours has no such form.
_FOREIGN = re.compile(
    r"Traceback \(most recent|^\s+File \"|\[[VIWEF]:onnxruntime:|^\S*\w+Warning: |^\[\w+ @ 0x|terminate called"
    r"|Segmentation fault|^\*\*\*|^[WE]\d{4} \d\d:|Exception ignored|core dumped|^\[transformers\]",
    re.MULTILINE,
)
_FIGURE = re.compile(r"measures\.\d+\.(value|worst)")
_VOLATILE = re.compile(r"(seconds|_s|_ms|bytes_per|peak_rss\w*|timings\..*|clips_per_s|exit_code|sha256|commands.*)$")


def judged(case: Case, run: Run, changed: tuple[str, ...], clean: dict[str, Any] | None) -> Verdict:
    """What the harness makes of a run that changed these names; ``clean``: the JSON of the same command on the clean
    input, and the run's own in ``run.out``, where it ended with exit 0 and ``--json``."""
    faults = [*_limits(run), *_said(case, run), *written_outside(case, run, changed)]
    if case.refused and run.code != REFUSED:
        faults.append(f"was to be refused (exit 2), got exit {run.code}")
    why = next((line for line in run.err.splitlines() if line.startswith("error: ")), "")
    outcome = _OUTCOMES.get(run.code, Outcome.FAULT)
    if run.code == DONE and not faults:
        outcome = Outcome.HARMLESS
        why, differs = _harmless(case, clean, _json_of(run))
        faults += [differs] if differs else []
    elif run.code not in (DONE, *_OUTCOMES):
        faults.append(f"exit {run.code}")
    return Verdict(Outcome.FAULT if faults else outcome, why, tuple(faults))


def _limits(run: Run) -> Iterator[str]:
    if run.stopped:
        yield run.stopped
    elif run.seconds > MOST_SECONDS:
        yield f"took {run.seconds:.1f} s"
    if run.peak_bytes > MOST_BYTES:
        yield f"took {run.peak_bytes >> 20} MiB"
    if run.left:
        yield f"left processes behind: {', '.join(run.left)}"


def _said(case: Case, run: Run) -> Iterator[str]:
    lines = run.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    if run.stopped:
        return
    # With -v a library's own log follows the error, whatever is in it.
    heard = "\n".join(lines[: lines.index(errors[-1]) + 1]) if "-v" in case.args and errors else run.err
    if found := _FOREIGN.search(heard) or _FOREIGN.search(run.out):
        yield f"stray text: {found[0]!r} in {_line_with(run, found[0])!r}"
    if found := _CONTROL.search(run.err) or _CONTROL.search(run.out):
        yield f"a control character reaches the terminal: {found[0]!r}"
    if run.code != DONE and not 1 <= len(errors) <= _MOST_LINES:
        yield f"{len(errors)} lines of error, expected one"
    if "-v" not in case.args and (long := [line for line in errors if len(line) > _LONGEST_LINE]):
        yield f"a line of error of {len(long[0])} characters"
    if run.code in (REFUSED, LACKS, BROKE) and "-v" not in case.args:
        strange = (
            [line for line in lines[lines.index(errors[-1]) :] if not line.startswith("error: ")] if errors else []
        )
        if strange:
            yield f"a line behind the error: {strange[0][:100]!r}"
    if "--json" in case.args:
        facts = _json_of(run)
        if facts is None or facts.get("exit_code") != run.code:
            yield "the last line of stdout is no JSON object with the exit code"


def written_outside(case: Case, run: Run, changed: tuple[str, ...]) -> Iterator[str]:
    """Changes that the command had no right to."""
    outputs = [f"work/{name}" for name in case.outputs]
    outside = [name for name in changed if not any(name == one or name.startswith(f"{one}/") for one in outputs)]
    # Opening completes an update that was interrupted; a forged one that is whole counts as such.
    completes = ".pending" in case.what and case.command not in RECORDING and run.code == DONE
    outside = [name for name in outside if not (completes and name.startswith("work/bundle/"))]
    if outside:
        yield f"changed outside its output: {', '.join(outside[:4])}"
    elif changed and run.code in (REFUSED, LACKS, BROKE):
        yield f"exit {run.code}, and changed {', '.join(changed[:4])}"


def _line_with(run: Run, text: str) -> str:
    return next((line for line in (run.err + run.out).splitlines() if text.splitlines()[0] in line), "")[:160]


def _json_of(run: Run) -> dict[str, Any] | None:
    try:
        facts = json.loads(run.out.splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return facts if isinstance(facts, dict) else None


def _harmless(case: Case, clean: dict[str, Any] | None, got: dict[str, Any] | None) -> tuple[str, str]:
    """Why an accepted input is harmless, or what speaks against it: one of the two is empty."""
    if clean is None or got is None:
        return "", "nothing to compare with: the clean run or this one gave no JSON"
    before, after = _judgements(case, clean), _judgements(case, got)
    if case.command != "info" and before != after:
        missing, new = sorted(set(before) - set(after)), sorted(set(after) - set(before))
        return "", f"exit 0 with other verdicts: {missing[:3]} became {new[:3]}"
    different = sorted(name for name in _differences(clean, got, "") if not _VOLATILE.search(name))
    if not different:
        return "the result is the clean run's to the last figure: nothing that is judged or shown reads the change", ""
    figures = [name for name in different if _FIGURE.search(name) and case.command != "info"]
    named = figures or different
    said = f"{', '.join(named[:3])}{f' and {len(named) - 3} more' if len(named) > 3 else ''}"
    if case.command == "info":
        return f"`info` shows what the manifest records, and judges nothing; it shows otherwise: {said}", ""
    if figures:
        return f"every gate judged what is there anew and passed; figures that moved within their limits: {said}", ""
    return f"verdicts and figures are the clean run's; only descriptions differ: {said}", ""


def _judgements(case: Case, facts: dict[str, Any]) -> list[tuple[str, str, str]]:
    verdicts = facts.get("judged" if case.command == "verify" else "verdicts", [])
    if case.command == "build":
        # What it judged itself; the rest is on record, and of a file that changed it counts as not run.
        target = case.args[case.args.index("--target") + 1]
        verdicts = [one for one in verdicts if one["gate"].endswith(target)]
    return sorted((one["gate"], one["status"], one["subject"]["file"]) for one in verdicts)


def _differences(one: Any, other: Any, name: str) -> Iterator[str]:
    """Names of the leaves in which two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            yield from _differences(one.get(key), other.get(key), f"{name}.{key}" if name else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differences(left, right, f"{name}.{index}")
    elif one != other:
        yield name
