"""Kernels run in Triton's interpreter: no GPU. It must be asked for before Triton is imported for the first time."""

from __future__ import annotations

import os
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

assert "triton" not in sys.modules or os.environ.get("TRITON_INTERPRET") == "1", "Triton came too early"
os.environ["TRITON_INTERPRET"] = "1"

import torch  # noqa: E402 - after the interpreter was asked for

from ftsf_plugins.additive_attention.launch import additive_launch  # noqa: E402
from ftsf_plugins.additive_attention.reference import additive_attention  # noqa: E402
from ftsf_plugins.favor_attention.launch import favor_launch  # noqa: E402
from ftsf_plugins.favor_attention.reference import favor_attention  # noqa: E402
from ftsf_plugins.launch import ElementType, Launch, rotation_constants  # noqa: E402
from ftsf_plugins.rotary import Rotation  # noqa: E402
from ftsf_plugins.rotary_attention.launch import rotary_launch  # noqa: E402
from ftsf_plugins.rotary_attention.reference import rotary_attention  # noqa: E402
from ftsf_plugins.run import run  # noqa: E402
from ftsf_plugins.stream import Along, Floats, Stream  # noqa: E402

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
# Largest relative error of any head of any group.
LIMITS = {"fp16": 2e-3, "bf16": 1e-2, "fp32": 1e-5}
EPS = {"softmax": 1e-4, "relu": 1e-3}
POISON = float("nan")
# What an L2 cache fetches at a time, in bytes.
SECTOR = 32


@pytest.fixture(autouse=True)
def _bf16_as_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton 3.9's interpreter multiplies the bit patterns of BF16 matrices as integers. Widened to FP32 they are
    numbers again: the same products as those of the hardware, which accumulates in FP32. And where it cuts an FP32
    number off to BF16, the hardware rounds to the nearest."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    product, narrowed = InterpreterBuilder.create_dot, InterpreterBuilder.create_fp_trunc

    def widened(handle: Any) -> Any:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)

    def create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return product(self, widened(a), widened(b), *rest)

    def create_fp_trunc(self: Any, handle: Any, kind: Any) -> Any:
        if (handle.dtype.scalar, kind.scalar) != (tl.float32, tl.bfloat16):
            return narrowed(self, handle, kind)
        bits = handle.data.view(np.uint32)
        return TensorHandle(((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16), tl.bfloat16)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)
    monkeypatch.setattr(InterpreterBuilder, "create_fp_trunc", create_fp_trunc)


@dataclass
class Traffic:
    """Every load and store of a kernel: the addresses of the elements that its masks let through."""

    reads: list[np.ndarray[Any, Any]] = field(default_factory=list)
    writes: list[np.ndarray[Any, Any]] = field(default_factory=list)
    read_bytes: int = 0
    written_bytes: int = 0
    programs: dict[tuple[int, int, int], list[np.ndarray[Any, Any]]] = field(default_factory=dict)

    def misses(self, cache_bytes: int, at_once: int) -> int:
        """Bytes of the loads that an L2 cache does not hold: ``at_once`` programs take turns, load by load, as they
        come in the grid, its first axis first; the cache lets go of the sector of 32 bytes that it needed longest ago.
        """
        waiting = deque(self.programs[at] for at in sorted(self.programs, key=lambda at: at[::-1]))
        running = deque(iter(waiting.popleft()) for _ in range(min(at_once, len(waiting))))
        held: OrderedDict[int, None] = OrderedDict()
        missed = 0
        while running:
            loads = running.popleft()
            addresses = next(loads, None)
            if addresses is None:
                running.extend([iter(waiting.popleft())] if waiting else [])
                continue
            running.append(loads)
            for sector in np.unique(addresses // SECTOR).tolist():
                missed += sector not in held
                held[sector] = None
                held.move_to_end(sector)
                if len(held) > cache_bytes // SECTOR:
                    held.popitem(last=False)
        return missed * SECTOR


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """Counts what kernels read and write from here on."""
    from triton.runtime.interpreter import InterpreterBuilder

    counted = Traffic()
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store
    begin = InterpreterBuilder.set_grid_idx

    def beginning(self: Any, *at: int) -> None:
        counted.programs[at] = []  # type: ignore[index]
        begin(self, *at)

    def addresses(pointers: Any, mask: Any) -> tuple[np.ndarray[Any, Any], int]:
        data, let_through = np.broadcast_arrays(pointers.data, mask.data)
        return data[let_through.astype(bool)], pointers.get_element_ty().primitive_bitwidth // 8

    def counting_load(self: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        read, size = addresses(pointers, mask)
        counted.reads.append(read)
        next(reversed(counted.programs.values())).append(read.ravel())
        counted.read_bytes += read.size * size
        return load(self, pointers, mask, *rest)

    def counting_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        written, size = addresses(pointers, mask)
        counted.writes.append(written)
        counted.written_bytes += written.size * size
        return store(self, pointers, value, mask, *rest)

    monkeypatch.setattr(InterpreterBuilder, "set_grid_idx", beginning)
    monkeypatch.setattr(InterpreterBuilder, "create_masked_load", counting_load)
    monkeypatch.setattr(InterpreterBuilder, "create_masked_store", counting_store)
    return counted


@dataclass(frozen=True)
class Case:
    """One attention to run. ``gaps``: the stream and the output lie inside larger tensors."""

    operation: str
    tokens: int
    width: int
    element: ElementType = "fp16"
    batch: int = 1
    groups: int = 2
    heads: int = 2
    along: Along = "space"
    axes: int = 2
    pairs: str = "neighbours"
    prefix: int = 1
    feature: str = "softmax"
    features: int = 40
    gaps: bool = False
    huge: bool = False
    seed: int = 0

    @property
    def stream(self) -> Stream:
        frames, tokens = (self.groups, self.tokens) if self.along == "space" else (self.tokens, self.groups)
        return Stream(frames, tokens, self.heads, self.width, self.along)

    def changed(self, **fields: Any) -> Case:
        return replace(self, **fields)


@dataclass(frozen=True)
class Outcome:
    """What a kernel wrote, what it should have written, and where it ran."""

    out: Floats
    expected: Floats
    launch: Launch
    qkv: torch.Tensor
    target: torch.Tensor
    case: Case

    @property
    def worst(self) -> float:
        """Relative L2 error of the worst head of the worst group; infinite where anything is not a number."""
        stream = self.case.stream
        (got,), (wanted,) = stream.parts(self.out, 1), stream.parts(self.expected, 1)
        error = np.linalg.norm(got - wanted, axis=(-2, -1)) / np.linalg.norm(wanted, axis=(-2, -1))
        return float(error.max()) if np.isfinite(error).all() else float("inf")

    @property
    def bound_bytes(self) -> int:
        """The packed stream once, the output once."""
        rows = self.case.batch * self.case.stream.frames * self.case.stream.tokens
        return 4 * rows * self.case.stream.inner * self.qkv.element_size()


RunCase = Callable[[Case], Outcome]


@pytest.fixture
def run_case() -> RunCase:
    """Draws fresh inputs, poisons the output, runs the kernel and the reference."""
    return _run_case


@pytest.fixture
def make_case() -> Callable[..., Case]:
    return Case


@pytest.fixture
def limits() -> dict[str, float]:
    return LIMITS


def _run_case(case: Case) -> Outcome:
    rng, weights_rng = (np.random.default_rng([case.seed, case.tokens, case.width, part]) for part in range(2))
    stream, dtype = case.stream, DTYPES[case.element]
    rows = stream.frames * stream.tokens
    values = rng.normal(size=(case.batch, rows, 3 * stream.inner))
    if case.huge:
        # Scores are products of two: as large with the root of it.
        values[:, rng.random(rows) < 0.3, : 2 * stream.inner] *= 8 if case.operation == "rotary" else 60
    qkv = _placed(torch.tensor(values).to(dtype), gaps=case.gaps)
    target = _placed(torch.full((case.batch, rows, stream.inner), POISON, dtype=dtype), gaps=case.gaps)
    positions = weights_rng.normal(size=(stream.attending, max(case.axes, 1))).astype(np.float32) * 20
    positions[: case.prefix] = 0
    frequencies = weights_rng.normal(size=(max(case.axes, 1), case.width // 2)).astype(np.float32)
    if case.huge and case.operation == "rotary":
        # Quarter turns leave the tokens numbers of half precision: its rounding, which the kernel does as the compiled
        # graph does, is so large in huge scores that it would hide everything else.
        positions, frequencies = np.round(positions), np.round(frequencies * 8) / 4
    rotary = Rotation(positions, frequencies, case.pairs) if case.axes else None  # type: ignore[arg-type]
    tables = [torch.tensor(positions), torch.tensor(frequencies)]
    turns = rotation_constants(case.axes, case.pairs)  # type: ignore[arg-type]
    double = qkv.double().numpy()
    if case.operation == "additive":
        from ftsf_plugins.additive_attention.kernel import additive_attention_kernel as kernel

        weights = [torch.tensor(weights_rng.normal(size=(case.heads, case.width)), dtype=torch.float32) for _ in "qk"]
        launch = additive_launch(stream, turns, case.element)
        run(kernel, launch, stream, [qkv, *weights, *tables], target)
        expected = additive_attention(double, weights[0].numpy(), weights[1].numpy(), stream, rotary)
    elif case.operation == "rotary":
        from ftsf_plugins.rotary_attention.kernel import rotary_attention_kernel as kernel

        launch = rotary_launch(stream, turns, case.element)
        run(kernel, launch, stream, [qkv, *tables], target)
        expected = rotary_attention(double, stream, rotary)
    else:
        from ftsf_plugins.favor_attention import kernel as kernels

        omega = torch.tensor(weights_rng.normal(size=(case.features, case.width))).to(dtype)
        eps = EPS[case.feature]
        launch = favor_launch(stream, case.features, turns, case.element, eps=eps, feature=case.feature)
        run(getattr(kernels, launch.kernel), launch, stream, [qkv, omega, *tables], target, case.features)
        expected = favor_attention(double, omega.double().numpy(), stream, rotary, eps=eps, feature=case.feature)
    return Outcome(target.double().numpy(), expected, launch, qkv, target, case)


def _placed(tensor: torch.Tensor, *, gaps: bool) -> torch.Tensor:
    """The same values, in the middle of a larger tensor full of poison if ``gaps``."""
    if not gaps:
        return tensor
    batch, rows, width = tensor.shape
    larger = torch.full((batch, rows + 3, width + 24), POISON, dtype=tensor.dtype)
    inside = larger[:, 1 : rows + 1, 8 : width + 8]
    inside.copy_(tensor)
    return inside
