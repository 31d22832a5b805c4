"""Kernels that TensorRT for RTX makes for the very shape that is run.

An engine with dynamic shapes begins with kernels that fit every shape, and has better ones compiled in the background:
what is measured or compared meanwhile is not what a server runs for the rest of its life.
"""

from __future__ import annotations

from typing import Any

# What a record says of an engine's kernels.
SPECIALISED = "specialised to the shape before the first run (TensorRT-RTX)"
HELD = "as the engine holds them"


def specialise(config: Any) -> str:
    """Have the kernels of a shape compiled before the first run with it: ``SPECIALISED``; ``HELD`` where the runtime
    knows no such choice (TensorRT, whose kernels are all in the engine)."""
    if not hasattr(config, "dynamic_shapes_kernel_specialization_strategy"):
        return HELD
    strategies = type(config.dynamic_shapes_kernel_specialization_strategy)
    config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
    return SPECIALISED


def specialised_context(engine: Any) -> tuple[Any, str]:
    """The execution context of ``engine`` with specialised kernels, or the engine itself where there is nothing to
    choose; and which of the two."""
    config = engine.create_runtime_config() if hasattr(engine, "create_runtime_config") else None
    kernels = specialise(config)
    return (engine.create_execution_context(config) if kernels == SPECIALISED else engine), kernels
