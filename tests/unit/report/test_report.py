"""The report says what is so, says it plainly, and is one file that needs nothing else."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ftsf_export.bundle import EngineEntry, FileEntry, Island, Manifest, Preprocessing, TapSpec, TensorSpec
from ftsf_export.config import BatchRange, ExportConfig
from ftsf_export.errors import BundleError, EnvironmentLacks
from ftsf_export.report import (
    REPORT_NAMES,
    Command,
    GraphFigures,
    Report,
    render_html,
    render_markdown,
    report_files,
    report_from_manifest,
    write_report,
)
from ftsf_export.verdict import Bound, Measure, Status, Subject, Verdict

MODEL_SHA, ENGINE_SHA = "ab" * 32, "cd" * 32
ENGINE = "engines/rtx-rtx-fp16.engine"
FIGURES = GraphFigures(nodes=1243, parameters=66_123_456, rewrites=("fold_scale",))
HOSTILE = '<script>alert("x")</script> | `code` & "quotes"'


def parity(values: dict[str, float], *, limit: float = 1e-2, proxy_for: str = "fp16 on a GPU") -> Verdict:
    measures = tuple(
        Measure(output=name, metric="rel_l2", value=value, limit=limit, worst_index=(0, 3))
        for name, value in values.items()
    )
    failed = [measure for measure in measures if not measure.passed]
    return Verdict(
        gate="parity.fp16-emulated",
        status=Status.FAILED if failed else Status.PASSED,
        subject=Subject("model.onnx", MODEL_SHA),
        reason=failed[0].sentence() if failed else "",
        proxy_for=proxy_for,
        measures=measures,
    )


NOT_RUN = Verdict(
    gate="parity.engine-rtx-rtx",
    status=Status.NOT_RUN,
    subject=Subject(ENGINE, ENGINE_SHA),
    reason="no NVIDIA driver answers here",
)
GOOD = parity({"logits": 2e-3, "blocks.0.mlp": 4e-3, "norm": 1e-4})


def manifest(*verdicts: Verdict, weights: str = "random, seed 0", islands: tuple[Island, ...] = ()) -> Manifest:
    return Manifest(
        created_by="ftsf-export 0.1.0",
        config=ExportConfig().as_dict(),
        weights=weights,
        inputs=(TensorSpec("clip", ("batch", 8, 3, 224, 224), "float32", "BFCHW", "RGB, normalised"),),
        outputs=(TensorSpec("logits", ("batch", 400), "float32", "BL", "class scores"),),
        preprocessing=Preprocessing(8, 16, 224, (224, 224), (0.45,), (0.225,)),
        labels=None,
        precision="fp16",
        opset=20,
        islands=islands,
        taps=(TapSpec("norm"),),
        batch=BatchRange(1, 1, 1),
        tools={"torch": "2.13.0"},
        files={
            "model.onnx": FileEntry(MODEL_SHA, 100 << 20),
            "model.onnx.data": FileEntry(MODEL_SHA, 50 << 20),
            ENGINE: FileEntry(ENGINE_SHA, 136 << 20),
            "report.md": FileEntry(MODEL_SHA, 3),
        },
        engines=(
            EngineEntry(
                file=ENGINE,
                sidecar=ENGINE.replace(".engine", ".json"),
                builder="rtx",
                target="rtx",
                precision="fp16",
                compute_capabilities=("8.6", "8.9"),
                sha256=ENGINE_SHA,
            ),
        ),
        verdicts=verdicts,
    )


def timing(heading: str) -> dict[str, Any]:
    latency = {"count": 10, "p50_ms": 2604.3, "p90_ms": 2650.0, "p95_ms": 2660.0, "p99_ms": 2671.0}
    subject = {
        "heading": heading,
        "file": "model.onnx",
        "precision": "fp16",
        "batch": 1,
        "weights": "random, seed 0",
        "notes": ["says nothing about a GPU"],
    }
    return {"subject": subject, "latency": latency, "clips_per_s": 0.383, "video_s_per_s": None}


def full_report(*verdicts: Verdict, **changes: Any) -> Report:
    return report_from_manifest(
        manifest(*(verdicts or (GOOD, NOT_RUN))),
        graph=FIGURES,
        sidecars={ENGINE: {"builder_version": "1.7.1", "kernels": 388, "moved_bytes": 1700 << 20}},
        build_seconds={ENGINE: 8.4},
        **{
            "stages": [{"stage": "trace", "seconds": 11.8, "peak_rss_bytes": 1 << 30}],
            "commands": [Command(title="Build for jetson-orin", command="ftsf build . --target jetson-orin")],
            **changes,
        },
    )


class Page(HTMLParser):
    """Collects text and attributes, and fails on tags that do not match."""

    VOID = {"meta", "br", "link", "img", "input", "hr"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def pills(self, status: str) -> int:
        return sum(tag == "span" and attrs.get("class") == f"pill {status}" for tag, attrs in self.elements)


def html(report: Report) -> Page:
    return Page(render_html(report.as_dict()))


def test_three_files_from_the_same_data(tmp_path: Path) -> None:
    report = full_report()
    write_report(report, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(REPORT_NAMES)
    data = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert Report.from_dict(data) == Report.from_dict(json.loads(json.dumps(report.as_dict())))
    # Rendered from it: the file alone gives the same two readings.
    assert render_markdown(data).encode() == (tmp_path / "report.md").read_bytes()
    assert render_html(data).encode() == (tmp_path / "report.html").read_bytes()
    assert report_files(report) == report_files(full_report())


def test_random_weights_are_said_in_each_file_and_only_then() -> None:
    random, trained = (
        full_report(),
        report_from_manifest(manifest(GOOD, weights="checkpoint k400.safetensors"), graph=FIGURES),
    )
    assert all(b"RANDOM WEIGHTS" in content for name, content in report_files(random).items() if name != "report.json")
    assert random.as_dict()["random_weights"] is True
    for content in report_files(trained).values():
        assert b"RANDOM" not in content
        assert b"k400.safetensors" in content


@pytest.mark.parametrize("status", [Status.FAILED, Status.INCONCLUSIVE, Status.NOT_RUN])
def test_only_passed_is_green(status: Status) -> None:
    page = html(full_report(replace(GOOD, status=status, reason="for a reason")))
    assert page.pills("passed") == 0
    # One at the top, one at the gate, and the GPU benchmark that was not run either.
    assert page.pills(status.value) == 2 + (status is Status.NOT_RUN)
    assert "for a reason" in page.text
    assert html(full_report(GOOD)).pills("passed") == 2


def test_the_worst_module_comes_first_and_nan_before_all() -> None:
    values = {f"blocks.{i}.mlp": 1e-3 * (i + 1) for i in range(9)}
    verdict = parity({"logits": 1e-3, **values, "norm": math.nan})
    for text in (html(full_report(verdict)).text, render_markdown(full_report(verdict).as_dict())):
        order = [text.index(name) for name in ("NaN", "blocks.8.mlp", "blocks.7.mlp", "blocks.0.mlp")]
        assert order == sorted(order)
    assert "failed" in html(full_report(verdict)).text


def test_an_agreement_is_no_share_of_a_limit() -> None:
    top1 = Measure(output="logits", metric="top1_agreement", value=1.0, limit=1.0, bound=Bound.AT_LEAST)
    text = html(full_report(replace(GOOD, measures=(*GOOD.measures, top1)))).text
    assert text.index("blocks.0.mlp") < text.index("logits")


def test_a_proxy_is_called_one() -> None:
    assert "proxy for fp16 on a GPU" in html(full_report(GOOD)).text
    assert "This is a proxy for fp16 on a GPU" in render_markdown(full_report(GOOD).as_dict())


def test_without_a_gpu_the_benchmark_says_so_and_cpu_figures_stand_under_their_heading() -> None:
    cpu = full_report(timings=[timing("CPU (ONNX Runtime)")])
    for text in (html(cpu).text, render_markdown(cpu.as_dict())):
        assert "not run: no GPU" in text
        assert text.index("not run: no GPU") < text.index("CPU (ONNX Runtime)") < text.index("2604")
        assert "says nothing about a GPU" in text
    gpu = full_report(timings=[timing("NVIDIA L4 (TensorRT 11.1.0)")])
    assert "not run: no GPU" not in html(gpu).text


def test_engines_islands_hashes_and_commands_are_there() -> None:
    islands = tuple(Island(f"blocks.{i}.temporal.softmax", "overflows in half precision", 4) for i in range(3))
    given = manifest(GOOD, islands=islands)
    report = report_from_manifest(
        given, graph=FIGURES, build_seconds={ENGINE: 8.4}, commands=[Command(title="Orin", command="ftsf build .")]
    )
    for text in (html(report).text, render_markdown(report.as_dict())):
        for said in (
            ENGINE,
            "136.0\u202fMiB",
            "150.0\u202fMiB",
            "8.4\u202fs",
            "8.6, 8.9",
            "overflows in half precision",
        ):
            assert said in text
        for said in (MODEL_SHA, ENGINE_SHA, "ftsf verify .", "ftsf build .", "2.13.0"):
            assert said in text
    assert "12" in [line.split(" nodes")[0][2:] for line in render_markdown(report.as_dict()).splitlines()]


def test_an_empty_bundle_is_reported_too() -> None:
    bare = replace(manifest(), engines=(), verdicts=(), islands=())
    report = report_from_manifest(bare, graph=GraphFigures(nodes=1, parameters=1))
    assert "No gate was run" in html(report).text
    assert "None was built" in html(report).text
    assert "None was built" in render_markdown(report.as_dict())


def test_the_page_needs_nothing_else_and_can_be_read_aloud() -> None:
    page = render_html(full_report(timings=[timing("CPU (ONNX Runtime)")]).as_dict())
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script|<link|<img|src=", page)
    assert "prefers-color-scheme: dark" in page
    parsed = Page(page)
    assert all("scope" in attrs for tag, attrs in parsed.elements if tag == "th")
    ids = [attrs["id"] for _, attrs in parsed.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(attrs["aria-labelledby"] in ids for _, attrs in parsed.elements if "aria-labelledby" in attrs)


def test_hostile_text_stays_text() -> None:
    verdict = replace(NOT_RUN, reason=HOSTILE, gate=HOSTILE)
    hostile = replace(manifest(verdict), created_by=HOSTILE, config={"attn": HOSTILE, "note": HOSTILE})
    report = report_from_manifest(
        hostile,
        graph=FIGURES,
        gpu_benchmark=HOSTILE,
        stages=[{"stage": HOSTILE, "seconds": 1.0, "peak_rss_bytes": None}],
    )
    assert "<script" not in render_html(report.as_dict())
    assert HOSTILE in html(report).text
    markdown = render_markdown(report.as_dict())
    assert "<script" not in markdown.replace("\\<script", "")
    for line in markdown.splitlines():
        if line.startswith("| note"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 3


def test_refreshing_keeps_the_export_and_takes_the_bundle_as_it_is_now() -> None:
    old = Report.from_dict(json.loads(json.dumps(full_report().as_dict())))
    passed = replace(NOT_RUN, status=Status.PASSED, reason="", measures=GOOD.measures)
    new = old.refreshed(manifest(GOOD, passed), timings=[timing("NVIDIA L4 (TensorRT 11.1.0)")])
    assert [verdict["status"] for verdict in new.verdicts] == ["passed", "passed"]
    assert new.engines == old.engines
    assert new.stages == old.stages
    assert new.commands == old.commands
    assert dict(new.graph) == dict(old.graph)
    other = manifest(GOOD)
    engine = replace(other.engines[0], sha256="ef" * 32)
    rebuilt = old.refreshed(replace(other, engines=(engine,)), build_seconds={ENGINE: 3.0})
    # The old sidecar spoke of another engine.
    assert rebuilt.engines[0]["built"] == {}
    assert rebuilt.engines[0]["build_seconds"] == 3.0


def test_a_report_of_another_shape_is_refused() -> None:
    data = full_report().as_dict()
    for wrong, named in (
        ({**data, "report_schema": 2}, "report_schema"),
        ({**data, "colour": "blue"}, "colour"),
        ({name: value for name, value in data.items() if name != "engines"}, "engines"),
    ):
        with pytest.raises(BundleError, match=named):
            Report.from_dict(wrong)


def test_a_report_is_about_hashed_files() -> None:
    with pytest.raises(ValueError, match=r"no hash of model\.onnx"):
        report_from_manifest(replace(manifest(), files={}), graph=FIGURES)


def test_without_jinja2_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(EnvironmentLacks, match="pip install") as caught:
        report_files(full_report())
    assert caught.value.exit_code == 3
