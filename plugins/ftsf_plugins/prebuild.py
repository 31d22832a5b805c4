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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ftsf_plugins.additive_attention import plugin as additive
from ftsf_plugins.compile import TARGETS, CompiledKernel, CompileError, compiled
from ftsf_plugins.cuda import USUAL_SHARED_BYTES
from ftsf_plugins.example import AXES, node_attributes
from ftsf_plugins.favor_attention import plugin as favor
from ftsf_plugins.kernels import kernel_of
from ftsf_plugins.launch import ELEMENT_BYTES, ElementType
from ftsf_plugins.operation import AttentionLaunch
from ftsf_plugins.rotary_attention import plugin as rotary
from ftsf_plugins.stream import Along

# Blocks that must fit on a multiprocessor at once: one that waits for memory leaves it to another.
LEAST_BLOCKS = {"additive_attention": 2, "favor_attention": 1, "rotary_attention": 1}
# Bytes that a thread may spill. A kernel that must do with the usual shared memory keeps less of its data there: the
# long order of FAVOR+ has no form without a spill that was found, with 132 bytes for sm_87 and 482 for sm_120.
MOST_SPILLED = {True: 0, False: 512}
OPERATIONS = {
    "additive_attention": additive.OPERATION,
    "favor_attention": favor.OPERATION,
    "rotary_attention": rotary.OPERATION,
}


@dataclass(frozen=True)
class KernelToCompile:
    """One kernel to compile."""

    operation: str  #: A name of OPERATIONS.
    along: Along  #: Along what it attends.
    element: ElementType  #: The element type of its stream.
    target: int  #: Compute capability, as in 87.
    asks: bool = True  #: Whether who starts it asks for more shared memory than a block usually has.
    node: Mapping[str, Any] | None = None  #: Attributes of a node that it is for; None: the documented example.

    @property
    def stem(self) -> str:
        """The name of its file, without the ending."""
        size = "" if self.asks else "-48k"
        own = "" if self.node is None else f"-{_digest(self.launched.launch.constants)}"
        return f"{self.operation}-{self.along}-{self.element}-sm_{self.target}{size}{own}"

    @property
    def launched(self) -> AttentionLaunch:
        """The kernel at its node's shapes, or at the default ones."""
        operation = OPERATIONS[self.operation]
        attributes = self.node or node_attributes(operation, self.along)
        return operation.launched_by(attributes, self.element, asks=self.asks)


def kernels_to_compile(
    targets: Sequence[int], operations: Sequence[str], elements: Sequence[str]
) -> list[KernelToCompile]:
    """Every kernel of these operations that there is for the element types and the targets; for who does not ask for
    shared memory another one, where it is another."""
    asking = [
        KernelToCompile(operation, along, element, target)
        for operation in operations
        for along in AXES
        for element in OPERATIONS[operation].elements
        if element in elements
        for target in targets
    ]
    unasked = [replace(one, asks=False) for one in asking]
    return asking + [
        other for one, other in zip(asking, unasked, strict=True) if one.launched.launch != other.launched.launch
    ]


def kernels_of_nodes(targets: Sequence[int], nodes: Sequence[Mapping[str, Any]]) -> list[KernelToCompile]:
    """Every kernel that these nodes start, each once: ``name`` of the operation, ``element``, ``attributes``."""
    names = {operation.name: folder for folder, operation in OPERATIONS.items()}
    listed: dict[tuple[int, str, str, str], KernelToCompile] = {}
    for node in nodes:
        for target in targets:
            for asks in (True, False):
                attributes = node["attributes"]
                one = KernelToCompile(
                    names[node["name"]], attributes["along"], node["element"], target, asks=asks, node=attributes
                )
                # Nodes of one kind differ in nothing that a kernel is compiled for; nor does asking, for most of them.
                launch = one.launched.launch
                listed.setdefault((one.target, one.element, launch.kernel, _digest(launch.constants)), one)
    return list(listed.values())


def _digest(constants: Mapping[str, int | float]) -> str:
    return hashlib.sha256(json.dumps(dict(constants), sort_keys=True).encode()).hexdigest()[:8]


def problems(operation: str, made: CompiledKernel, *, asks: bool = True) -> list[str]:
    """What the check says against a kernel, one sentence each.

    ``asks``: whether who starts it asks for more shared memory than a block usually has. TensorRT, which starts kernels
    of its own accord, does not say whether it does.
    """
    found = []
    if not asks and made.resources.shared_bytes > USUAL_SHARED_BYTES:
        found.append(f"{made.resources.shared_bytes} bytes of shared memory, expected at most {USUAL_SHARED_BYTES}")
    if (spilled := made.resources.spill_bytes) > MOST_SPILLED[asks]:
        found.append(f"spills {spilled} bytes a thread, expected at most {MOST_SPILLED[asks]}")
    blocks = made.resources.blocks(made.target)
    if blocks < LEAST_BLOCKS[operation]:
        found.append(f"{blocks} blocks a multiprocessor, expected at least {LEAST_BLOCKS[operation]}")
    return found


def entry(kernel: KernelToCompile, made: CompiledKernel) -> dict[str, Any]:
    """What the manifest says of one kernel."""
    launch = kernel.launched.launch
    return {
        "file": f"{kernel.stem}.cubin",
        "sha256": hashlib.sha256(made.cubin).hexdigest(),
        "ptx": f"{kernel.stem}.ptx",
        "ptx_sha256": hashlib.sha256(made.ptx.encode()).hexdigest(),
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
        "problems": problems(kernel.operation, made, asks=kernel.asks),
    }


def build(output: Path, wanted: Sequence[KernelToCompile], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Compile all ``wanted`` kernels into ``output``; the manifest comes last, so that it names only what is there."""
    import triton

    output.mkdir(parents=True, exist_ok=True)
    entries = []
    for kernel in wanted:
        launch, stream = kernel.launched.launch, kernel.launched.stream
        made = compiled(kernel_of(launch), launch, kernel.element, stream, kernel.target)
        entries.append(entry(kernel, made))
        write(output / entries[-1]["file"], made.cubin)
        write(output / entries[-1]["ptx"], made.ptx.encode())
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
    parser.add_argument(
        "--nodes", type=Path, help="a file with the nodes of a bundle, instead of the documented example"
    )
    asked = parser.parse_args(arguments)
    # The interpreter's functions cannot be compiled; whoever tests with it means other processes.
    os.environ.pop("TRITON_INTERPRET", None)
    targets = [int(name.removeprefix("sm_")) for name in asked.target or names]
    if asked.nodes is not None:
        wanted = kernels_of_nodes(targets, json.loads(asked.nodes.read_text(encoding="utf-8")))
    else:
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
