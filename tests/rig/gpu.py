"""The GPU that is not one, from Python: its devices, what it complains of, and its kernels in Triton's interpreter.

``stub/gpu.c`` and ``stub/gpu_kernel.c`` are libcuda and libcudart in one. A process that is to find them as the driver
has their folder in LD_LIBRARY_PATH (``rig.environment``).
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Mapping
from ctypes import Structure, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

import numpy as np

_MOST_PARAMETERS = 64
# Name, compute capability, bytes of memory, shared memory that a block may ask for, CUDA version of the driver.
DEVICES = {
    "orin": ("Orin", 87, 30 << 30, 163 * 1024, 12060),
    "a100": ("NVIDIA A100-SXM4-80GB", 80, 80 << 30, 163 * 1024, 12040),
    "rtx-4090": ("NVIDIA GeForce RTX 4090", 89, 24 << 30, 99 * 1024, 13000),
    "h100": ("NVIDIA H100 80GB HBM3", 90, 80 << 30, 227 * 1024, 13000),
}
KINDS = ("memory", "host memory", "registered", "stream", "event", "graph", "executable graph", "module", "function")


class Launch(Structure):
    """``struct launch`` of gpu.h: what a kernel was started with."""

    _fields_ = [
        ("kernel", c_char_p),
        ("image", c_void_p),
        ("image_size", c_uint64),
        ("grid", c_uint32 * 3),
        ("block", c_uint32 * 3),
        ("shared_bytes", c_uint32),
        ("parameters", c_uint32),
        ("sizes", c_uint32 * _MOST_PARAMETERS),
        ("values", c_uint64 * _MOST_PARAMETERS),
    ]

    def arguments(self) -> list[int]:
        """Addresses as they are, 32-bit integers with their sign."""
        return [
            value if size == 8 else int(np.uint32(value).astype(np.int32))
            for size, value in zip(self.sizes[: self.parameters], self.values[: self.parameters], strict=True)
        ]

    def code(self) -> str:
        """Sha256 of the machine code or PTX that it was loaded from."""
        return hashlib.sha256(ctypes.string_at(self.image, self.image_size)).hexdigest()


class Gpu:
    """The library, told which device it is."""

    def __init__(self, device: str) -> None:
        self.library = ctypes.CDLL("libcuda.so.1")
        self.library.rig_complaints.restype = self.library.rig_calls.restype = c_char_p
        name, capability, memory, shared_bytes, driver = DEVICES[device]
        self.library.rig_device(name.encode(), capability, c_size_t(memory), shared_bytes, driver)
        self.capability = capability
        self._kept: list[Any] = []

    def complaints(self) -> list[str]:
        return self.library.rig_complaints().decode().splitlines()

    def calls(self) -> list[str]:
        return self.library.rig_calls().decode().splitlines()

    def clear(self) -> None:
        """Forget calls and complaints; a failed kernel no longer fails every later call."""
        self.library.rig_clear()

    def make_context(self, current: bool = True) -> None:
        """As TensorRT does before it calls a plugin."""
        self.library.rig_context(int(current))

    def live(self) -> dict[str, int]:
        """How many of each kind were made and not given back."""
        return {kind: count for at, kind in enumerate(KINDS) if (count := self.library.rig_live(at))}

    def put(self, array: np.ndarray[Any, Any]) -> int:
        """The address of a copy on the device."""
        address, array = c_void_p(), np.ascontiguousarray(array)
        assert self.library.cudaMalloc(ctypes.byref(address), c_size_t(array.nbytes)) == 0
        source = c_void_p(array.ctypes.data)
        assert self.library.cudaMemcpy(address, source, c_size_t(array.nbytes), 1) == 0
        return address.value or 0

    def get(self, address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """A copy of what is at an address, when all work is done."""
        array = np.empty(shape, dtype)
        status = self.library.cudaMemcpy(
            c_void_p(array.ctypes.data), c_void_p(address), c_size_t(array.nbytes), c_int(2)
        )
        assert status == 0, self.complaints()
        return array

    def memory(self, address: int) -> ctypes.Array[ctypes.c_char]:
        """The device's memory from an address to the end of its allocation."""
        start, size = c_uint64(), c_uint64()
        assert self.library.rig_range(c_uint64(address), ctypes.byref(start), ctypes.byref(size))
        return (ctypes.c_char * (start.value + size.value - address)).from_address(address)

    def run_with(self, runner: Callable[[Launch], int]) -> None:
        """What computes a launch when its turn on its stream has come; its answer is the status."""
        kind = ctypes.CFUNCTYPE(c_int, ctypes.POINTER(Launch))
        made = kind(lambda launch: runner(launch.contents))
        self._kept.append(made)
        self.library.rig_run_with(made)


class Interpreter:
    """Runs recorded launches in Triton's interpreter (TRITON_INTERPRET=1 in the environment of the process).

    ``kernels``: sha256 of machine code or PTX -> what it was compiled from: the kernel's name, the names of its inputs,
    its constants, its element type, as in the manifest of ``scripts/build-plugins``.
    """

    def __init__(self, gpu: Gpu, kernels: Mapping[str, Mapping[str, Any]]) -> None:
        self._gpu = gpu
        self._kernels = kernels
        self.launches: list[dict[str, Any]] = []
        gpu.run_with(self._run)

    def _run(self, launch: Launch) -> int:
        try:
            return self._interpret(launch)
        except BaseException as error:  # an exception does not pass through C
            self.launches.append({"error": repr(error)})
            return 719  # CUDA_ERROR_LAUNCH_FAILED

    def _interpret(self, launch: Launch) -> int:
        import torch

        from ftsf_plugins.kernels import kernel_of
        from ftsf_plugins.launch import Launch as Compiled

        known, arguments = self._kernels[launch.code()], launch.arguments()
        self.launches.append(
            {"kernel": launch.kernel.decode(), "grid": list(launch.grid), "block": list(launch.block),
             "shared": launch.shared_bytes, "arguments": arguments}
        )  # fmt: skip
        elements = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
        streamed = elements[known["element"]]
        names = known["inputs"]
        like_stream = ("qkv", "omega", "out")
        tensors = [
            torch.frombuffer(self._gpu.memory(address), dtype=streamed if name in like_stream else torch.float32)
            for name, address in zip((*names, "out"), (*arguments[: len(names)], arguments[-1]), strict=True)
        ]
        kernel = kernel_of(Compiled(known["kernel"], tuple(names), (), {}, 1, 1, 1))
        kernel[tuple(launch.grid)](*tensors[:-1], *arguments[len(names) : -1], tensors[-1], **known["constants"])
        return 0
