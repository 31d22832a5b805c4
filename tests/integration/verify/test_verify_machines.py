"""Verify on machines that lack something, and on those that have a GPU (played here)."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata

from ftsf_export.bundle import Bundle, EngineEntry, record, sha256_of
from ftsf_export.bundle.golden import read_golden
from ftsf_export.errors import BundleError, ConfigError, EnvironmentLacks, OutputError, UsageError
from ftsf_export.pipeline.verify import verify
from ftsf_export.plan_record import Memory, Sidecar
from ftsf_export.strict_json import bytes_from_json, plain
from ftsf_export.verdict import Status, Subject, Verdict

MakeBundle = Callable[..., Path]
HERE = "8.9"


@pytest.mark.parametrize(
    ("attn", "precision", "gate", "proxy"),
    [
        ("regular", "fp32", "parity.onnx-fp32", ""),
        ("performer", "fp16", "parity.fp16-emulated", "fp16 on a GPU"),
        ("fastformer", "bf16", "parity.bf16-emulated", "bf16 on a GPU"),
    ],
)
def test_an_honest_bundle_passes_and_says_how_it_was_judged(
    bundle: MakeBundle, attn: str, precision: str, gate: str, proxy: str
) -> None:
    root = bundle(attn, precision)
    result = verify(root)
    assert result.passed
    assert result.reason == ""
    assert [verdict.gate for verdict in result.verdicts] == ["weights", gate, "preprocessing"]
    assert result.verdicts[1].proxy_for == proxy
    golden = read_golden(root / "golden.npz")
    assert {m.output for m in result.verdicts[1].measures} == {"logits", *golden.taps}
    assert {"blocks.0.temporal", "blocks.1.spatial", "blocks.1.mlp", "norm", "patch_embed"} <= set(golden.taps)
    assert {v.gate: v.status for v in Bundle.open(root).verdicts}[gate] is Status.PASSED


def test_a_dynamic_batch_of_more_clips_than_there_are_is_filled(bundle: MakeBundle) -> None:
    assert verify(bundle("regular", "fp32", batch="3:4:6"), record=False).passed


def test_limits_can_be_set(bundle: MakeBundle) -> None:
    root = bundle("regular", "fp16")
    assert not verify(root, rtol=1e-9, record=False).passed
    assert "max_abs" in verify(root, atol=1e-9, record=False).reason
    with pytest.raises(ConfigError, match=r"runner: expected one of .*; atol: .*; rtol: "):
        verify(root, runner="cuda", atol=0, rtol=-1)


def test_nothing_is_recorded_unless_asked(bundle: MakeBundle) -> None:
    root = bundle("regular", "fp32")
    before = (root / "manifest.json").read_bytes()
    verify(root, record=False)
    assert (root / "manifest.json").read_bytes() == before


def test_a_bundle_that_cannot_be_written_is_verified_all_the_same(
    bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise OutputError("read-only file system")

    monkeypatch.setattr(Bundle, "with_verdicts", refuse)
    result = verify(bundle("regular", "fp32"))
    assert result.passed
    assert result.unrecorded == "read-only file system"


def test_no_torch_is_needed(bundle: MakeBundle) -> None:
    root = bundle("fastformer", "fp16")
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['fast_timesformer.model'] = None\n"
        "from ftsf_export.pipeline.verify import verify\n"
        "result = verify(sys.argv[1]); print(result.passed, [v.gate for v in result.verdicts])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True ['weights', 'parity.fp16-emulated', 'preprocessing']"
    assert done.stderr == ""


@pytest.mark.parametrize("missing", ["onnxruntime", "onnx", "onnx_ir"])
@pytest.mark.parametrize("runner", ["auto", "onnxruntime"])
def test_without_onnx_runtime_it_says_what_to_install(
    bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, missing: str, runner: str
) -> None:
    root = bundle("regular", "fp16")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(EnvironmentLacks, match=rf"{missing}: not installed.*pip install 'ftsf-export\[onnx\]'"):
        verify(root, runner=runner)


def with_engine(
    root: Path,
    *,
    builder: str = "tensorrt",
    capabilities: tuple[str, ...] = (HERE,),
    batch: tuple[int, int, int] = (1, 1, 1),
    version: str = "11.4.0",
) -> EngineEntry:
    """Puts an engine into the bundle that only a played GPU can run."""
    engine = root.parent / "plan"
    engine.write_bytes(b"plan")
    stem = f"engines/{builder}-l4-fp16"
    entry = EngineEntry(
        file=f"{stem}.engine",
        sidecar=f"{stem}.json",
        builder=builder,
        target="l4",
        precision="fp16",
        compute_capabilities=capabilities,
        sha256=sha256_of(engine),
    )
    sidecar = bytes_from_json(plain(sidecar_of(entry, batch, version)))
    record(Bundle.open(root), engine=entry, files={entry.file: engine, entry.sidecar: sidecar})
    return entry


def sidecar_of(entry: EngineEntry, batch: tuple[int, int, int], version: str) -> Sidecar:
    """As ``ftsf build`` writes it, of an engine whose profile is ``batch``."""
    return Sidecar(
        builder=entry.builder, builder_version=version, target=entry.target, precision=entry.precision,
        compute_capabilities=entry.compute_capabilities, sha256=entry.sha256, size_bytes=4, input="clip",
        profile=dict(zip(("min", "opt", "max"), ((clips, 2, 3, 32, 32) for clips in batch), strict=True)),
        tf32=False, plugins="", kernels=0, layer_types={}, moved_bytes=None, fused_attentions=0,
        product_operand_types={}, memory=Memory(),
    )  # fmt: skip


class Played(BaseRunner):  # type: ignore[misc]
    """An engine that gives the reference's logits of the clip in each slot, altered by ``how``."""

    kernels = "as the engine holds them"

    def __init__(self, root: Path, how: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__(prefix="played")
        self.golden, self.how = read_golden(root / "golden.npz"), how

    def get_input_metadata_impl(self) -> Any:
        return TensorMetadata().add("clip", np.float32, (None, *self.golden.clip.shape[1:]))

    def infer_impl(self, feed_dict: dict[str, np.ndarray]) -> OrderedDict[str, np.ndarray]:
        self.inference_time = 0.0
        clips = [int(np.flatnonzero((self.golden.clip == one).all((1, 2, 3, 4)))[0]) for one in feed_dict["clip"]]
        return OrderedDict(logits=self.how(self.golden.logits[clips]))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Plays a GPU of compute capability 8.9 and an engine's outputs."""

    def play(root: Path, how: Callable[[np.ndarray], np.ndarray] = lambda logits: logits) -> None:
        from ftsf_export.runners import child_runner, tensorrt

        monkeypatch.setattr(tensorrt, "require_tensorrt", lambda _builder: SimpleNamespace(capability=HERE))
        runner = child_runner.ChildRunner

        def made(path: Path, *, backend: str, **options: Any) -> BaseRunner:
            return runner(path, backend=backend, **options) if backend == "onnxruntime" else Played(root, how)

        monkeypatch.setattr(child_runner, "ChildRunner", made)

    return play


def of_engine(result: Any) -> Verdict:
    """The verdict on the engine's outputs."""
    (found,) = (verdict for verdict in result.verdicts if verdict.gate.startswith("parity.engine-"))
    return found


def test_an_engine_is_judged_where_there_is_a_gpu(bundle: MakeBundle, gpu: Callable[..., None]) -> None:
    root = bundle("regular", "fp16")
    entry = with_engine(root)
    gpu(root, lambda logits: logits * np.float32(1.001))
    result = verify(root)
    assert result.passed
    verdict = of_engine(result)
    assert (verdict.gate, verdict.status) == ("parity.engine-tensorrt-l4", Status.PASSED)
    assert (verdict.subject, verdict.proxy_for) == (Subject(entry.file, entry.sha256), "")
    assert verdict.conditions == "batch 1, every slot, twice on one context; kernels as the engine holds them"
    (recorded,) = (v for v in Bundle.open(root).verdicts if v.gate == verdict.gate)
    assert recorded.conditions == verdict.conditions
    only = verify(root, runner="tensorrt", record=False)
    assert [v.gate for v in only.verdicts] == ["parity.engine-tensorrt-l4"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda logits: logits * np.float32(1.1), "rel_l2 0.1, limit at most 0.01"),
        (lambda logits: logits * np.float32(np.nan), "non-finite values of the candidate"),
        (lambda logits: logits[:, :-1], "expected shape (4, 40), got (4, 39)"),
        (lambda logits: logits[:0], "expected 1 clips"),
    ],
)
def test_an_engine_that_departs_fails(
    bundle: MakeBundle, gpu: Callable[..., None], how: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    root = bundle("regular", "fp16")
    with_engine(root)
    gpu(root, how)
    result = verify(root)
    assert of_engine(result).status is Status.FAILED
    assert said in result.reason
    assert {v.gate: v.status for v in Bundle.open(root).verdicts}["parity.engine-tensorrt-l4"] is Status.FAILED


def test_an_engine_is_judged_at_the_batches_of_its_own_profile(bundle: MakeBundle, gpu: Callable[..., None]) -> None:
    """Built with ``ftsf build --batch``: other numbers than the bundle's. Its largest batch alone is wrong."""
    root = bundle("regular", "fp16")
    entry = with_engine(root, batch=(2, 3, 5))
    gpu(root, lambda logits: logits * np.float32(1.1 if len(logits) == 5 else 1))
    (verdict,) = verify(root, runner="tensorrt", record=False).verdicts
    assert verdict.status is Status.FAILED
    assert verdict.conditions.startswith("batch 2, 3 and 5, every slot")
    assert "of 5, run 1" in verdict.reason
    record(Bundle.open(root), engine=entry, files={entry.file: b"plan", entry.sidecar: b'{"profile": {}}'})
    with pytest.raises(BundleError, match=r"tensorrt-l4-fp16\.json: "):
        verify(root, runner="tensorrt", record=False)


def test_an_engine_of_a_release_that_is_known_to_be_wrong_is_warned_of(
    bundle: MakeBundle, gpu: Callable[..., None]
) -> None:
    root = bundle("regular", "fp16")
    with_engine(root, version="10.7.0")
    gpu(root)
    result = verify(root, record=False)
    assert result.passed
    (warning,) = result.warnings
    assert "TensorRT 10.7.0, compute capability 8.9" in warning
    assert "issues/4333" in warning
    with_engine(root)
    assert verify(root, record=False).warnings == ()


def test_with_an_engine_judged_onnx_runtime_may_be_missing(
    bundle: MakeBundle, gpu: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device has the runtime of its engine, and need have no other."""
    root = bundle("regular", "fp16")
    with_engine(root)
    gpu(root)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    result = verify(root)
    assert result.passed
    assert {v.gate: v.status for v in result.verdicts} == {
        "parity.fp16-emulated": Status.NOT_RUN,
        "parity.engine-tensorrt-l4": Status.PASSED,
        "preprocessing": Status.NOT_RUN,
    }


def test_an_engine_for_another_gpu_is_not_run(bundle: MakeBundle, gpu: Callable[..., None]) -> None:
    root = bundle("regular", "fp16")
    with_engine(root, capabilities=("8.7",))
    gpu(root)
    result = verify(root, record=False)
    assert result.passed
    assert of_engine(result).status is Status.NOT_RUN
    assert "built for compute capability 8.7; this machine's GPU has 8.9" in of_engine(result).reason
    with pytest.raises(EnvironmentLacks, match=r"built for compute capability 8\.7"):
        verify(root, runner="tensorrt")


def test_without_a_gpu_an_engine_is_not_run_and_what_a_gpu_proved_stays(
    bundle: MakeBundle, gpu: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = bundle("regular", "fp16")
    with_engine(root, builder="rtx", capabilities=("8.6", HERE))
    gpu(root)
    verify(root)
    monkeypatch.undo()
    monkeypatch.setattr("ftsf_export.runners.driver.gpu_problem", lambda: "no NVIDIA driver on this machine")
    result = verify(root)
    assert result.passed
    assert of_engine(result).status is Status.NOT_RUN
    assert "no NVIDIA driver" in of_engine(result).reason
    assert {v.gate: v.status for v in Bundle.open(root).verdicts}["parity.engine-rtx-l4"] is Status.PASSED
    with pytest.raises(EnvironmentLacks, match="no NVIDIA driver"):
        verify(root, runner="rtx")


def test_an_engine_that_is_not_there_cannot_be_asked_for(bundle: MakeBundle) -> None:
    with pytest.raises(UsageError, match="no engine of rtx; build one with: ftsf build"):
        verify(bundle("regular", "fp16"), runner="rtx")


@pytest.mark.parametrize(
    ("labels", "known", "said"),
    [(39, None, "names 39 classes, the model has 40"), (40, ("cat", "class 1"), "'cat', which is not a class")],
)
def test_labels_that_do_not_fit_fail(
    bundle: MakeBundle,
    rewrite_golden: Callable[..., None],
    labels: int,
    known: tuple[str, ...] | None,
    said: str,
) -> None:
    root = bundle("regular", "fp32")
    rewrite_golden(root, labels=known)
    manifest = replace(Bundle.open(root).manifest, labels=tuple(f"class {index}" for index in range(labels)))
    (root / "manifest.json").write_bytes(manifest.to_bytes())
    result = verify(root, record=False)
    assert not result.passed
    assert said in result.reason


def test_labels_that_fit_pass(bundle: MakeBundle, rewrite_golden: Callable[..., None]) -> None:
    root = bundle("regular", "fp32")
    rewrite_golden(root, labels=("class 3", "class 1"))
    manifest = replace(Bundle.open(root).manifest, labels=tuple(f"class {index}" for index in range(40)))
    (root / "manifest.json").write_bytes(manifest.to_bytes())
    gates = [v.gate for v in verify(root, record=False).verdicts]
    assert gates == ["labels", "weights", "parity.onnx-fp32", "preprocessing"]
