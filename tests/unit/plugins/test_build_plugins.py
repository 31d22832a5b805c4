"""Compilation without a GPU, and the gate: spills and too few blocks fail."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ftsf_plugins.additive_attention.launch import additive_launch
from ftsf_plugins.compile import (
    TARGETS,
    CompiledKernel,
    CompileError,
    Resources,
    assembled,
    ptx_version,
    used,
    without_hidden_parameters,
)
from ftsf_plugins.favor_attention.launch import favor_launch
from ftsf_plugins.kernels import NoKernel, prebuilt_kernel
from ftsf_plugins.launch import ElementType, rotation_constants
from ftsf_plugins.prebuild import OPERATIONS, kernels_to_compile, problems
from ftsf_plugins.stream import Stream

PTX = """.version 8.6
.visible .entry kernel(
\t.param .u64 kernel_param_0,
\t.param .u32 kernel_param_1,
\t.param .u64 kernel_param_2,
\t.param .u64 kernel_param_3
)
.reqntid 128
{
\tld.param.b64 %rd1, [kernel_param_0];
\tld.param.b32 %r1, [kernel_param_1];
}
"""


def made(**changes: int) -> CompiledKernel:
    taken = {"registers": 128, "spill_bytes": 0, "shared_bytes": 8192, "threads": 256, **changes}
    return CompiledKernel("kernel", 87, "", b"", Resources(**taken))


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [
        ({}, 2),
        ({"registers": 129}, 1),
        ({"registers": 64}, 4),
        ({"shared_bytes": 100 * 1024}, 1),
        ({"shared_bytes": 164 * 1024}, 0),
        ({"registers": 16, "threads": 128}, 12),
    ],
)
def test_blocks_of_a_multiprocessor(changes: dict[str, int], blocks: int) -> None:
    """By hand: 65536 registers in portions of 256 a warp, 1536 threads, 164 KiB of which a block may have 163."""
    assert made(**changes).resources.blocks(87) == blocks


def test_a_spill_fails_and_so_does_one_block_of_additive_attention() -> None:
    assert problems("additive_attention", made()) == []
    assert "spills 4 bytes" in problems("additive_attention", made(spill_bytes=4))[0]
    assert "1 blocks" in problems("additive_attention", made(registers=200))[0]
    assert problems("favor_attention", made(registers=255)) == []
    assert "0 blocks" in problems("favor_attention", made(shared_bytes=200 * 1024))[0]


def test_a_kernel_that_nobody_asks_shared_memory_for_has_limits_of_its_own() -> None:
    kept = {"shared_bytes": 48 * 1024, "spill_bytes": 512}
    assert problems("favor_attention", made(**kept), asks=False) == []
    assert "49153 bytes of shared" in problems("favor_attention", made(shared_bytes=48 * 1024 + 1), asks=False)[0]
    assert "spills 513 bytes" in problems("favor_attention", made(spill_bytes=513), asks=False)[0]


@pytest.mark.parametrize(("element", "stages"), [("fp16", 1), ("bf16", 3)])
def test_what_the_long_order_of_favor_loads_ahead(element: ElementType, stages: int) -> None:
    """Its registers are full. In fp16 Triton 3.7, which PyTorch 2.13 brings, spills 8 bytes for sm_86 with more than 1;
    in bf16 Triton 3.9 spills 36 for sm_120 with 1."""
    stream = Stream(8, 197, 8, 64, "space")
    assert favor_launch(stream, 266, rotation_constants(2), element, eps=1e-4).stages == stages


def test_the_assembler_is_read_or_refused() -> None:
    log = "    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads\nptxas info : Used 64 registers"
    assert used(log) == (64, 12)
    with pytest.raises(CompileError, match="names no registers"):
        used("ptxas info : nothing")


def test_the_version_of_ptx_is_read_or_refused() -> None:
    assert ptx_version(PTX) == 86
    with pytest.raises(CompileError, match="names no version"):
        ptx_version(PTX.removeprefix(".version"))


def test_hidden_parameters_go_where_they_are_not_used() -> None:
    stripped = without_hidden_parameters(PTX, 2)
    assert stripped.count(".param .u") == 2
    assert stripped.endswith(PTX.split(")\n", 1)[1])
    assert without_hidden_parameters(PTX, 4) == PTX
    with pytest.raises(CompileError, match="kernel_param_1"):
        without_hidden_parameters(PTX, 1)
    with pytest.raises(CompileError, match="at least 5"):
        without_hidden_parameters(PTX, 5)


def test_every_operation_type_and_target_has_its_job() -> None:
    wanted = kernels_to_compile(list(TARGETS), list(OPERATIONS), ["fp16", "bf16", "fp32"])
    assert len({kernel.stem for kernel in wanted}) == len(wanted) == (3 + 2 + 3) * 2 * 7 + 2 * 7
    # FAVOR+ within frames, for who does not ask for shared memory.
    assert {(one.operation, one.along) for one in wanted if not one.asks} == {("favor_attention", "space")}


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As scripts/build-plugins does it."""
    return subprocess.run(
        [sys.executable, "-m", "ftsf_plugins.prebuild", *arguments],
        capture_output=True, text=True, timeout=300, env=dict(os.environ),
    )  # fmt: skip


def test_machine_code_and_manifest_for_a_gpu_that_is_not_here(tmp_path: Path) -> None:
    out = tmp_path / "kernels"
    ended = build("-o", str(out), "--target", "sm_87", "--operation", "additive_attention", "--element", "fp16")
    assert ended.returncode == 0, ended.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    assert [one["along"] for one in manifest["kernels"]] == ["time", "space"]
    for one in manifest["kernels"]:
        code = (out / one["file"]).read_bytes()
        assert code.startswith(b"\x7fELF")
        assert hashlib.sha256(code).hexdigest() == one["sha256"]
        assert one["spill_bytes"] == 0
        assert one["blocks_per_multiprocessor"] >= 2
    assert {path.name for path in out.iterdir()} == {
        "manifest.json", *(one[kind] for one in manifest["kernels"] for kind in ("file", "ptx")),
    }  # fmt: skip
    _take_from(out)


def test_kernels_of_a_bundles_own_nodes(tmp_path: Path) -> None:
    """Heads of 48 and other frames than those of the documented example: an engine builder finds them by constants.

    For every target, in PTX that its drivers take: JetPack 6 runs CUDA 12.6, JetPack 7 and R580 run 13.0, and an RTX 50
    came with 12.8. Triton's own choice is newer.
    """
    nodes = tmp_path / "nodes.json"
    shape = {"frames": 4, "tokens": 17, "heads": 2, "width": 48, "axes": 1, "pairs": "halves", "split_order": 1}
    node = {"name": "FtsfAdditiveAttention", "element": "fp16", "attributes": {**shape, "along": "time"}}
    nodes.write_text(json.dumps([node, node]))
    out = tmp_path / "kernels"
    ended = build("-o", str(out), "--nodes", str(nodes))
    assert ended.returncode == 0, ended.stderr
    entries = {one["target"]: one for one in json.loads((out / "manifest.json").read_text())["kernels"]}
    versions = {target: ptx_version((out / one["ptx"]).read_text()) for target, one in entries.items()}
    assert versions == {"sm_80": 80, "sm_86": 80, "sm_87": 80, "sm_89": 80, "sm_90": 80, "sm_110": 90, "sm_120": 87}
    entry = entries["sm_87"]
    assert entry["constants"]["WIDTH"] == 48
    stream = Stream(4, 17, 2, 48, "time")
    taken = prebuilt_kernel(out, additive_launch(stream, rotation_constants(1, "halves"), "fp16"), "fp16", stream, 87)
    assert taken.cubin == (out / entry["file"]).read_bytes()
    assert taken.ptx == (out / entry["ptx"]).read_text()


def _take_from(out: Path) -> None:
    """What an engine builder without Triton does: more tokens are the same kernel, other heads are none."""
    stream = Stream(8, 300, 4, 64, "time")
    launch = additive_launch(stream, rotation_constants(1), "fp16")
    taken = prebuilt_kernel(out, launch, "fp16", stream, 87)
    assert taken.cubin == (out / "additive_attention-time-fp16-sm_87.cubin").read_bytes()
    assert (taken.name, taken.threads) == ("additive_attention_kernel", 32 * launch.warps)
    wide = Stream(8, 300, 4, 80, "time")
    for asked in ((launch, "bf16", stream, 87), (launch, "fp16", stream, 90),
                  (additive_launch(wide, rotation_constants(1), "fp16"), "fp16", wide, 87)):  # fmt: skip
        with pytest.raises(NoKernel, match="none of its 2 kernels is additive_attention_kernel"):
            prebuilt_kernel(out, *asked)  # type: ignore[arg-type]
    (out / "additive_attention-time-fp16-sm_87.cubin").write_bytes(b"another")
    with pytest.raises(NoKernel, match="not the file that its manifest names"):
        prebuilt_kernel(out, launch, "fp16", stream, 87)


def test_an_attribute_in_fp32_names_the_same_kernel(tmp_path: Path) -> None:
    """ONNX holds eps in FP32, the build in float64."""
    stream = Stream(8, 197, 8, 64, "time")
    launch = favor_launch(stream, 266, rotation_constants(1), "fp16", eps=1e-4)
    entry = {"kernel": launch.kernel, "element": "fp16", "target": "sm_87", "constants": dict(launch.constants),
             "file": "one.cubin", "sha256": hashlib.sha256(b"code").hexdigest(),
             "ptx": "one.cubin", "ptx_sha256": hashlib.sha256(b"code").hexdigest(),
             "threads": 128, "shared_bytes": 1}  # fmt: skip
    (tmp_path / "one.cubin").write_bytes(b"code")
    (tmp_path / "manifest.json").write_text(json.dumps({"kernels": [entry]}))
    rounded = favor_launch(stream, 266, rotation_constants(1), "fp16", eps=float(np.float32(1e-4)))
    assert rounded.constants != launch.constants
    assert prebuilt_kernel(tmp_path, rounded, "fp16", stream, 87).cubin == b"code"


@pytest.mark.parametrize(
    "arguments", [("--target", "sm_12"), ("--operation", "favor_attention", "--element", "fp32", "--target", "sm_87")]
)
def test_what_cannot_be_asked_for_is_wrong_usage(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ended = build("-o", str(tmp_path / "kernels"), *arguments)
    assert ended.returncode == 2
    assert ended.stderr
    assert not (tmp_path / "kernels").exists()


def test_an_assembler_that_does_not_end_in_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftsf_plugins.compile._ASSEMBLER_SECONDS", 1e-6)
    with pytest.raises(CompileError, match="ptxas for sm_87: not done after 1e-06 s"):
        assembled(".target sm_87", 87)
