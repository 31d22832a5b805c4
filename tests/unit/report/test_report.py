"""The report says what is so, says it plainly, and is one file that needs nothing else."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import CheckpointWeights, EngineEntry, FileEntry, Island, Manifest
from ftsf_export.class_scores import ClassScore
from ftsf_export.config import ExportConfig
from ftsf_export.errors import BundleError, EnvironmentLacks
from ftsf_export.plan_record import KernelGroup, KernelTotals, Memory, PlannedPlugins, PlanRecord, Sidecar
from ftsf_export.report import (
    REPORT_NAMES,
    Command,
    EngineFigures,
    Record,
    ShownClip,
    ShownFrame,
    StageTime,
    record_from_bytes,
    render,
)
from ftsf_export.report.measures import table_from_measures
from ftsf_export.report.standing import WORDS, headline, histogram, standings
from ftsf_export.strict_json import plain
from ftsf_export.timing import LatencySummary, TimedFile, Timing
from ftsf_export.verdict import Bound, Measure, Status, Subject, Verdict
from tests.unit.manifests import small_manifest

MODEL_SHA, ENGINE_SHA = "ab" * 32, "cd" * 32
ENGINE = "engines/rtx-rtx-fp16.engine"
TRAINED = TimeSformerConfig(8, 3, 224, 224, 400, dim=512)
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


def manifest(*verdicts: Verdict, **changes: Any) -> Manifest:
    return small_manifest(
        verdicts=verdicts,
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
        **changes,
    )


def timing(heading: str, *, on_gpu: bool) -> Timing:
    latency = LatencySummary(
        count=10, mean_ms=2610.0, std_ms=20.0, min_ms=2590.0, p50_ms=2604.3, p90_ms=2650.0, p95_ms=2660.0,
        p99_ms=2671.0, max_ms=2671.5, slow_outliers=0,
    )  # fmt: skip
    subject = TimedFile(
        heading=heading, on_gpu=on_gpu, file="model.onnx", sha256=MODEL_SHA, weights="random, seed 0", precision="fp16",
        batch=1, clip_s=None, clip_assumption="", conditions={}, notes=("says nothing about a GPU",),
    )  # fmt: skip
    return Timing(
        subject=subject, warmup_iterations=3, elapsed_s=26.0, latency=latency, device=None, clips_per_s=0.383,
        video_s_per_s=None, peak_rss_bytes=None, gpu=None,
    )  # fmt: skip


CPU = timing("CPU (ONNX Runtime)", on_gpu=False)
# The name of a device says nothing of its kind.
GPU = timing("CPU-like GPU (TensorRT 11.1.0)", on_gpu=True)
SIDECAR = Sidecar(
    builder="rtx", builder_version="1.7.1", target="rtx", precision="fp16", compute_capabilities=("8.6", "8.9"),
    sha256=ENGINE_SHA, size_bytes=136 << 20, input="clip", profile={"min": (1, 8), "opt": (1, 8), "max": (1, 8)},
    tf32=False, plugins="", kernels=388, layer_types={"gemm": 388}, moved_bytes=1700 << 20, fused_attentions=0,
    product_operand_types={"fp16": 388}, memory=Memory(),
)  # fmt: skip
FIGURES = {ENGINE: EngineFigures(sha256=ENGINE_SHA, build_seconds=8.4, built=SIDECAR)}
BLOCKS = tuple(f"blocks.{index}" for index in range(11))
TOTALS = KernelTotals(kernels=1, moved_bytes=2_000_000, flops=1000, least_ms=0.5)
PLAN = PlanRecord(
    kernels=11, kernels_by_kind={"product": 11}, layer_types={"gemm": 11}, moved_bytes=22_000_000, gemm_flops=11_000,
    gemm_flops_by_type={"fp16": 10_000, "fp32": 1000}, unplaced_products=(), memory=Memory(weights_bytes=1 << 20),
    fused_attentions=0, copy_kernels=0, copy_bytes=0, least_ms=5.5, reference_card="a card", unread_lines=0,
    by_block=tuple(KernelGroup(name=name, **vars(TOTALS)) for name in BLOCKS),
    by_module=(KernelGroup(name="blocks.*", **vars(TOTALS)),), by_kind=(KernelGroup(name="product", **vars(TOTALS)),),
    bytes_by_block_and_kind={name: {"product": 2_000_000} for name in BLOCKS},
    builder="rtx", builder_version="1.7.1", target="rtx-30", precision="fp16", compiled_for=("8.6",), proxy="", batch=1,
    expected_attentions=(), unfused_attentions=(), compiler_fp32=(),
    plugins=PlannedPlugins(nodes_along=(), attentions=()), trtexec="trtexec",
)  # fmt: skip


# The smallest JPEG that a browser draws: one grey pixel.
JPEG = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgICAgMCAgIDAwMDBAYEBAQEBAgGBgUGCQgKCgkICQkKDA8MCgsOCwkJDRENDg8QEBEQCgwSExIQEw8Q"
    "EBD/yQALCAABAAEBAREA/8wABgAQEAX/2gAIAQEAAD8A0s8g/9k="
)


def shown_clip(**changes: Any) -> ShownClip:
    fields: dict[str, Any] = {
        "source": "dance.mp4 frames 2..128 step 18", "clip_frames": 16,
        "frames": tuple(ShownFrame(index=2 * index, jpeg=JPEG) for index in range(8)),
        "reference": (ClassScore(7, "dancing", 0.999996), ClassScore(3, "", 0.000004)),
        "graph": (ClassScore(7, "dancing", 0.99), ClassScore(5, "tap | dance", 0.01)),
    }  # fmt: skip
    return ShownClip(**{**fields, **changes})


def full_record(*verdicts: Verdict, **changes: Any) -> Record:
    return replace(
        Record(
            manifest=manifest(*(verdicts or (GOOD, NOT_RUN))),
            engines=FIGURES,
            stages=(StageTime("trace", 11.8, 1 << 30),),
            commands=(Command(title="Build for jetson-orin", command="ftsf build . --target jetson-orin"),),
        ),
        **changes,
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


def html(record: Record) -> Page:
    return Page(render(record)["report.html"].decode())


def markdown(record: Record) -> str:
    return render(record)["report.md"].decode()


def test_three_files_from_the_same_record() -> None:
    files = render(full_record())
    assert sorted(files) == sorted(REPORT_NAMES)
    json.loads(files["report.json"], parse_constant=pytest.fail)
    # The stored record alone gives the same two readings.
    assert render(record_from_bytes(files["report.json"], "report.json")) == files
    assert render(full_record()) == files


def test_random_weights_are_said_in_each_reading_and_only_then() -> None:
    trained = CheckpointWeights(
        kind="Hugging Face", name="k400", revision="", file="k400.safetensors", sha256=MODEL_SHA, trained=TRAINED
    )
    for said in (html(full_record()).text, markdown(full_record())):
        assert "RANDOM WEIGHTS" in said
    record = Record(manifest=manifest(GOOD, weights=trained))
    for said in (html(record).text, markdown(record)):
        assert "RANDOM" not in said
        assert "k400.safetensors" in said


def test_weights_of_another_mechanism_are_said_to_need_fine_tuning() -> None:
    trained = CheckpointWeights(
        kind="Hugging Face",
        name="k400",
        revision="",
        file="k400.safetensors",
        sha256=MODEL_SHA,
        trained=replace(TRAINED, attn_mechanism="regular"),
    )
    record = Record(manifest=manifest(GOOD, weights=trained))
    for said in (html(record).text, markdown(record)):
        assert "NEEDS FINE-TUNING" in said


@pytest.mark.parametrize("status", [Status.FAILED, Status.INCONCLUSIVE, Status.NOT_RUN])
def test_only_passed_is_green(status: Status) -> None:
    page = html(full_record(replace(GOOD, status=status, reason="for a reason")))
    assert page.pills("passed") == 0
    # One at the top, one at the gate; the target's proof and the GPU benchmark were not run either.
    assert page.pills(status.value) == 2 + 2 * (status is Status.NOT_RUN)
    assert "for a reason" in page.text
    assert html(full_record(GOOD)).pills("passed") == 2


def test_the_worst_module_comes_first_and_nan_before_all() -> None:
    values = {f"blocks.{i}.mlp": 1e-3 * (i + 1) for i in range(9)}
    verdict = parity({"logits": 1e-3, **values, "norm": math.nan})
    for text in (html(full_record(verdict)).text, markdown(full_record(verdict))):
        order = [text.index(name) for name in ("NaN", "blocks.8.mlp", "blocks.7.mlp", "blocks.0.mlp")]
        assert order == sorted(order)
    assert "failed" in html(full_record(verdict)).text


def test_an_agreement_is_no_share_of_a_limit() -> None:
    top1 = Measure(output="blocks.1.mlp", metric="top1_agreement", value=1.0, limit=1.0, bound=Bound.AT_LEAST)
    text = html(full_record(replace(GOOD, measures=(top1, *GOOD.measures)))).text
    assert text.index("blocks.0.mlp") < text.index("blocks.1.mlp")


def test_the_logits_come_first_and_outputs_are_counted_by_how_much_of_their_limit_they_take() -> None:
    values = {f"blocks.{i}.mlp": share * 1e-2 for i, share in enumerate((5e-4, 0.005, 0.05, 0.06, 0.3, 1.5))}
    table = table_from_measures(parity({**values, "logits": 1e-4}).measures)
    assert [row.output for row in table.rows][:2] == ["logits", "blocks.5.mlp"]
    assert [count for _, count in histogram(table)] == [1, 2, 2, 1, 0, 1]
    assert histogram(table_from_measures(parity({"logits": 1e-4}).measures)) == ()


PROVEN = Verdict(
    gate="parity.engine-rtx-rtx",
    status=Status.PASSED,
    subject=Subject(ENGINE, ENGINE_SHA),
    measures=(Measure(output="logits", metric="rel_l2", value=1e-3, limit=1e-2),),
)


@pytest.mark.parametrize(
    ("given", "first", "target"),
    [
        (manifest(GOOD, NOT_RUN), "Ready for rtx · not proven on a GPU yet", ("rtx", "not_run")),
        (manifest(GOOD, PROVEN), "Ready for rtx · proven on its GPU", ("rtx", "passed")),
        (manifest(parity({"logits": 0.5})), "Not ready · parity.fp16-emulated failed", ("rtx", "not_run")),
        (
            manifest(GOOD, asked=ExportConfig(targets=["rtx", "jetson-orin"])),
            "Ready for rtx · not proven on a GPU yet",
            ("jetson-orin", ""),
        ),
        (
            replace(manifest(GOOD, asked=ExportConfig(targets=["jetson-orin"])), engines=()),
            "The graph is ready · no engine was built yet",
            ("jetson-orin", ""),
        ),
    ],
)  # fmt: skip
def test_the_first_line_says_no_more_than_the_verdicts(given: Manifest, first: str, target: tuple[str, str]) -> None:
    assert headline(given) == first
    assert target in [(one.target, one.proven) for one in standings(given)]
    for text in (html(Record(manifest=given)).text, markdown(Record(manifest=given))):
        assert first in text
        assert target[0] in text
    assert ("no NVIDIA driver answers here" in [one.said for one in standings(given)]) is (
        (NOT_RUN.gate, NOT_RUN.status) in [(one.gate, one.status) for one in given.verdicts]
    )


def test_every_word_is_explained_where_it_is_used_and_at_length_in_docs() -> None:
    page = render(full_record())["report.html"].decode()
    for found in set(re.findall(r'href="#(word-[a-z-]+)"', page)):
        assert f'id="{found}"' in page
    glossary = (Path(__file__).parents[3] / "docs" / "glossary.md").read_text(encoding="utf-8").lower()
    assert {word for word in WORDS if word not in glossary} == set()


def test_a_proxy_is_called_one() -> None:
    assert "proxy for fp16 on a GPU" in html(full_record(GOOD)).text
    assert "This is a proxy for fp16 on a GPU" in markdown(full_record(GOOD))


def test_without_a_gpu_the_benchmark_says_so_and_cpu_figures_stand_under_their_heading() -> None:
    cpu = full_record(timings=(CPU,))
    for text in (html(cpu).text, markdown(cpu)):
        assert "not run: no GPU" in text
        assert text.index("not run: no GPU") < text.index("CPU (ONNX Runtime)") < text.index("2604")
        assert "says nothing about a GPU" in text
    gpu = full_record(timings=(GPU,))
    assert "not run: no GPU" not in html(gpu).text


def test_engines_islands_hashes_and_commands_are_there() -> None:
    islands = tuple(Island(f"blocks.{i}.temporal.softmax", "overflows in half precision", 4) for i in range(3))
    given = manifest(GOOD, islands=islands)
    report = Record(manifest=given, engines=FIGURES, commands=(Command(title="Orin", command="ftsf build ."),))
    for text in (html(report).text, markdown(report)):
        for said in (
            ENGINE,
            "142.6\u202fMB",
            "157.3\u202fMB",
            "8.4\u202fs",
            "8.6, 8.9",
            "overflows in half precision",
        ):
            assert said in text
        for said in (MODEL_SHA, ENGINE_SHA, "ftsf verify .", "ftsf build .", "2.13.0"):
            assert said in text
    assert "12" in [line.split(" nodes")[0][2:] for line in markdown(report).splitlines()]


def test_an_empty_bundle_is_reported_too() -> None:
    report = Record(manifest=replace(manifest(), engines=(), verdicts=()))
    assert "No gate was run" in html(report).text
    assert "None was built" in html(report).text
    assert "None was built" in markdown(report)


def test_the_page_needs_nothing_else_and_can_be_read_aloud() -> None:
    page = render(full_record(timings=(CPU,), clips=(shown_clip(),)))["report.html"].decode()
    page, pictures = re.subn(r'<img src="data:image/jpeg;base64,[A-Za-z0-9+/=]+" alt="[\w ]+">', "", page)
    assert pictures == 8
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script|<link|<img|src=", page)
    assert "prefers-color-scheme: dark" in page
    parsed = Page(page)
    assert all("scope" in attrs for tag, attrs in parsed.elements if tag == "th")
    ids = [attrs["id"] for _, attrs in parsed.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(attrs["aria-labelledby"] in ids for _, attrs in parsed.elements if "aria-labelledby" in attrs)


def test_the_clips_of_videos_are_shown_with_the_best_classes_of_both_sides() -> None:
    record = full_record(clips=(shown_clip(),))
    for text in (html(record).text, markdown(record).replace("\\", "")):
        assert "dance.mp4 frames 2..128 step 18" in text
        assert "every tensor rounded to fp16: a proxy for a GPU" in text
        # Never rounded up to certainty; a class without a name by its number.
        assert "99.999\u202f%" in text
        assert "100.000" not in text
        assert "class 3" in text
        assert text.count("another class") == 1
    assert "8 of the clip's 16 frames are shown" in html(record).text
    assert record_from_bytes(render(record)["report.json"], "report.json").clips == record.clips
    assert "Judged on these videos" not in html(full_record()).text + markdown(full_record())


def test_a_strangers_clip_is_text_and_a_picture_alone() -> None:
    hostile = shown_clip(source=HOSTILE, reference=(ClassScore(0, HOSTILE, 1.0),), graph=(ClassScore(0, HOSTILE, 1.0),))
    record = full_record(clips=(hostile,))
    assert "<script" not in render(record)["report.html"].decode() + markdown(record)
    data = record.as_json()
    for wrong, named in (
        ({"graph": []}, "graph: expected 1 classes"),
        ({"frames": [{"index": 0, "jpeg": '" onerror="alert(1)'}]}, "jpeg: expected base64"),
    ):
        forged = {**data, "clips": [{**data["clips"][0], **wrong}]}
        with pytest.raises(BundleError, match=named):
            record_from_bytes(json.dumps(forged).encode(), "report.json")


def test_hostile_text_stays_text() -> None:
    verdict = replace(NOT_RUN, reason=HOSTILE, gate=HOSTILE)
    hostile = replace(manifest(verdict), created_by=HOSTILE, labels=(HOSTILE,), tools={"numpy": HOSTILE})
    record = Record(manifest=hostile, gpu_benchmark=HOSTILE, stages=(StageTime(HOSTILE, 1.0, None),))
    assert "<script" not in render(record)["report.html"].decode()
    assert HOSTILE in html(record).text
    text = markdown(record)
    assert "<script" not in text
    rows = [line for line in text.splitlines() if line.startswith(("| labels", "| numpy"))]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in rows] == [3, 3]


MARKDOWN = MarkdownIt("js-default", {"html": True, "linkify": False})
HOSTILE_MARKDOWN = (
    "- x\n\n# Gates: **all passed**\n\n~~~\n| a | b |\n<img src=x> &lt;b&gt; [x](javascript:1) ![x](http://x.y/z) "
    "www.x.y \x1b[2J\u202edessap\x9b1m"
)


def test_every_text_of_a_strangers_bundle_is_text_in_markdown() -> None:
    """Also where a line begins with it, and in the block of a command; control characters are shown in both reports."""
    verdict = replace(NOT_RUN, reason=HOSTILE_MARKDOWN, gate=HOSTILE_MARKDOWN)
    hostile = replace(
        manifest(verdict), created_by=HOSTILE_MARKDOWN, labels=(HOSTILE_MARKDOWN,), tools={"numpy": HOSTILE_MARKDOWN}
    )
    command = Command(title=HOSTILE_MARKDOWN, command="ftsf build\n```\n# passed\x1b[2J", reason=HOSTILE_MARKDOWN)
    timing = replace(CPU, subject=replace(CPU.subject, notes=(HOSTILE_MARKDOWN,)))
    record = Record(manifest=hostile, timings=(timing,), commands=(command,), gpu_benchmark=HOSTILE_MARKDOWN)
    files = render(record)
    for name in ("report.md", "report.html"):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", files[name].decode()), name
        assert "\\u202edessap" in files[name].decode()
    text = files["report.md"].decode()
    assert not re.search(r"https?://|www\.", text)
    parsed = MARKDOWN.parse(text)
    lines = [[child for child in token.children or () if child.type != "softbreak"] for token in parsed]
    kinds = {child.type for line in lines for child in line}
    assert kinds <= {"text", "strong_open", "strong_close", "em_open", "em_close", "code_inline"}
    read = ["".join(child.content for child in line) for line in lines]
    assert any(
        "- x # Gates: **all passed** ~~~ | a | b | <img src=x> &lt;b&gt; [x](javascript:1)" in one for one in read
    )
    fences = [token.content for token in parsed if token.type == "fence"]
    assert fences == ["ftsf verify .\n", "ftsf build # passed\\x1b[2J\n"]
    harmless = replace(record, manifest=manifest(NOT_RUN, tools={"numpy": "2"}), timings=(CPU,), gpu_benchmark="none")
    own = MARKDOWN.parse(render(harmless)["report.md"].decode())
    assert Counter(token.type for token in parsed) == Counter(token.type for token in own)


def test_refreshing_keeps_the_export_and_takes_the_bundle_as_it_is_now() -> None:
    old = record_from_bytes(render(full_record())["report.json"], "report.json")
    passed = replace(NOT_RUN, status=Status.PASSED, reason="", measures=GOOD.measures)
    new = old.refreshed(manifest(GOOD, passed), timings=(GPU,))
    assert [verdict.status.value for verdict in new.manifest.verdicts] == ["passed", "passed"]
    assert (new.engines, new.stages, new.commands) == (old.engines, old.stages, old.commands)
    other = manifest(GOOD)
    sha256 = "ef" * 32
    rebuilt = replace(other, engines=(replace(other.engines[0], sha256=sha256),))
    # The old figures spoke of another engine.
    assert old.refreshed(rebuilt).engines == {}
    figures = {ENGINE: EngineFigures(sha256=sha256, build_seconds=3.0, built=replace(SIDECAR, sha256=sha256))}
    assert old.refreshed(rebuilt, engines=figures).engines == figures


def test_a_record_of_another_shape_is_refused() -> None:
    data = full_record().as_json()
    for wrong, named in (
        ({**data, "report_schema": 1}, "report_schema"),
        ({**data, "colour": "blue"}, "colour"),
        ({name: value for name, value in data.items() if name != "engines"}, "engines"),
    ):
        with pytest.raises(BundleError, match=named):
            record_from_bytes(json.dumps(wrong).encode(), "report.json")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"plans": [{}]}, r"report\.json: plans\[0\]\.kernels: missing"),
        ({"plans": [{**plain(PLAN), "by_block": "none"}]}, r"plans\[0\]\.by_block: expected a list, got 'none'"),
        ({"timings": [{}]}, r"timings\[0\]\.subject: missing"),
        ({"timings": [{**plain(CPU), "subject": {}}]}, r"timings\[0\]\.subject\.heading: missing"),
        ({"engines": {ENGINE: {"sha256": ENGINE_SHA, "build_seconds": 1.0, "built": {"kernels": []}}}}, "built"),
    ],
)
def test_a_record_that_lacks_what_is_shown_is_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(BundleError, match=named):
        record_from_bytes(json.dumps({**full_record().as_json(), **wrong}).encode(), "report.json")


def test_a_plan_reads_the_same_after_a_journey_through_json() -> None:
    record = full_record(plans=(PLAN,), timings=(CPU, GPU))
    files = render(record)
    assert render(record_from_bytes(files["report.json"], "report.json")) == files
    page = files["report.html"].decode()
    # In the order of execution: as text, blocks.10 comes before blocks.2.
    assert page.index(">blocks.2<") < page.index(">blocks.10<")
    assert page.index("Work in fp16") < page.index("Work in fp32")


def test_a_report_is_about_hashed_files() -> None:
    with pytest.raises(ValueError, match=r"no hash of model\.onnx"):
        Record(manifest=replace(manifest(), files={}))


def test_without_jinja2_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(EnvironmentLacks, match="pip install") as caught:
        render(full_record())
    assert caught.value.exit_code == 3
