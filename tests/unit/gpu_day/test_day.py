"""A day without a GPU, days whose steps end in every way, and what their pages say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftsf_export.engine.cards import card_of_gpu
from ftsf_export.gpu_day.__main__ import main
from ftsf_export.gpu_day.day import BROKE, DONE, NOT_RUN, WRONG, Day, Outcome, Section, Step, run_day
from ftsf_export.gpu_day.page import page
from ftsf_export.gpu_day.sections import sections_of_a_day
from ftsf_export.runners.driver import gpu_problem
from ftsf_plugins.register import OPERATIONS


def ran(*steps: Step, gpu_problem: str = "") -> tuple[Day, list[int]]:
    """A day of one section, and how many steps were written each time."""
    day, written = Day(rehearsal=False, gpu_problem=gpu_problem), []
    section = Section("doctor", "Title", "nothing.", steps)
    run_day(day, {"doctor": section}, write=lambda so_far: written.append(len(so_far.sections["doctor"][1])), say=str)
    return day, written


def step(name: str, timeout_s: float = 60) -> Step:
    return Step(name, f"tests.unit.gpu_day.steps:{name}", name, timeout_s)


def test_a_step_that_falls_takes_no_other_along_and_keeps_what_it_told() -> None:
    day, written = ran(step("dies"), step("hangs", 3), step("lacks"), step("wrong"), step("fine"))
    _, outcomes = day.sections["doctor"]
    assert [outcome.status for outcome in outcomes] == [BROKE, BROKE, NOT_RUN, WRONG, DONE]
    assert [[row["said"] for row in outcome.rows] for outcome in outcomes] == [["before"]] * 2 + [[], ["off"], ["fine"]]
    assert "SIGABRT" in outcomes[0].reason
    assert "not done after 3 s" in outcomes[1].reason
    assert "tensorrt" in outcomes[2].reason
    # After each step, and at the end.
    assert written == [1, 2, 3, 4, 5, 5]


@pytest.mark.parametrize(
    ("names", "code"),
    [(("fine",), 0), (("fine", "lacks"), 3), (("lacks", "dies"), 4), (("dies", "wrong", "lacks"), 1)],
)
def test_the_worst_that_happened_is_the_exit_code(names: tuple[str, ...], code: int) -> None:
    assert ran(*map(step, names))[0].exit_code == code


def test_without_a_gpu_nothing_is_started_that_needs_one() -> None:
    day, _ = ran(step("fine"), gpu_problem="none")
    assert (day.rows("doctor"), day.exit_code) == ([], 3)


@pytest.mark.skipif(not gpu_problem(), reason="this machine has a GPU")
def test_the_page_of_a_machine_without_one_says_what_it_would_have_added(tmp_path: Path) -> None:
    assert main(["-o", str(tmp_path)]) == 3
    told, text = json.loads((tmp_path / "gpu-day.json").read_text()), (tmp_path / "gpu-day.md").read_text()
    assert text.startswith("# The first hour on a GPU, without one\n\nThere is no GPU: ")
    sections = sections_of_a_day(tmp_path, rehearsal=False, plugin_kernels=None)
    assert [one["name"] for one in told["sections"]] == list(sections)
    for section in sections.values():
        if section.needs_gpu:
            listed = "\n".join(f"- {one.title}" for one in section.steps)
            assert f"## {section.title}\n\nNot run. A GPU would have added: {section.adds}\n\n{listed}\n" in text
    # No table, so no figure.
    assert "|" not in text
    assert {row for one in told["sections"][2:] for part in one["steps"] for row in part["rows"]} == set()


def test_an_unknown_section_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["-o", str(tmp_path / "day"), "--section", "kernel"])
    assert not (tmp_path / "day").exists()


def test_a_day_has_every_operation_mechanism_and_precision(tmp_path: Path) -> None:
    sections = sections_of_a_day(tmp_path, rehearsal=False, plugin_kernels=None)
    assert {one.value["operation"] for one in sections["kernels"].steps} == set(OPERATIONS)
    engines = [one.value["config"] for one in sections["engines"].steps]
    for builder, plugins in (("tensorrt", "none"), ("tensorrt", "all"), ("rtx", "none")):
        made = {
            (one["attn"], one["precision"]) for one in engines if (one["builder"], one["plugins"]) == (builder, plugins)
        }
        assert len(made) == (6 if plugins == "all" else 9)


TRIAL = {"operation": "FtsfRotaryAttention", "along": "space", "element": "fp16", "code": "PTX", "worst": 1e-3,
         "limit": 2e-3, "right": True, "ms": 0.5, "bound_bytes": 335_000_000, "flops": 1000, "problem": ""}  # fmt: skip


def a_day(gpu: str) -> Day:
    """One kernel on a GPU of that name: 335 MB in half a millisecond."""
    card = card_of_gpu(gpu)
    told = {"name": gpu, "capability": "9.0", "memory_bytes": 80 << 30, "driver_version": "", "cuda_version": "13.0"}
    machine = {"gpu": told, "card": card and {"name": card.name, "bytes_per_s": card.bytes_per_s,
               "flops_per_s": dict(card.flops_per_s)}, "python": "3.12", "system": "Linux", "packages": {}}  # fmt: skip
    sections = sections_of_a_day(Path("out"), rehearsal=False, plugin_kernels=None)
    day = Day(rehearsal=False, gpu_problem="")
    day.sections["machine"] = sections["machine"], [Outcome("machine", DONE, rows=[machine])]
    day.sections["kernels"] = sections["kernels"], [Outcome("kernel", DONE, rows=[TRIAL])]
    return day


def test_a_kernel_stands_beside_the_bound_of_its_own_gpu() -> None:
    """335 MB at 3,350 GB/s are 0.1 ms: a fifth of the speed was reached."""
    text = page(a_day("NVIDIA H100 80GB HBM3"))
    assert "# The first hour on NVIDIA H100 80GB HBM3" in text
    assert "| yes | 0.5 | 0.1 | 20% | 670 |" in text


def test_a_gpu_without_a_data_sheet_has_no_bound() -> None:
    text = page(a_day("NVIDIA H100 PCIe"))
    assert "NVIDIA H100 PCIe is not in the table of data sheets" in text
    assert "| yes | 0.5 | - | - | 670 |" in text


def test_layers_stand_beside_the_kernels_of_their_names() -> None:
    day = a_day("NVIDIA L4")
    known = {"layer": "a|b", "ms": 0.2, "module": "blocks.0", "moved_bytes": 1, "bound_ms": 0.1, "limited_by": "memory"}
    layers = [known, {**known, "layer": "c", "module": "", "moved_bytes": None, "bound_ms": None, "limited_by": ""}]
    row = {"bundle": "one", "layers": layers, "not in the plan": 1, "planned by": "tensorrt 11"}
    gate = {"bundle": "one", "gate": "parity.engine", "file": "e", "status": "failed", "reason": "far", "right": False}
    section = sections_of_a_day(Path("out"), rehearsal=False, plugin_kernels=None)["engines"]
    day.sections["engines"] = section, [Outcome("one", WRONG, "as marked", 2.0, [gate, row])]
    text = page(day)
    assert "1 of 2 have no kernel of their name in the plan" in text
    assert "| a\\|b | blocks.0 | 0.2 | 0.1 | 50% | memory |" in text
    assert "| one | parity.engine | e | failed | far |" in text
    assert "- one: wrong after 2 s: as marked" in text
