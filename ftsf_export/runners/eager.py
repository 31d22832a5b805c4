"""Eager PyTorch: the reference that everything else is held against.

Letters: B clips, F frames, C channels, N tokens, D width.
"""

from __future__ import annotations

import copy
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ftsf_export.bundle import GraphInput, TapSpec
from ftsf_export.errors import RunError
from ftsf_export.network.scope import BRANCHES, CLIP, FEATURES, LOGITS, MLP, NORM, PATCH_EMBED

Array = NDArray[Any]
_PRODUCTS = {
    torch.matmul,
    Tensor.matmul,
    Tensor.__matmul__,
    functional.linear,
    functional.scaled_dot_product_attention,
}
# How the names of modules end that a graph can have taps of.
_FEATURES_TAP = TapSpec(NORM)
_TAPPED = (PATCH_EMBED, *{f".{branch.name}" for branches in BRANCHES.values() for branch in branches}, f".{MLP}", NORM)


class _WideSums(TorchFunctionMode):
    """Half products computed in FP32 and rounded: PyTorch's own on a CPU sum so too, and take five times as long."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _PRODUCTS:
            return func(*args, **(kwargs or {}))
        wide = [value.float() if isinstance(value, Tensor) else value for value in args]
        return func(*wide, **(kwargs or {})).to(args[0].dtype)


class EagerRunner(BaseRunner):  # type: ignore[misc]
    """Runs a ``FastTimeSformer`` and gives its outputs and taps.

    The module is borrowed: while the runner is active it is in evaluation mode and carries hooks; when it is
    deactivated every submodule has its own mode back and the hooks are gone. Another ``dtype`` or ``device`` than the
    module's is served by a copy.

    Args:
        model: a module with ``config`` (``TimeSformerConfig``) and with a submodule for each tap.
        taps: which values to give beside the outputs, as the graph names them.
        outputs: which of ``OUTPUTS`` to give, in that order.
        dtype: the type to compute in, or its name (None: the module's own). Outputs are float64 for float64, else
            float32. Half products are summed in FP32 and rounded, as on a GPU; the rest is computed in half.
        device: where to compute.
        takes: the form of the clips, where that is the graph's; None: the model's own.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        taps: Sequence[TapSpec] = (),
        outputs: Sequence[str] = (LOGITS,),
        dtype: torch.dtype | str | None = None,
        device: str = "cpu",
        takes: GraphInput | None = None,
    ) -> None:
        super().__init__(name="eager")
        self._source = model
        self._taps = tuple(taps)
        self._outputs = tuple(outputs)
        own = next(model.parameters()).dtype if dtype is None else dtype
        self._dtype: torch.dtype = getattr(torch, own) if isinstance(own, str) else own
        self._device = torch.device(device)
        self._takes = takes
        self._model = model
        self._modes: list[tuple[nn.Module, bool]] = []
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._seen: dict[str, Tensor] = {}

    def activate_impl(self) -> None:
        weight = next(self._source.parameters())
        if (weight.dtype, weight.device) != (self._dtype, self._device):
            self._model = copy.deepcopy(self._source).to(device=self._device, dtype=self._dtype)
        modules = dict(self._model.named_modules())
        for tap in self._taps:
            if tap.name not in modules:
                known = ", ".join(name for name in modules if name.endswith(_TAPPED))
                raise RunError(f"tap {tap.name!r}: the model has no such module; it has {known}")
        self._modes = [(module, module.training) for module in self._model.modules()]
        self._model.eval()
        for tap in self._seen_taps:
            self._hooks.append(modules[tap.name].register_forward_hook(self._recorder(tap.name)))

    def get_input_metadata_impl(self) -> Any:
        config: Any = self._model.config
        takes = self._takes or GraphInput(layout="BFCHW" if config.frames_first else "BCFHW")
        return TensorMetadata().add(CLIP, np.dtype(takes.dtype), takes.shape(None, config))

    def infer_impl(self, feed_dict: Mapping[str, Array]) -> OrderedDict[str, Array]:
        clips = feed_dict[CLIP] if self._takes is None else self._takes.of_model(feed_dict[CLIP])
        clip = torch.from_numpy(np.ascontiguousarray(clips)).to(device=self._device, dtype=self._dtype)
        self._seen.clear()
        start = time.perf_counter()
        try:
            with torch.no_grad(), _WideSums() if self._dtype.itemsize == 2 else nullcontext():
                logits = self._model(clip)
        except (RuntimeError, ValueError) as error:
            raise RunError(f"eager PyTorch: {error}") from error
        outputs = OrderedDict()
        for name in self._outputs:
            value = logits if name == LOGITS else self._canonical(_FEATURES_TAP, self._seen[NORM], len(clip))
            outputs[name] = self._array(value)
        self.inference_time = time.perf_counter() - start
        for tap in self._taps:
            if tap.name not in self._seen:
                raise RunError(f"tap {tap.name!r}: the module did not run; is its branch in use in this network?")
            outputs[tap.name] = self._array(self._canonical(tap, self._seen[tap.name], len(clip)))
        self._seen.clear()
        return outputs

    def deactivate_impl(self) -> None:
        for hook in self._hooks:
            hook.remove()
        for module, training in self._modes:
            module.training = training
        self._hooks, self._modes, self._model = [], [], self._source
        self._seen.clear()

    @property
    def _seen_taps(self) -> tuple[TapSpec, ...]:
        """What is recorded: the taps, and the norm where the features are asked for."""
        asked = {tap.name for tap in self._taps}
        return (*self._taps, *((_FEATURES_TAP,) if FEATURES in self._outputs and NORM not in asked else ()))

    def _recorder(self, name: str) -> Any:
        def record(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self._seen[name] = output

        return record

    def _canonical(self, tap: TapSpec, value: Tensor, clips: int) -> Tensor:
        """The tap as the graph gives it: clips first, and only the class token where it says so."""
        if tap.name == NORM:
            # The class token alone, (B, D), whether the module normalises all tokens or that one.
            return value[:, 0] if value.ndim == 3 else value
        if tap.tokens == "class":
            value = value[:, :1]
        if len(value) != clips:
            # attn_type "space": the stream is (B * F, 1 + P, D), frames of one clip together.
            value = value.reshape(clips, -1, value.shape[-1])
        return value

    def _array(self, value: Tensor) -> Array:
        wide = torch.float64 if value.dtype == torch.float64 else torch.float32
        array: Array = value.detach().to(device="cpu", dtype=wide).numpy()
        return array
