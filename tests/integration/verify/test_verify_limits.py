"""A graph that computes without end, or fills the memory, is stopped at limits that follow from the model's size."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from ftsf_export.bundle import FileEntry, Manifest
from ftsf_export.cli.main import ftsf, run
from ftsf_export.errors import RunError, UsageError
from ftsf_export.pipeline import graph_quota as quotas
from ftsf_export.pipeline.graph_quota import graph_quota, require_room_for_calls
from ftsf_export.pipeline.room import clip_bytes
from ftsf_export.pipeline.verify import verify
from tests.unit.manifests import rehash, small_manifest

MakeBundle = Callable[..., Path]


def add_work(root: Path, nodes: Sequence[onnx.NodeProto], sizes: Sequence[int], floats: Sequence[str] = ()) -> None:
    """Nodes between ``work/first``, the largest number of the clip, and ``work/last``, which change no output."""
    model = onnx.load(root / "model.onnx")
    (last,) = (node for node in model.graph.node if "logits" in node.output)
    last.output[:] = ["work/logits"]
    zero = numpy_helper.from_array(np.zeros((), np.float32), "work/zero")
    model.graph.initializer.extend([zero, numpy_helper.from_array(np.asarray(sizes, np.int64), "work/sizes")])
    model.graph.node.extend(
        [
            helper.make_node("ReduceMax", ["clip"], ["work/first"], keepdims=0),
            *nodes,
            helper.make_node("ReduceMax", ["work/last"], ["work/most"], keepdims=0),
            helper.make_node("Mul", ["work/most", "work/zero"], ["work/nothing"]),
            helper.make_node("Add", ["work/logits", "work/nothing"], ["logits"]),
        ]
    )
    model.graph.value_info.extend([helper.make_tensor_value_info(name, 1, None) for name in floats])
    onnx.save(model, root / "model.onnx")
    rehash(root)


def endless(root: Path) -> None:
    """Minutes of products."""
    names = ["work/square", *(f"work/{index}" for index in range(9_999)), "work/last"]
    square = helper.make_node("Expand", ["work/first", "work/sizes"], ["work/square"])
    products = [helper.make_node("MatMul", [old, old], [new], f"n/{new}") for old, new in pairwise(names)]
    add_work(root, [square, *products], [1024, 1024], names)


def large(root: Path) -> None:
    """2 GiB."""
    add_work(root, [helper.make_node("Expand", ["work/first", "work/sizes"], ["work/last"])], [1 << 15, 1 << 14])


@pytest.mark.parametrize(
    ("work", "limit"),
    [(endless, r"[0-9.]+ s of processor time"), (large, r"5\d\d MiB of memory")],
    ids=["endless", "large"],
)
@pytest.mark.parametrize("command", ["verify", "bench"])
def test_it_is_stopped_in_one_line_that_says_the_limit(
    bundle: MakeBundle,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    work: Callable[[Path], None],
    limit: str,
) -> None:
    monkeypatch.setattr(quotas, "_OPENING_S", 0.5)
    monkeypatch.setattr(quotas, "_BLOCK_S", 0.25)
    root = bundle("regular", "fp32")
    work(root)
    assert run(ftsf, [command, str(root), "-q"], "ftsf") == 4
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert re.fullmatch(
        rf"error: model\.onnx: .*onnxruntime was killed at its limit of {limit}: many times what a model of this size "
        "takes; if you trust it, give --no-limits",
        said,
    )


def test_without_limits_it_runs_here(bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    root = bundle("regular", "fp32")
    monkeypatch.setattr(quotas, "_OPENING_S", -1e9)
    with pytest.raises(RunError, match="limit"):
        verify(root, record=False)
    assert verify(root, record=False, limited=False).passed


def test_limits_follow_from_the_model() -> None:
    """The documented model takes 15 s of one core of a Xeon for two clips in emulated FP16."""
    small = sized(small_manifest(frames=2, side=32, classes=40, dim=64, depth=2), 500_000)
    quota = graph_quota(small, 2)
    assert quota.processor_s < 8
    assert quota.memory_bytes < 600 << 20
    usual = sized(small_manifest(), 136_000_000)
    assert graph_quota(usual, 2).processor_s > 1000
    assert graph_quota(usual, 2).memory_bytes > 2 << 30
    assert graph_quota(usual, 8).memory_bytes > graph_quota(usual, 2).memory_bytes


def test_limits_do_not_follow_what_the_files_do_not_bear_out() -> None:
    """Somebody else's manifest says what it likes of its model."""
    boast = sized(small_manifest(frames=64, side=1024, dim=16384, depth=2), 500_000)
    assert graph_quota(boast, 2).processor_s < 250
    assert graph_quota(boast, 2).memory_bytes < 16 << 30


def sized(manifest: Manifest, size: int) -> Manifest:
    return replace(manifest, files={"model.onnx": FileEntry("0" * 64, size)})


def test_clips_of_one_call_that_do_not_fit_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = small_manifest()
    monkeypatch.setattr(quotas, "free_memory_bytes", lambda: 3 * clip_bytes(manifest.model))
    require_room_for_calls(manifest, 1)
    with pytest.raises(UsageError, match="batch: the bundle's graph takes 2 clips in a call"):
        require_room_for_calls(manifest, 2)
