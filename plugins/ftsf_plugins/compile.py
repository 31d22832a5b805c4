"""Kernels compiled ahead of time, for a named GPU and without one, and what they take of a multiprocessor.

Triton writes PTX; NVIDIA's assembler, which Triton ships, makes the machine code and says how many registers it uses
and how many bytes it spills.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsf_plugins.launch import ElementType, Launch, scalar_values
from ftsf_plugins.stream import Stream

# Triton 3.9's default, which is about to change: named, so that it does not.
FP_FUSION = True
# The slowest kernel takes the assembler some seconds.
_ASSEMBLER_SECONDS = 300


class CompileError(Exception):
    """Triton or the assembler refused a kernel; the message holds what it said."""


@dataclass(frozen=True)
class Multiprocessor:
    """What a multiprocessor offers (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability")."""

    threads: int  #: At a time.
    blocks: int  #: At a time.
    shared_kib: int  #: Shared memory of all its blocks, in KiB.
    block_shared_kib: int  #: Shared memory of one block, in KiB.
    registers: int = 65536  #: Of all its threads.


# Ampere: A100, RTX 30 and Orin; Ada; Hopper; Thor; RTX 50.
TARGETS: dict[int, Multiprocessor] = {
    80: Multiprocessor(2048, 32, 164, 163),
    86: Multiprocessor(1536, 16, 100, 99),
    87: Multiprocessor(1536, 16, 164, 163),
    89: Multiprocessor(1536, 24, 100, 99),
    90: Multiprocessor(2048, 32, 228, 227),
    110: Multiprocessor(1536, 24, 228, 227),
    120: Multiprocessor(1536, 24, 100, 99),
}
# The version of PTX that each target's kernels are written in, 80 for 8.0: what CUDA 12.0 takes, or the oldest that
# knows the GPU (PTX ISA, "Release Notes"). Left alone, Triton writes its own assembler's, which a driver older than
# that refuses. The code below the heading is the same, but for a maximum of three values, which sm_120 has in PTX 8.8.
PTX_VERSIONS: dict[int, int] = {**dict.fromkeys(TARGETS, 80), 110: 90, 120: 87}


@dataclass(frozen=True)
class Resources:
    """What one block of a kernel takes."""

    registers: int  #: Of one thread.
    spill_bytes: int  #: Of one thread.
    shared_bytes: int  #: Shared memory, in bytes.
    threads: int  #: Of the block.

    def blocks(self, target: int) -> int:
        """How many blocks run at once on a multiprocessor of the compute capability ``target``; 0: not one."""
        sm = TARGETS[target]
        # Registers are given out by 256 to a warp; each block keeps 1 KiB of shared memory for the system.
        registers = -(-self.registers * 32 // 256) * 256 * (self.threads // 32)
        if self.shared_bytes > sm.block_shared_kib * 1024:
            return 0
        return min(
            sm.registers // registers,
            sm.threads // self.threads,
            sm.blocks,
            sm.shared_kib * 1024 // (self.shared_bytes + 1024),
        )


@dataclass(frozen=True)
class CompiledKernel:
    """One kernel for one target; its code takes exactly the arguments of its ``Launch``."""

    name: str  #: Of its entry.
    target: int  #: Compute capability, as in 87.
    ptx: str  #: Its code before NVIDIA's assembler.
    cubin: bytes  #: Its machine code.
    resources: Resources  #: What one block of it takes.


def compiled(kernel: Any, launch: Launch, element: ElementType, stream: Stream, target: int) -> CompiledKernel:
    """Compile ``kernel`` (a Triton function) for tensors without gaps of the shapes of ``stream``.

    Raises CompileError with the compiler's words, KeyError for a target that is not in ``TARGETS``.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    shared = TARGETS[target].block_shared_kib * 1024
    values = scalar_values(launch, stream, batch=1, features=1)
    types = {"qkv": f"*{element}", "omega": f"*{element}", "out": f"*{element}"}
    signature = {name: types.get(name, "*fp32") for name in launch.inputs}
    signature |= dict.fromkeys(launch.scalars, "i32") | {"out": types["out"]}
    # Addresses of tensors are multiples of 16 bytes; rows begin at such where the strides are multiples, too.
    aligned = [*launch.inputs, *(name for name, value in values.items() if "stride" in name and value % 16 == 0), "out"]
    source = ASTSource(
        fn=kernel,
        signature={name: signature.get(name, "constexpr") for name in kernel.arg_names},
        constexprs=dict(launch.constants),
        attrs={(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    options = {
        "num_warps": launch.warps,
        "num_stages": launch.stages,
        "maxnreg": launch.most_registers,
        "enable_fp_fusion": FP_FUSION,
        "ptx_version": PTX_VERSIONS[target],
    }
    try:
        made = triton.compile(source, target=GPUTarget("cuda", target, 32), options=options)
    except Exception as error:  # its exceptions share no base
        raise CompileError(f"{launch.kernel} for sm_{target}, {element}: {_said(error)}") from error
    if made.metadata.shared > shared:
        raise CompileError(
            f"{launch.kernel} for sm_{target}, {element}: needs {made.metadata.shared} bytes of shared memory, "
            f"a block has {shared}"
        )
    ptx = without_hidden_parameters(made.asm["ptx"], len(launch.inputs) + len(launch.scalars) + 1)
    cubin, registers, spill_bytes = assembled(ptx, target)
    resources = Resources(registers, spill_bytes, int(made.metadata.shared), 32 * launch.warps)
    return CompiledKernel(launch.kernel, target, ptx, cubin, resources)


def _said(error: Exception) -> str:
    """Its words without the whole PTX, which Triton adds where the assembler refuses."""
    return re.split(r"\s*Repro command:", str(error))[0]


def without_hidden_parameters(ptx: str, count: int) -> str:
    """The same PTX with the entry's first ``count`` parameters only.

    Triton adds pointers to scratch memory of its own after the kernel's. A caller that does not know of them, such as
    TensorRT, would hand over too few arguments, and the driver would read what lies behind them. Raises CompileError
    where the kernel uses them.
    """
    entry = re.search(r"(\.visible \.entry \w+\()(.*?)(\n\))", ptx, re.DOTALL)
    if entry is None:
        raise CompileError("the PTX has no entry")
    parameters = entry[2].split(",\n")
    if len(parameters) < count:
        raise CompileError(f"the PTX takes {len(parameters)} arguments, expected at least {count}")
    for parameter in parameters[count:]:
        name = parameter.split()[-1]
        if re.search(rf"\b{name}\b", ptx[entry.end() :]):
            raise CompileError(f"the kernel uses scratch memory of the launcher ({name})")
    return ptx[: entry.start()] + entry[1] + ",\n".join(parameters[:count]) + ptx[entry.end(2) :]


def ptx_version(ptx: str) -> int:
    """The version that a kernel's PTX is written in: 80 for 8.0. Raises CompileError where it says none."""
    named = re.search(r"^\.version (\d+)\.(\d)$", ptx, re.MULTILINE)
    if named is None:
        raise CompileError("the PTX names no version")
    return 10 * int(named[1]) + int(named[2])


def assembled(ptx: str, target: int) -> tuple[bytes, int, int]:
    """Machine code, registers and spilled bytes a thread of one kernel's PTX, by Triton's own assembler."""
    from triton.backends.nvidia.compiler import get_ptxas

    architecture = re.search(r"^\.target (\w+)", ptx, re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        source, code = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        command = [get_ptxas(target).path, "-v", f"--gpu-name={architecture[1] if architecture else ''}"]
        command += [str(source), "-o", str(code)]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=_ASSEMBLER_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise CompileError(f"ptxas for sm_{target}: not done after {_ASSEMBLER_SECONDS} s") from error
        if ended.returncode:
            raise CompileError(f"ptxas for sm_{target}: {ended.stderr.strip()}")
        return code.read_bytes(), *used(ended.stderr)


def used(log: str) -> tuple[int, int]:
    """Registers and spilled bytes (stored or loaded, whichever is more) from the assembler's verbose log.

    Raises CompileError where the log does not say: what was not read is not zero.
    """
    registers = re.search(r"Used (\d+) registers", log)
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)
    if registers is None or spills is None:
        raise CompileError(f"the assembler's log names no registers or spills: {log.strip()!r}")
    return int(registers[1]), max(int(spills[1]), int(spills[2]))
