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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftsf_plugins.additive_attention.launch import additive_launch
from ftsf_plugins.compile import TARGETS, Compiled, CompileError, compiled
from ftsf_plugins.favor_attention.launch import favor_launch
from ftsf_plugins.kernels import kernel_of
from ftsf_plugins.launch import ElementType, Launch, Turns
from ftsf_plugins.stream import Along, Stream

# The documented example: 8 frames of 224 px in patches of 16 with a class token, 8 heads of 64, int(64 ln 64) features.
FRAMES, TOKENS, HEADS, WIDTH, FEATURES = 8, 197, 8, 64, 266
EPS = 1e-4
ALONG: tuple[tuple[Along, int], ...] = (("time", 1), ("space", 2))
# Blocks that must fit on a multiprocessor at once: one that waits for memory leaves it to another.
LEAST_BLOCKS = {"additive_attention": 2, "favor_attention": 1}
ELEMENTS: dict[str, tuple[ElementType, ...]] = {
    "additive_attention": ("fp16", "bf16", "fp32"),
    "favor_attention": ("fp16", "bf16"),
}


@dataclass(frozen=True)
class KernelToCompile:
    """One kernel to compile."""

    operation: str
    along: Along
    element: ElementType
    target: int
    launch: Launch
    stream: Stream

    @property
    def stem(self) -> str:
        return f"{self.operation}-{self.along}-{self.element}-sm_{self.target}"


def kernels_to_compile(
    targets: Sequence[int], operations: Sequence[str], elements: Sequence[str]
) -> Iterator[KernelToCompile]:
    """Every kernel at the default shapes, rotated as the model rotates: over one axis in time, over two in space."""
    for operation in operations:
        for along, axes in ALONG:
            stream, turns = Stream(FRAMES, TOKENS, HEADS, WIDTH, along), Turns(axes)
            for element in ELEMENTS[operation]:
                if element not in elements:
                    continue
                if operation == "additive_attention":
                    launch = additive_launch(stream, turns, element)
                else:
                    launch = favor_launch(stream, FEATURES, turns, element, eps=EPS)
                for target in targets:
                    yield KernelToCompile(operation, along, element, target, launch, stream)


def problems(operation: str, made: Compiled) -> list[str]:
    """What the check says against a kernel, one sentence each."""
    found = []
    if made.resources.spill_bytes:
        found.append(f"spills {made.resources.spill_bytes} bytes a thread, expected 0")
    blocks = made.resources.blocks(made.target)
    if blocks < LEAST_BLOCKS[operation]:
        found.append(f"{blocks} blocks a multiprocessor, expected at least {LEAST_BLOCKS[operation]}")
    return found


def entry(kernel: KernelToCompile, made: Compiled, file: str) -> dict[str, Any]:
    """What the manifest says of one kernel."""
    return {
        "file": file,
        "sha256": hashlib.sha256(made.cubin).hexdigest(),
        "operation": kernel.operation,
        "along": kernel.along,
        "element": kernel.element,
        "target": f"sm_{kernel.target}",
        "kernel": made.name,
        "inputs": list(kernel.launch.inputs),
        "scalars": list(kernel.launch.scalars),
        "constants": dict(kernel.launch.constants),
        "sequences_per_program": kernel.launch.groups,
        "columns_per_program": kernel.launch.columns,
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
        made = compiled(kernel_of(kernel.launch), kernel.launch, kernel.element, kernel.stream, kernel.target)
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
    parser.add_argument("--operation", action="append", choices=list(ELEMENTS))
    parser.add_argument("--element", action="append", choices=["fp16", "bf16", "fp32"])
    asked = parser.parse_args(arguments)
    # The interpreter's functions cannot be compiled; whoever tests with it means other processes.
    os.environ.pop("TRITON_INTERPRET", None)
    targets = [int(name.removeprefix("sm_")) for name in asked.target or names]
    wanted = list(
        kernels_to_compile(targets, asked.operation or list(ELEMENTS), asked.element or ["fp16", "bf16", "fp32"])
    )
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
