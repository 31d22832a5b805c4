"""Plugins through NVIDIA's own bindings, from a node's attributes to a result that is compared with the reference.

The GPU computes in Triton's interpreter and checks every call; nothing here is a measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Say = Callable[..., Any]
ADDITIVE, FAVOR, ROTARY = "FtsfAdditiveAttention", "FtsfFavorAttention", "FtsfRotaryAttention"
# Largest relative error of any head of any group in half precision.
LIMIT = 2e-3


@pytest.mark.parametrize(
    ("operation", "along", "numpy"),
    [
        (ADDITIVE, "time", ""),
        (ADDITIVE, "space", "numpy-1"),
        (FAVOR, "time", "numpy-1"),
        (FAVOR, "space", ""),
        (ROTARY, "time", ""),
    ],
)
def test_enqueue_on_orin_computes(say: Say, kernels: Path, operation: str, along: str, numpy: str) -> None:
    """IPluginV3 of TensorRT 10.3, under NumPy 1.26 and under 2: its fields misread strings and machine code under 2."""
    told = say("v3_plugin.py", operation, along, kernels, tensorrt="10.3", numpy=numpy, TRITON_INTERPRET="1")
    assert told["supported"]
    assert told["output_shape"] == [1, 5 * 66, 64]
    assert max(told["worst"]) <= LIMIT
    # One clip, two clips, two clips again as a CUDA graph.
    assert len(told["worst"]) == len(told["launches"]) == 3
    assert told["complaints"] == []
    # All is prepared when a shape changes; machine code is loaded once for all shapes.
    assert told["enqueue_calls"] == [["cuLaunchKernel"]] * 2
    assert (told["modules"], told["loads"]) == (1, 1)


@pytest.mark.parametrize(
    ("operation", "along", "version", "numpy"),
    [
        (ADDITIVE, "time", "11.4", ""),
        (FAVOR, "space", "11.4", ""),
        (FAVOR, "time", "10.13", "numpy-1"),
        (ROTARY, "time", "11.4", ""),
    ],
)
def test_what_an_engine_holds_computes(
    say: Say, kernels: Path, operation: str, along: str, version: str, numpy: str
) -> None:
    """NVIDIA's creator of quickly deployable plugins, given strings that end in NUL as the ONNX parser gives them."""
    told = say("aot_plugin.py", operation, along, kernels, tensorrt=version, numpy=numpy, TRITON_INTERPRET="1")
    assert told["target"] == 87
    assert told["shape"] == [2, 5 * 66, 64]
    assert told["words"]["along"] == f"{along}\0"
    assert told["launches"][0]["shared"] <= 48 * 1024
    assert told["statuses"] == [0, 0, 0, 0], told["complaints"]
    assert told["worst"] <= LIMIT
    assert told["complaints"] == []


@pytest.mark.parametrize(("script", "version"), [("v3_plugin.py", "10.3"), ("aot_plugin.py", "11.4")])
def test_kernels_that_were_built_for_a_bundle_serve_its_attentions_without_triton(
    say: Say, bundle_kernels: Path, script: str, version: str
) -> None:
    """Within frames of 66 tokens: the kernel for the documented example's 197 has other constants."""
    told = say(script, ROTARY, "space", bundle_kernels, tensorrt=version, TRITON_INTERPRET="1")
    worst = told["worst"] if isinstance(told["worst"], list) else [told["worst"]]
    assert max(worst) <= LIMIT
    assert not told["triton"]
    assert told["complaints"] == []


def test_kernels_for_other_constants_are_none(say: Say, kernels: Path) -> None:
    with pytest.raises(AssertionError, match=r"NoKernel.*make it with scripts/build-plugins --bundle BUNDLE"):
        say("v3_plugin.py", ROTARY, "space", kernels, tensorrt="10.3", TRITON_INTERPRET="1")


def test_bindings_that_misread_attributes_are_refused_before_the_build(say: Say, kernels: Path) -> None:
    """TensorRT 10.13 under NumPy 2: NVIDIA's creator would read "ttttt" for "time"."""
    with pytest.raises(
        AssertionError, match=r"Unsupported: the Python package of TensorRT 10\.13\.3.*pip install 'numpy<2'"
    ):
        say("aot_plugin.py", ADDITIVE, "time", kernels, tensorrt="10.13", TRITON_INTERPRET="1")


def test_kernels_are_loaded_once_and_unloaded(say: Say, kernels: Path) -> None:
    """Two dozen attentions of a model hold one module; more than 48 KiB of shared memory is asked for; the compute
    capability is the driver's, not a compiler's."""
    told = say("loaded_kernels.py", kernels)
    assert (told["target"], told["imported"]) == (87, [])
    assert (told["shared"], told["loads"]) == (True, 1)
    assert "expected tensors at multiples of 16 bytes" in told["misaligned"]
    assert (told["held by the launch"], told["held by nobody"]) == (1, 0)
    assert told["complaints"] == []
