"""``ftsf build`` on a bundle: engines, sidecars and verdicts, recorded whole or not at all, with no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.bundle import Bundle, BundleWriter, Island, TapSpec, contents
from ftsf_export.bundle.golden import write_golden
from ftsf_export.config import BatchRange, ExportConfig, Size
from ftsf_export.engine.choice import BuildTools
from ftsf_export.engine.request import BuildOptions
from ftsf_export.errors import BuildError, BundleError, ConfigError, EnvironmentLacks, UsageError
from ftsf_export.pipeline.build_bundle import build
from ftsf_export.verdict import Status
from tests.unit.engine.inspector_records import inspector_json
from tests.unit.manifests import small_manifest

FRAMES, TOKENS, WIDTH, CLASSES, SAMPLES = 2, 32, 64, 5, 8
LAPTOP = BuildTools(gpu_capability=None, rtx_installed=True, tensorrt_installed=False)
BARE = BuildTools(gpu_capability=None, rtx_installed=False, tensorrt_installed=False)
ROOT = Path(__file__).parents[3]

WriteGraph = Callable[..., Path]
MakeBundle = Callable[..., Bundle]

pytest.importorskip("tensorrt_rtx")


@pytest.fixture
def make_bundle(graphs: WriteGraph, tmp_path: Path) -> MakeBundle:
    """A bundle around a graph in ``graph`` precision that says it is ``precision``."""

    def make(precision: str = "fp16", *, graph: str = "", dynamic: bool = False, islands: tuple = ()) -> Bundle:
        batch = BatchRange(1, 2, 4) if dynamic else BatchRange(1, 1, 1)
        manifest = small_manifest(
            asked=ExportConfig(
                frames=FRAMES, size=Size(TOKENS, WIDTH), channels=1, dim=WIDTH, depth=1, num_classes=CLASSES
            ),
            model=TimeSformerConfig(FRAMES, 1, TOKENS, WIDTH, CLASSES, dim=WIDTH, depth=1),
            precision=precision,
            islands=islands,
            taps=(TapSpec("norm"),),
            batch=batch,
        )
        with BundleWriter(tmp_path / "bundle") as writer:
            (writer.path / "model.onnx").write_bytes(graphs(graph or precision, dynamic=dynamic).read_bytes())
            write_golden(
                writer.path / "golden.npz",
                clip=np.zeros((1, FRAMES, 1, TOKENS, WIDTH), np.float32),
                logits=np.zeros((1, CLASSES), np.float32),
                sources=("zeros",),
                taps={"norm": np.zeros((1, SAMPLES), np.float32)},
            )
            return writer.commit(manifest)

    return make


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_engine_its_sidecar_and_its_verdict_join_the_bundle(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    result = build(bundle.path, targets=["rtx-30"], tools=LAPTOP)
    assert result.failing is None
    assert result.deferred == ()
    again = Bundle.open(bundle.path)
    (entry,) = again.engines
    assert entry.file == "engines/rtx-rtx-30-fp16.engine"
    assert entry.sidecar == "engines/rtx-rtx-30-fp16.json"
    assert entry.compute_capabilities == ("8.6",)
    sidecar = json.loads((bundle.path / entry.sidecar).read_bytes())
    assert sidecar["sha256"] == entry.sha256
    (verdict,) = again.verdicts
    assert verdict.gate == "engine.types-rtx-rtx-30"
    assert verdict.subject.file == entry.file
    assert verdict.status is Status.PASSED


def test_building_twice_replaces_and_another_target_adds(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    for _ in range(2):
        build(bundle.path, targets=["rtx-30"], tools=LAPTOP)
    result = build(bundle.path, targets=["rtx-40"], tools=LAPTOP)
    assert [entry.target for entry in result.bundle.engines] == ["rtx-30", "rtx-40"]
    assert len(Bundle.open(bundle.path).verdicts) == 2


@pytest.fixture
def opened_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening refuses a graph of another precision than the manifest's; here it does not look, and the gate has to."""
    monkeypatch.setattr(contents, "_precision_problem", lambda *_: "")


def test_a_graph_of_another_precision_is_not_even_written(make_bundle: MakeBundle) -> None:
    with pytest.raises(
        BundleError, match=r"precision: the manifest says fp16, but 'blocks\.0/attn/to_q' multiplies fp32"
    ):
        make_bundle("fp16", graph="fp32")


@pytest.mark.usefixtures("opened_unread")
def test_an_engine_lower_than_asked_is_kept_and_marked_failed(make_bundle: MakeBundle) -> None:
    bundle = make_bundle("fp16", graph="fp32")
    result = build(bundle.path, targets=["rtx-30"], tools=LAPTOP)
    assert result.failing is not None
    assert result.failing.status is Status.FAILED
    assert "blocks.0/attn/to_q" in result.failing.reason
    again = Bundle.open(bundle.path)
    assert again.engine_path(again.engines[0]).exists()
    assert [verdict.status for verdict in again.verdicts] == [Status.FAILED]


@pytest.mark.usefixtures("opened_unread")
def test_declared_islands_are_not_lower_than_asked(make_bundle: MakeBundle) -> None:
    # Half of the graph declared an island, in a graph that is FP32 throughout: only the rest is at fault.
    bundle = make_bundle("fp16", graph="fp32", islands=(Island("blocks.*", "for the test", 8),))
    failing = build(bundle.path, targets=["rtx-30"], tools=LAPTOP).failing
    assert failing is not None
    assert "head/linear" in failing.reason
    assert "blocks.0" not in failing.reason


def test_a_dynamic_batch_gets_its_profile(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(dynamic=True)
    (one,) = build(bundle.path, targets=["rtx-30"], tools=LAPTOP).built
    assert [shape[0] for shape in one.engine.request.profile()] == [1, 2, 4]
    (one,) = build(bundle.path, targets=["rtx-30"], batch=BatchRange(2, 2, 8), tools=LAPTOP).built
    assert [shape[0] for shape in one.engine.request.profile()] == [2, 2, 8]


def test_an_engine_that_is_not_told_of_is_kept_with_an_open_verdict(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """TensorRT's inspector with dynamic shapes, and no context for them: it took the engine with it."""
    layers = tmp_path / "layers.json"
    layers.write_text(inspector_json("attention_fp16", 10, dynamic=True), encoding="utf-8")
    monkeypatch.syspath_prepend(ROOT / "tests" / "unit" / "engine" / "stand_in")
    monkeypatch.setenv("STAND_IN_LAYERS", str(layers))
    bundle = make_bundle(dynamic=True)
    tools = BuildTools(gpu_capability="8.6", rtx_installed=True, tensorrt_installed=True)
    result = build(bundle.path, builder="tensorrt", targets=["a10"], tools=tools)
    assert result.failing is not None
    assert result.failing.status is Status.INCONCLUSIVE
    assert "5 products do not tell their operand types" in result.failing.reason
    again = Bundle.open(bundle.path)
    (entry,) = again.engines
    assert again.engine_path(entry).exists()
    sidecar = json.loads((bundle.path / entry.sidecar).read_bytes())
    assert sidecar["moved_bytes"] is None
    assert "takes no input of shape [2, 2, 1, 32, 64]" in sidecar["problem"]


def test_what_others_met_on_the_machine_that_builds_is_a_warning(make_bundle: MakeBundle) -> None:
    """JetPack 6 has TensorRT 10.3 on compute capability 8.7; what builds for RTX here is another compiler."""
    bundle = make_bundle()
    manifest = replace(bundle.manifest, model=replace(bundle.manifest.model, attn_mechanism="regular"))
    (bundle.path / "manifest.json").write_bytes(manifest.to_bytes())
    warnings = build(bundle.path, targets=["rtx-30", "jetson-orin"], tools=LAPTOP).warnings
    assert len(warnings) == 1
    assert "TensorRT 10.3, compute capability 8.7" in warnings[0]
    assert "/issues/4558" in warnings[0]
    assert build(bundle.path, targets=["rtx-30"], tools=LAPTOP).warnings == ()


def test_a_target_that_builds_its_own_engine_leaves_the_bundle_as_it_is(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    before = files_of(bundle.path)
    with pytest.raises(EnvironmentLacks, match=f"ftsf build {bundle.path} --builder tensorrt --target jetson-orin$"):
        build(bundle.path, targets=["jetson-orin"], tools=BARE)
    assert files_of(bundle.path) == before


@pytest.mark.parametrize(
    ("options", "tools", "error", "says"),
    [
        ({"builder": "none"}, LAPTOP, UsageError, "got 'none'"),
        ({"builder": "rtx", "targets": ["jetson-orin"]}, LAPTOP, UsageError, "jetson-orin"),
        ({"targets": ["jetson-orim"]}, LAPTOP, UsageError, "did you mean jetson-orin"),
        ({"precision": "fp32"}, LAPTOP, UsageError, "graph is fp16.*ftsf-export --precision fp32"),
        ({"batch": BatchRange(1, 2, 4)}, LAPTOP, UsageError, "takes exactly 1 clips in a call.*--batch 1:2:4"),
        ({}, BARE, EnvironmentLacks, "ftsf-export\\[rtx\\]"),
        ({"targets": ["rtx-30"], "options": BuildOptions(workspace_mib=1)}, LAPTOP, BuildError, "workspace"),
        ({"targets": ["rtx-30"], "options": BuildOptions(timeout_s=0.05)}, LAPTOP, BuildError, "killed"),
    ],
)
def test_what_cannot_be_built_changes_nothing(
    make_bundle: MakeBundle, options: dict, tools: BuildTools, error: type[Exception], says: str
) -> None:
    bundle = make_bundle()
    before = files_of(bundle.path)
    with pytest.raises(error, match=says):
        build(bundle.path, tools=tools, **options)
    assert files_of(bundle.path) == before


@pytest.mark.parametrize("mib", [0, -1, 10**30])
def test_a_workspace_beyond_any_machine_is_refused_in_one_line(mib: int) -> None:
    with pytest.raises(ConfigError, match=r"workspace_mib: expected a whole number of MiB from 1 to 16777216"):
        BuildOptions(workspace_mib=mib)


def test_an_altered_byte_is_refused_before_any_build(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    data = bytearray(bundle.onnx_path.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.onnx_path.write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"model\.onnx"):
        build(bundle.path, targets=["rtx-30"], tools=LAPTOP)


def test_a_build_needs_neither_torch_nor_onnx_nor_onnxruntime(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    code = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'onnx', 'onnxruntime', 'onnxscript', 'einops'):\n"
        "            raise ModuleNotFoundError(f'{name} is hidden')\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from ftsf_export.pipeline.build_bundle import build\n"
        "assert build(sys.argv[1], builder='rtx', targets=['rtx-30']).failing is None\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(bundle.path)], env=environment, check=True)
    assert Bundle.open(bundle.path).engines
