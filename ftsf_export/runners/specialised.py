"""Kernels that TensorRT for RTX makes for the very shape that is run.

An engine with dynamic shapes begins with kernels that fit every shape, and has better ones compiled in the background:
what is measured or compared meanwhile is not what a server runs for the rest of its life.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: What a record says of an engine that was run so.
SPECIALISED = "specialised to the shape before the first run (TensorRT-RTX)"


def specialise(config: Any) -> bool:
    """Have the kernels of a shape compiled before the first run with it; False where the runtime knows no such choice
    (TensorRT, whose kernels are all in the engine)."""
    if not hasattr(config, "dynamic_shapes_kernel_specialization_strategy"):
        return False
    strategies = type(config.dynamic_shapes_kernel_specialization_strategy)
    config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
    return True


def specialised_context(load: Callable[[], Any]) -> Callable[[], Any]:
    """``load`` gives an engine: what gives its execution context with specialised kernels, or the engine itself where
    there is nothing to choose."""

    def loaded() -> Any:
        engine = load()
        config = engine.create_runtime_config() if hasattr(engine, "create_runtime_config") else None
        return engine.create_execution_context(config) if specialise(config) else engine

    return loaded
