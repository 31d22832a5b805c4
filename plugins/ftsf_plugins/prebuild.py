"""``scripts/build-plugins``: every kernel for every target, with a manifest, on a machine with no GPU.

Exit codes: 0 done; 1 a kernel spills or fits too seldom on a multiprocessor (the files are kept); 2 wrong usage;
3 Triton is not there; 4 a compiler refused a kernel.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftsf_plugins.additive_attention import plugin as additive
from ftsf_plugins.compile import TARGETS, CompiledKernel, CompileError, compiled
from ftsf_plugins.favor_attention import plugin as favor
from ftsf_plugins.kernels import kernel_of
from ftsf_plugins.launch import ELEMENT_BYTES, ElementType
from ftsf_plugins.operation import AttentionLaunch
from ftsf_plugins.stream import Along

# The documented example: 8 frames of 224 px in patches of 16 with a class token, 8 heads of 64, int(64 ln 64) features.
FRAMES, TOKENS, HEADS, WIDTH, FEATURES = 8, 197, 8, 64, 266
EPS = 1e-4
_NODE = {
    "frames": FRAMES, "tokens": TOKENS, "heads": HEADS, "width": WIDTH, "pairs": "neighbours",
    "features": FEATURES, "eps": EPS, "feature": "softmax",
}  # fmt: skip
# As the model rotates: over one axis in time, over two in space.
_AXES: dict[Along, int] = {"time": 1, "space": 2}
# Blocks that must fit on a multiprocessor at once: one that waits for memory leaves it to another.
LEAST_BLOCKS = {"additive_attention": 2, "favor_attention": 1}
OPERATIONS = {"additive_attention": additive.OPERATION, "favor_attention": favor.OPERATION}


@dataclass(frozen=True)
class KernelToCompile:
    """One kernel to compile."""

    operation: str  #: A name of OPERATIONS.
    along: Along  #: Along what it attends.
    element: ElementType  #: The element type of its stream.
    target: int  #: Compute capability, as in 87.

    @property
    def stem(self) -> str:
        """The name of its file, without the ending."""
        return f"{self.operation}-{self.along}-{self.element}-sm_{self.target}"

    @property
    def launched(self) -> AttentionLaunch:
        """The kernel at the default shapes."""
        attributes = {**_NODE, "along": self.along, "axes": _AXES[self.along]}
        return OPERATIONS[self.operation].launched(attributes, self.element)


def kernels_to_compile(
    targets: Sequence[int], operations: Sequence[str], elements: Sequence[str]
) -> list[KernelToCompile]:
    """Every kernel of these operations that there is for the element types and the targets."""
    return [
        KernelToCompile(operation, along, element, target)
        for operation in operations
        for along in _AXES
        for element in OPERATIONS[operation].elements
        if element in elements
        for target in targets
    ]


def problems(operation: str, made: CompiledKernel) -> list[str]:
    """What the check says against a kernel, one sentence each."""
    found = []
    if made.resources.spill_bytes:
        found.append(f"spills {made.resources.spill_bytes} bytes a thread, expected 0")
    blocks = made.resources.blocks(made.target)
    if blocks < LEAST_BLOCKS[operation]:
        found.append(f"{blocks} blocks a multiprocessor, expected at least {LEAST_BLOCKS[operation]}")
    return found


def entry(kernel: KernelToCompile, made: CompiledKernel, file: str) -> dict[str, Any]:
    """What the manifest says of one kernel."""
    launch = kernel.launched.launch
    return {
        "file": file,
        "sha256": hashlib.sha256(made.cubin).hexdigest(),
        "operation": kernel.operation,
        "along": kernel.along,
        "element": kernel.element,
        "target": f"sm_{kernel.target}",
        "kernel": made.name,
        "inputs": list(launch.inputs),
        "scalars": list(launch.scalars),
        "constants": dict(launch.constants),
        "sequences_per_program": launch.groups,
        "columns_per_program": launch.columns,
        **asdict(made.resources),
        "blocks_per_multiprocessor": made.resources.blocks(kernel.target),
        "problems": problems(kernel.operation, made),
    }


def build(output: Path, wanted: Sequence[KernelToCompile], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Compile all ``wanted`` kernels into ``output``; the manifest comes last, so that it names only what is there."""
    import triton

    output.mkdir(parents=True, exist_ok=True)
    entries = []
    for kernel in wanted:
        launch, stream = kernel.launched.launch, kernel.launched.stream
        made = compiled(kernel_of(launch), launch, kernel.element, stream, kernel.target)
        file = f"{kernel.stem}.cubin"
        write(output / file, made.cubin)
        entries.append(entry(kernel, made, file))
        used, blocks = made.resources, made.resources.blocks(kernel.target)
        say(
            f"{kernel.stem:45} {used.registers:3} registers {used.spill_bytes:4} spilled {used.shared_bytes:6} shared "
            f"{blocks} blocks  {'; '.join(entries[-1]['problems']) or 'ok'}"
        )
    manifest = {"schema_version": 1, "triton": triton.__version__, "kernels": entries}
    write(output / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())
    return entries


def write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="build-plugins", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/plugins"))
    names = [f"sm_{target}" for target in TARGETS]
    parser.add_argument("--target", action="append", choices=names, help="repeatable; all where not given")
    parser.add_argument("--operation", action="append", choices=list(OPERATIONS))
    parser.add_argument("--element", action="append", choices=list(ELEMENT_BYTES))
    asked = parser.parse_args(arguments)
    # The interpreter's functions cannot be compiled; whoever tests with it means other processes.
    os.environ.pop("TRITON_INTERPRET", None)
    targets = [int(name.removeprefix("sm_")) for name in asked.target or names]
    wanted = kernels_to_compile(targets, asked.operation or list(OPERATIONS), asked.element or list(ELEMENT_BYTES))
    if not wanted:
        print("build-plugins: no kernel has that operation and that element type", file=sys.stderr)
        return 2
    try:
        entries = build(asked.output, wanted, lambda line: print(line, flush=True))
    except ModuleNotFoundError as error:
        print(f"build-plugins: {error}; install it with: pip install 'ftsf-export[plugins]'", file=sys.stderr)
        return 3
    except CompileError as error:
        print(f"build-plugins: {error}", file=sys.stderr)
        return 4
    failed = [one for one in entries if one["problems"]]
    print(f"{len(entries)} kernels in {asked.output}, {len(failed)} failed the check")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
