"""``scripts/attack``: thousands of damaged and forged inputs against the commands that read them."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.integration.hostile import worker
from tests.integration.hostile.case import Finding, Outcome
from tests.integration.hostile.clean import make_clean
from tests.integration.hostile.interruptions import KIND

# Of a hundred inputs.
SHARES = {"bundle": 27, "graph": 27, "golden": 13, "sidecar": 8, "checkpoint": 13, "labels": 4, "video": 8}


# A function of ``worker``, and its arguments.
Call = tuple[Callable[..., Finding], tuple[Any, ...]]


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="ftsf-attack-") as folder:
        clean = asked.clean or Path(folder, "clean")
        if not clean.exists():
            make_clean(clean)
        if asked.replay:
            kind, _, seed = asked.replay.partition(":")
            found, interrupted = [_replayed(clean, Path(folder), kind, int(seed))], False
        else:
            calls: list[Call] = [(worker.attack, one) for one in inputs(asked.count, asked.seed, asked.only)]
            if asked.interruptions is None:
                asked.interruptions = 0 if asked.only else 100
            calls += [(worker.interrupt, (number, asked.interruptions)) for number in range(asked.interruptions)]
            found = _until_interrupted(attacked(calls, clean, Path(folder), jobs=asked.jobs))
            interrupted = len(found) < len(calls)
    for line in table(found):
        print(line)
    if asked.output:
        asked.output.write_text(json.dumps([one.row() for one in sorted(found, key=_key)], indent=1) + "\n")
    return 130 if interrupted else int(any(one.faults for one in found))


def _until_interrupted(findings: Iterator[Finding]) -> list[Finding]:
    """All of them, or at Ctrl-C or SIGTERM those that are there: hours of work are not lost, nor folders left."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found = []
    with suppress(KeyboardInterrupt):
        for finding in findings:
            found.append(finding)
    return found


def inputs(count: int, seed: int, only: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
    """Kind and seed of each input; the kinds mixed, by their shares."""
    shares = {kind: share for kind, share in SHARES.items() if not only or kind in only}
    due = dict.fromkeys(shares, 0.0)
    for number in range(count):
        for kind, share in shares.items():
            due[kind] += share / sum(shares.values())
        kind = max(due, key=lambda one: due[one])
        due[kind] -= 1
        yield kind, seed + number


def attacked(calls: Sequence[Call], clean: Path, root: Path, *, jobs: int) -> Iterator[Finding]:
    """The findings, as they come; a fault is printed at once."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=worker.start, initargs=(str(clean), str(root))) as pool:
        try:
            futures = [pool.submit(function, *arguments) for function, arguments in calls]
            for number, future in enumerate(as_completed(futures), 1):
                finding = future.result()
                if finding.faults:
                    print(_told(finding), file=sys.stderr, flush=True)
                if number % 100 == 0:
                    print(f"{number} of {len(calls)}", file=sys.stderr, flush=True)
                yield finding
        finally:
            pool.shutdown(cancel_futures=True)


def table(found: Sequence[Finding]) -> Iterator[str]:
    """A line a kind: inputs, endings, the slowest, the most memory."""
    outcomes = list(Outcome)
    yield (
        f"{'':<11}{'inputs':>8}"
        + "".join(f"{one.value:>19}" for one in outcomes)
        + f"{'slowest s':>11}{'peak MiB':>10}"
    )
    kinds = sorted({one.kind for one in found})
    for kind in [*kinds, "all"]:
        rows = [one for one in found if kind in (one.kind, "all")]
        counts = Counter(one.outcome for one in rows)
        yield (
            f"{kind:<11}{len(rows):>8}" + "".join(f"{counts[one]:>19}" for one in outcomes)
            + f"{max(one.run.seconds for one in rows):>11.1f}{max(one.run.peak_bytes for one in rows) >> 20:>10}"
        )  # fmt: skip
    commands = Counter(one.case.command for one in found)
    yield "commands: " + ", ".join(f"{name} {count}" for name, count in commands.most_common())
    yield f"the installed program, on the same input: {sum(one.console for one in found)} times"
    reasons = Counter(one.why.partition(":")[0] for one in found if one.outcome is Outcome.HARMLESS)
    for reason, count in reasons.most_common():
        yield f"harmless, {count} times: {reason}"
    yield f"faults: {sum(bool(one.faults) for one in found)}"


def _replayed(clean: Path, root: Path, kind: str, seed: int) -> Finding:
    one = worker.Worker(clean, root / "replay")
    finding = one.interrupt(seed, 100) if kind == KIND else one.attack(kind, seed)
    print(_told(finding), finding.run.out, finding.run.err, sep="\n", file=sys.stderr)
    return finding


def _told(finding: Finding) -> str:
    return (
        (
            f"{finding.kind}:{finding.seed} {finding.case.what}\n    ftsf {' '.join(finding.case.args)}\n    exit "
            f"{finding.run.code}, {finding.outcome.value}: {'; '.join(finding.faults) or finding.why}"
        )
        .encode("utf-8", "backslashreplace")
        .decode()
    )


def _key(finding: Finding) -> tuple[str, int]:
    return finding.kind, finding.seed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("attack", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the first input (default 0)")
    parser.add_argument("--count", type=int, default=5000, help="how many inputs (default 5000)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=SHARES,
        metavar="KIND",
        help=f"one of {', '.join(SHARES)}; repeatable",
    )
    parser.add_argument(
        "--interruptions", type=int, metavar="N", help="of an export or a build (default 100; 0 with --only)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="workers (default 2)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a JSON of every input with its ending")
    parser.add_argument(
        "--clean", type=Path, metavar="DIR", help="keep the clean inputs there, and take them from there"
    )
    parser.add_argument("--replay", metavar="KIND:SEED", help="one input again, with all that it said")
    return parser


if __name__ == "__main__":
    sys.exit(main())
