"""Run as a script: planted faults, one by one, and what the GPU that is not one says of each. planted.py KERNELS

Prints one JSON object: name of the fault -> [a status that is no success or results that are poison, the complaints].
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from ctypes import byref, c_float, c_int, c_size_t, c_uint, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
from gpu import Gpu

Fault = Callable[["Planted"], int]
FAULTS: dict[str, Fault] = {}


def fault(function: Fault) -> Fault:
    FAULTS[function.__name__.replace("_", " ")] = function
    return function


class Planted:
    """A machine for each fault: memory, a stream, and a kernel of ``scripts/build-plugins``."""

    def __init__(self, gpu: Gpu, folder: Path) -> None:
        self.gpu, self.cuda = gpu, gpu.library
        entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["kernels"]
        self.entry = next(one for one in entries if one["kernel"] == "additive_attention_kernel")
        self.code = (folder / self.entry["file"]).read_bytes()
        large = next(one for one in entries if one["shared_bytes"] > 48 * 1024)
        self.large, self.large_entry = (folder / large["file"]).read_bytes(), large
        self.gpu.make_context()
        self.memory = gpu.put(np.zeros(1 << 18, np.float32))
        self.stream = c_void_p()
        self.cuda.cudaStreamCreate(byref(self.stream))
        self.gpu.clear()

    def module(self, code: bytes | None = None) -> c_void_p:
        module = c_void_p()
        assert self.cuda.cuModuleLoadData(byref(module), code or self.code) == 0
        return module

    def function(self, module: c_void_p, name: str | None = None) -> c_void_p:
        function = c_void_p()
        assert self.cuda.cuModuleGetFunction(byref(function), module, (name or self.entry["kernel"]).encode()) == 0
        return function

    def launch(self, function: c_void_p, address: int | None = None, **changes: Any) -> int:
        """Five inputs, nine integers, one output, started on the stream."""
        at = self.memory if address is None else address
        values = [*[c_void_p(at)] * 5, *[c_int(1)] * 9, c_void_p(at)]
        pointers = (c_void_p * len(values))(*map(ctypes.addressof, values))
        given = {
            "grid": (1, 1, 1),
            "block": (256, 1, 1),
            "shared": 1024,
            "extra": None,
            "stream": self.stream,
            **changes,
        }
        last = (None, given["extra"]) if given["extra"] is not None else (pointers, None)
        return self.cuda.cuLaunchKernel(
            function, *given["grid"], *given["block"], given["shared"], given["stream"], *last
        )

    def pinned(self, size: int) -> int:
        address = c_void_p()
        assert self.cuda.cudaHostAlloc(byref(address), c_size_t(size), c_uint(0)) == 0
        return address.value or 0

    def copy(self, target: int, source: int, size: int, kind: int) -> int:
        return self.cuda.cudaMemcpyAsync(c_void_p(target), c_void_p(source), c_size_t(size), c_int(kind), self.stream)

    def wait(self) -> int:
        return self.cuda.cudaStreamSynchronize(self.stream)


@fault
def memory_freed_twice(at: Planted) -> int:
    at.cuda.cudaFree(c_void_p(at.memory))
    return at.cuda.cudaFree(c_void_p(at.memory))


@fault
def an_address_inside_an_allocation_freed(at: Planted) -> int:
    return at.cuda.cudaFree(c_void_p(at.memory + 256))


@fault
def host_memory_freed_as_memory_of_the_device(at: Planted) -> int:
    return at.cuda.cudaFree(c_void_p(at.pinned(64)))


@fault
def a_copy_into_freed_memory(at: Planted) -> int:
    at.cuda.cudaFree(c_void_p(at.memory))
    return at.copy(at.memory, at.pinned(64), 64, 1)


@fault
def a_kernel_on_freed_memory(at: Planted) -> int:
    address = at.gpu.put(np.zeros(64, np.float32))
    function = at.function(at.module())
    at.cuda.cudaFree(c_void_p(address))
    return at.launch(function, address) or at.wait()


@fault
def a_copy_beyond_the_end(at: Planted) -> int:
    return at.copy(at.memory + (1 << 20) - 32, at.pinned(64), 64, 1)


@fault
def a_copy_in_the_wrong_direction(at: Planted) -> int:
    return at.copy(at.pinned(64), at.memory, 64, 1)


@fault
def a_copy_from_host_memory_that_was_freed(at: Planted) -> int:
    host = at.pinned(64)
    at.cuda.cudaFreeHost(c_void_p(host))
    return at.copy(at.memory, host, 64, 1)


@fault
def a_result_read_before_it_is_there(at: Planted) -> int:
    """Nothing refuses it: what is read is poison, and after waiting it is the result."""
    host = at.pinned(64)
    read = np.frombuffer(memoryview((ctypes.c_char * 64).from_address(host)).cast("B"), np.float32)
    assert at.copy(host, at.memory, 64, 2) == 0
    early = bool(np.isnan(read).all())
    return int(at.wait() == 0 and early and not read.any())


@fault
def time_asked_before_the_event_has_passed(at: Planted) -> int:
    events = c_void_p(), c_void_p()
    for event in events:
        at.cuda.cudaEventCreate(byref(event))
        at.cuda.cudaEventRecord(event, at.stream)
    return at.cuda.cudaEventElapsedTime(byref(c_float()), *events)


@fault
def time_asked_of_an_event_that_was_never_recorded(at: Planted) -> int:
    event = c_void_p()
    at.cuda.cudaEventCreate(byref(event))
    return at.cuda.cudaEventElapsedTime(byref(c_float()), event, event)


@fault
def two_arrays_of_one_page_registered(at: Planted) -> int:
    page = ctypes.create_string_buffer(8192)
    start = -(-ctypes.addressof(page) // 4096) * 4096
    assert at.cuda.cudaHostRegister(c_void_p(start), c_size_t(24), c_uint(0)) == 0
    status = at.cuda.cudaHostRegister(c_void_p(start + 64), c_size_t(24), c_uint(0))
    # The next fault may be given the same address, where nothing may be registered any more.
    assert at.cuda.cudaHostUnregister(c_void_p(start)) == 0
    return status


@fault
def host_memory_unregistered_that_never_was(at: Planted) -> int:
    return at.cuda.cudaHostUnregister(c_void_p(at.pinned(64)))


@fault
def a_kernel_captured_before_it_ever_ran(at: Planted) -> int:
    function, graph = at.function(at.module()), c_void_p()
    at.cuda.cudaStreamBeginCapture(at.stream, 1)
    at.launch(function)
    return int(at.cuda.cudaStreamEndCapture(at.stream, byref(graph)) == 0)


@fault
def machine_code_loaded_while_a_stream_is_captured(at: Planted) -> int:
    at.cuda.cudaStreamBeginCapture(at.stream, 1)
    status = at.cuda.cuModuleLoadData(byref(c_void_p()), at.code)
    at.cuda.cudaStreamEndCapture(at.stream, byref(c_void_p()))
    return status


@fault
def waiting_for_a_stream_that_is_captured(at: Planted) -> int:
    at.cuda.cudaStreamBeginCapture(at.stream, 1)
    status = at.wait()
    at.cuda.cudaStreamEndCapture(at.stream, byref(c_void_p()))
    return status


@fault
def memory_allocated_while_a_stream_is_captured(at: Planted) -> int:
    at.cuda.cudaStreamBeginCapture(at.stream, 1)
    status = at.cuda.cudaMalloc(byref(c_void_p()), c_size_t(64))
    at.cuda.cudaStreamEndCapture(at.stream, byref(c_void_p()))
    return status


@fault
def a_capture_ended_that_never_began(at: Planted) -> int:
    return at.cuda.cudaStreamEndCapture(at.stream, byref(c_void_p()))


@fault
def parameters_of_the_wrong_size(at: Planted) -> int:
    packed, size = ctypes.create_string_buffer(96), c_size_t(80)
    extra = (c_void_p * 5)(1, ctypes.addressof(packed), 2, ctypes.addressof(size), 0)
    return at.launch(at.function(at.module()), extra=extra)


@fault
def more_blocks_than_a_grid_has(at: Planted) -> int:
    return at.launch(at.function(at.module()), grid=(1, 65536, 1))


@fault
def a_grid_of_no_blocks(at: Planted) -> int:
    return at.launch(at.function(at.module()), grid=(0, 1, 1))


@fault
def another_number_of_threads_than_the_kernel_was_compiled_for(at: Planted) -> int:
    return at.launch(at.function(at.module()), block=(128, 1, 1))


@fault
def more_shared_memory_than_was_asked_for(at: Planted) -> int:
    function = at.function(at.module(at.large), at.large_entry["kernel"])
    return at.launch(function, shared=at.large_entry["shared_bytes"])


@fault
def more_shared_memory_asked_for_than_a_block_can_have(at: Planted) -> int:
    return at.cuda.cuFuncSetAttribute(at.function(at.module()), 8, 164 * 1024)


@fault
def a_kernel_of_a_module_that_was_unloaded(at: Planted) -> int:
    module = at.module()
    function = at.function(module)
    at.cuda.cuModuleUnload(module)
    return at.launch(function)


@fault
def a_module_unloaded_before_its_kernel_ran(at: Planted) -> int:
    module = at.module()
    at.launch(at.function(module))
    at.cuda.cuModuleUnload(module)
    return at.wait()


@fault
def a_kernel_that_is_not_in_the_module(at: Planted) -> int:
    return at.cuda.cuModuleGetFunction(byref(c_void_p()), at.module(), b"another_kernel")


@fault
def machine_code_for_another_gpu(at: Planted) -> int:
    at.cuda.rig_device(b"NVIDIA L4", 89, c_size_t(24 << 30), 99 * 1024, 13000)
    return at.cuda.cuModuleLoadData(byref(c_void_p()), at.code)


@fault
def ptx_newer_than_the_driver(at: Planted) -> int:
    return at.cuda.cuModuleLoadData(byref(c_void_p()), b".version 9.4\n.target sm_87\n")


@fault
def an_address_that_is_no_multiple_of_16(at: Planted) -> int:
    return at.launch(at.function(at.module()), at.memory + 8) or at.wait()


@fault
def a_stream_destroyed_with_work_on_it(at: Planted) -> int:
    assert at.copy(at.memory, at.pinned(64), 64, 1) == 0
    return int(at.cuda.cudaStreamDestroy(at.stream) == 0)


@fault
def a_stream_destroyed_twice(at: Planted) -> int:
    at.cuda.cudaStreamDestroy(at.stream)
    return at.cuda.cudaStreamDestroy(at.stream)


@fault
def a_kernel_without_a_context(at: Planted) -> int:
    function = at.function(at.module())
    at.gpu.make_context(False)
    return at.launch(function)


def main(folder: str) -> None:
    said = {}
    for name, plant in FAULTS.items():
        gpu = Gpu("orin")
        at = Planted(gpu, Path(folder))
        gpu.clear()
        said[name] = [plant(at), gpu.complaints()]
        gpu.clear()
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
