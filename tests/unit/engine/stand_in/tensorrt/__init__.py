"""Stands in for TensorRT proper, whose wheels cannot be had without NVIDIA's index: TensorRT for RTX under its name.

The two share their Python API. What differs is put back as in TensorRT 11: a GPU (here compute capability 8.6 named
for the compiler, as none is there), and an inspector and contexts, which need a driver (here the layers that a test
recorded).
"""

import os
from pathlib import Path

import tensorrt_rtx as rtx
from tensorrt_rtx import *  # noqa: F403

__version__ = "11.4.1"


class Builder(rtx.Builder):
    def create_builder_config(self):
        config = super().create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(rtx.ComputeCapability.SM86, 0)
        return config


class _Context:
    """Takes the batches for which a test recorded layers: beside layers.json there is layers-4.json."""

    batch = 0

    def set_input_shape(self, name, shape):
        assert name == "clip"
        self.batch = shape[0]
        return _layers(self.batch).exists()


class _Inspector:
    execution_context = None

    def get_engine_information(self, layer_format):
        assert layer_format is rtx.LayerInformationFormat.JSON
        context = self.execution_context
        return _layers(0 if context is None else context.batch).read_text(encoding="utf-8")


class _Engine:
    def create_engine_inspector(self):
        if os.environ["STAND_IN_LAYERS"] == "abort":
            os.abort()
        return _Inspector()

    def create_execution_context(self):
        return _Context()


def _layers(batch):
    path = Path(os.environ["STAND_IN_LAYERS"])
    return path.with_stem(f"{path.stem}-{batch}") if batch else path


class Runtime:
    def __init__(self, logger):
        assert isinstance(logger, rtx.ILogger)

    def deserialize_cuda_engine(self, data):
        assert len(data) > 0
        return _Engine()
