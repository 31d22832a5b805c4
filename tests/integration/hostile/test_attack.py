"""Damaged and forged inputs end well, and the harness that says so finds faults: thousands more in ``attack``."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.integration.hostile import attack, worker
from tests.integration.hostile.case import Case, Finding, Outcome, Run
from tests.integration.hostile.judging import judged

# Seeds of a few inputs that end early: a whole export takes seconds.
QUICK = {
    "bundle": (1, 2, 3, 4, 5, 7, *range(9, 18)), "graph": range(1, 13), "golden": (1, 3, 4, 5, 6, 8, 9),
    "sidecar": (1, 3, 5, 7, 12), "checkpoint": (1, 2, 5, 6, 7, 8, 9, 11), "labels": (1, 2, 8, 9, 15),
    "video": (2, 3, 4, 7, 10),
}  # fmt: skip
# For which an honest command ends with exit 2: see the first test.
REFUSED = ("bundle", 1)
PLANTED = {
    "writes_into_the_home": "changed outside its output: home/.cache",
    "alters_a_file_of_the_user": "changed outside its output: work/outside/secret",
    "leaves_a_temporary_folder": "changed outside its output: tmp/ftsf-left",
    "prints_a_traceback": "stray text: 'Traceback",
    "ends_with_exit_70": "exit 70",
    "says_nothing": "0 lines of error",
    "dies": "exit -6",
    "leaves_a_process": "left processes behind: sleep 3600",
    "obeys_control_characters": "a control character reaches the terminal",
    "takes_everything": "exit 0 with other verdicts",
    "takes_three_gigabytes": "killed above 3",
}


@pytest.mark.parametrize("kind", QUICK)
def test_every_input_ends_well(pool: ProcessPoolExecutor, kind: str) -> None:
    found = [pool.submit(worker.attack, kind, seed).result() for seed in QUICK[kind]]
    assert [(one.row(), one.run.err) for one in found if one.faults] == []
    assert len({one.case.what for one in found}) > len(found) // 2


def test_the_installed_program_ends_as_the_fork_does(pool: ProcessPoolExecutor) -> None:
    found = pool.submit(worker.attack, "golden", 0).result()
    assert (found.outcome, found.console, found.faults) == (Outcome.REFUSED, True, ())


def test_a_seed_gives_the_same_input_and_the_same_ending(pool: ProcessPoolExecutor) -> None:
    one, again = (pool.submit(worker.attack, "golden", 3).result() for _ in range(2))
    assert (one.case, one.outcome, one.why, one.run.code) == (again.case, again.outcome, again.why, again.run.code)


def test_an_honest_command_has_no_fault(pool: ProcessPoolExecutor) -> None:
    found = planted(pool, "honest")
    assert (found.outcome, found.faults) == (Outcome.REFUSED, ())


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(pool: ProcessPoolExecutor, name: str) -> None:
    found = planted(pool, name)
    assert found.outcome is Outcome.FAULT
    assert any(PLANTED[name] in fault for fault in found.faults), found.faults


@pytest.mark.parametrize("name", ["hangs", "works_without_end"])
def test_a_command_without_end_is_found_and_ended(pool: ProcessPoolExecutor, name: str) -> None:
    found = planted(pool, name, killed_after_s=1.0)
    assert "killed after 1 s" in found.faults


def planted(pool: ProcessPoolExecutor, name: str, **limits: float) -> Finding:
    entry = f"tests.integration.hostile.planted:{name}"
    return pool.submit(worker.attack, *REFUSED, entry, **limits).result()


VERIFY = Case("a change", "fp32", ("verify", "bundle", "--json"))
VERDICT = {"gate": "weights", "status": "passed", "subject": {"file": "model.onnx"}, "measures": [{"value": 1.0}]}


def verified(*verdicts: dict[str, object], **facts: object) -> str:
    return json.dumps({"judged": verdicts, "exit_code": 0, **facts})


@pytest.mark.parametrize(
    ("got", "harmless"),
    [
        (verified(VERDICT), "to the last figure"),
        (verified({**VERDICT, "measures": [{"value": 1.1}]}), "moved within their limits: judged.0.measures.0.value"),
        (verified(VERDICT, name="other"), "only descriptions differ: name"),
        (verified({**VERDICT, "status": "inconclusive"}), ""),
        (verified(), ""),
        ("no JSON", ""),
    ],
)
def test_harmless_is_what_ends_as_the_clean_input_does(got: str, harmless: str) -> None:
    run = Run(0, got, "", 1.0, 1.0, 1 << 20)
    verdict = judged(VERIFY, run, (), json.loads(verified(VERDICT)))
    assert (verdict.outcome is Outcome.HARMLESS) == bool(harmless) == (not verdict.faults)
    assert harmless in verdict.why


@pytest.mark.parametrize(
    ("command", "code", "changed", "faulty"),
    [
        ("verify", 1, ("work/bundle/manifest.json",), False),
        ("verify", 2, ("work/bundle/manifest.json",), True),
        ("verify", 1, ("work/bundle2/manifest.json",), True),
        ("info", 0, ("work/bundle/manifest.json",), True),
    ],
)
def test_only_the_output_may_change(command: str, code: int, changed: tuple[str, ...], faulty: bool) -> None:
    case = Case("a change", "fp32", (command, "bundle"))
    verdict = judged(case, Run(code, "", "error: x" if code else "", 1.0, 1.0, 0), changed, {})
    assert any("changed" in fault for fault in verdict.faults) is faulty


def test_the_record_has_every_input(tmp_path: Path, pool: ProcessPoolExecutor) -> None:
    found = [pool.submit(worker.attack, *one).result() for one in attack.inputs(3, 8, ["golden"])]
    lines = list(attack.table(found))
    assert lines[1].split()[:2] == ["golden", "3"]
    assert [one.row()["seed"] for one in found] == [8, 9, 10]
    (tmp_path / "record.json").write_text(json.dumps([one.row() for one in found]))


def test_an_attack_that_is_stopped_keeps_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "SIGTERM", signal.SIGUSR1)
    finding = Finding("labels", 1, VERIFY, Run(0, "", "", 1.0, 1.0, 0), Outcome.HARMLESS, "")

    def findings() -> Iterator[Finding]:
        yield finding
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(60)
        yield finding

    assert attack._until_interrupted(findings()) == [finding]
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
