"""``python -m ftsf_plugins.trial OPERATION...``: kernels on this machine's GPU, against their references, with timings.

Each kernel is run in both ways into an engine: as machine code (``IPluginV3``) and as PTX, which the driver translates
(ahead-of-time plugins), by calls of the driver alone. Prints one JSON object a line, a ``Trial`` each. Triton compiles
the kernels, or ``--kernels`` names a folder of ``scripts/build-plugins``. Exit codes: 0 every kernel was run and is
right; 1 one is not; 3 there is no GPU; 4 one could not be run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ftsf_plugins.compile import CompileError
from ftsf_plugins.cost import flops, moved
from ftsf_plugins.cuda import CudaError, driver
from ftsf_plugins.deploy import Unsupported, target_here
from ftsf_plugins.device import Device
from ftsf_plugins.example import LIMITS, Example, decoded, encoded, example, node_attributes
from ftsf_plugins.kernels import KernelSource, NoKernel, compiled_kernel, prebuilt_kernel
from ftsf_plugins.launch import ELEMENT_BYTES, scalar_values
from ftsf_plugins.register import OPERATIONS
from ftsf_plugins.stream import ALONGS, Along

MACHINE_CODE, PTX = "machine code", "PTX"
_SIZES = ("frames", "tokens", "heads", "width")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One kernel in one way into an engine, run."""

    operation: str  #: Its name.
    along: str  #: Along what it attends.
    element: str  #: The stream's element type.
    code: str  #: MACHINE_CODE or PTX.
    batch: int  #: Clips.
    kernel: str = ""  #: Its function.
    bound_bytes: int = 0  #: The stream once and the output once.
    moved_bytes: int = 0  #: What the kernel loads and stores, as modelled.
    flops: int = 0  #: Operations of its products.
    worst: float | None = None  #: Relative L2 error of the worst head of the worst group; None: it was not run.
    limit: float = 0.0  #: The most that it may be.
    ms: float | None = None  #: The kernel alone, by the GPU's clock, with nothing in the cache; None: it was not timed.
    problem: str = ""  #: Why it was not run.

    @property
    def right(self) -> bool:
        """Whether it was run, and is as near as it must be."""
        return self.worst is not None and self.worst <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """JSON form, in which no number is infinite; ``right`` is null for what was not run."""
        said = {**asdict(self), "right": None if self.problem else self.right}
        if self.worst is not None and not np.isfinite(self.worst):
            said["worst"] = None
        return said


@dataclass(frozen=True)
class Wanted:
    """Which kernels of one operation are to be run."""

    operation: str  #: A name of OPERATIONS.
    along: Along  #: Along what it attends.
    elements: Sequence[str]  #: Element types; those that the operation has no kernels for are left out.
    batch: int  #: Clips.
    repeats: int  #: Timed runs of each; 0: none.
    sizes: Mapping[str, int]  #: Attributes that are other than the documented example's.


def trials_of(device: Device, wanted: Wanted, kernels: KernelSource) -> Iterator[Trial]:
    """Every kernel as machine code and as PTX, one after the other."""
    operation = OPERATIONS[wanted.operation]
    for element in operation.elements:
        if element in wanted.elements:
            attributes = node_attributes(operation, wanted.along, **wanted.sizes)
            case = example(operation, attributes, element, wanted.batch)
            for code in (MACHINE_CODE, PTX):
                yield tried(device, case, wanted.along, code, kernels, wanted.repeats)


def kernels_from(folder: Path | None) -> KernelSource:
    """Of a folder of ``scripts/build-plugins``; compiled by Triton where there is none."""
    return compiled_kernel if folder is None else partial(prebuilt_kernel, folder)


def tried(device: Device, case: Example, along: Along, code: str, kernels: KernelSource, repeats: int) -> Trial:
    """Run one kernel ``repeats`` times. What it raises is the trial's ``problem``."""
    said: dict[str, Any] = {
        "operation": case.operation.name, "along": along, "element": case.element, "code": code, "batch": case.batch,
        "limit": LIMITS[case.element],
    }  # fmt: skip
    try:
        return Trial(**said, **_run(device, case, code, kernels, repeats))
    except (CompileError, CudaError, NoKernel, Unsupported, ValueError) as error:
        return Trial(**said, problem=f"{type(error).__name__}: {error}")


def _run(device: Device, case: Example, code: str, kernels: KernelSource, repeats: int) -> dict[str, Any]:
    launched = case.launched(asks=code == MACHINE_CODE)
    launch, stream = launched.launch, launched.stream
    made, gpu = kernels(launch, case.element, stream, target_here()), driver()
    image = made.cubin if code == MACHINE_CODE else made.ptx.encode()
    loaded = gpu.kernel(image, made.name, made.shared_bytes)
    scalars = scalar_values(launch, stream, case.batch, launched.features)
    grid = launch.grid(stream, case.batch)
    prepared = gpu.prepare(loaded, grid, made.threads, made.shared_bytes, list(scalars.values()), len(case.inputs))
    addresses = [device.put(array) for array in case.encoded()]
    # What is not written stays no number.
    empty = encoded(np.full(case.out_shape, np.nan, np.float32), case.element)
    out = device.put(empty)
    start = partial(prepared.start, addresses, out, 0)
    start()
    got = decoded(device.get(out, empty.shape, empty.dtype), case.element)
    cost = moved(launch, stream, case.batch, case.element, launched.features)
    return {
        "kernel": made.name, "bound_bytes": cost.bound_bytes, "moved_bytes": cost.stream_bytes + cost.constant_bytes,
        "flops": flops(launch, stream, case.batch, launched.features),
        "worst": case.worst(got), "ms": device.median_ms(start, repeats) if repeats else None,
    }  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m ftsf_plugins.trial", description=__doc__)
    parser.add_argument("operation", nargs="*", help=f"of {', '.join(OPERATIONS)}; all where none is given")
    parser.add_argument("--along", action="append", choices=ALONGS, help="repeatable; both where not given")
    parser.add_argument("--element", action="append", choices=list(ELEMENT_BYTES), help="repeatable")
    parser.add_argument("--kernels", type=Path, help="a folder of scripts/build-plugins, instead of Triton")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=100, help="timed runs of each; 0: none")
    for size in _SIZES:
        parser.add_argument(f"--{size}", type=int, help="other than the documented example's")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.operation) - set(OPERATIONS):
        parser.error(f"expected operations of {', '.join(OPERATIONS)}, got {', '.join(sorted(unknown))}")
    kernels = kernels_from(asked.kernels)
    sizes = {size: value for size in _SIZES if (value := getattr(asked, size)) is not None}
    try:
        device = Device()
    except CudaError as error:
        print(f"no kernel can be run: {error}", file=sys.stderr)
        return 3
    trials = []
    for name in asked.operation or OPERATIONS:
        for along in asked.along or ALONGS:
            wanted = Wanted(name, along, asked.element or list(ELEMENT_BYTES), asked.batch, asked.repeats, sizes)
            for trial in trials_of(device, wanted, kernels):
                trials.append(trial)
                print(json.dumps(trial.as_dict()), flush=True)
    if any(trial.worst is not None and not trial.right for trial in trials):
        return 1
    return 4 if any(trial.problem for trial in trials) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
