"""An attention with the norm before it, in the export form of its mechanism."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from fast_timesformer.attention import Attention
from ftsf_export.graph.forms.choices import Choices, Site
from ftsf_export.graph.forms.frames import Frames
from ftsf_export.graph.forms.linear_map import LinearMap, Norm
from ftsf_export.graph.forms.rotation import RotaryTables
from ftsf_export.graph.rewrite import norm_affine, softmax_scale, temporal_fc
from ftsf_export.mechanisms import ExportedMechanism, loaded


@dataclass(frozen=True, kw_only=True)
class AttentionParts:
    """What the form of an attention is made from. A form maps the normed stream (B, S, D) to (B, S, D)."""

    attention: Attention  #: The model's module.
    qkv: LinearMap  #: Its packed product, with the norm's gain and bias in it where that was chosen.
    choices: Choices  #: What the rewrites have chosen.
    tables: RotaryTables | None = None  #: Of the attending tokens, the class token included; None: no rotation.
    fc: LinearMap | None = None  #: The linear map that follows, where it is to be part of the output projection.
    #: How a divided block's frames are joined, where the form is to take the class token's mean over frames.
    frames: Frames | None = None
    #: Which tokens in place are the class token, for the same; None where the frames' is not needed.
    is_class: Tensor | None = None
    operator: bool = False  #: Softmax attention is the ONNX operator.
    frames_apart: bool = False  #: Where the class token alone asks: each frame keeps one of its own.

    def projection(self) -> LinearMap:
        """The output projection as it is in the model."""
        return LinearMap.from_linear(self.attention.to_out)

    def followed(self, projection: LinearMap) -> LinearMap:
        """``projection`` and the linear map that follows as one product."""
        return projection if self.fc is None else temporal_fc.folded(projection, self.fc)


def entered(norm: nn.LayerNorm, attention: Attention, site: Site, choices: Choices) -> tuple[Norm, LinearMap]:
    """The norm, and the packed product of the attention behind it.

    Softmax attention and FAVOR+ are computed with the usual scale of scores, 1 / sqrt K, by every core and kernel:
    where the model has another one, its queries and keys both carry the root of the rest.
    """
    norm_form, qkv = norm_affine.entered(norm, attention.to_qkv, folded=choices.norm_in_product)
    if site.algebra in ("softmax", "favor") and attention.scale != attention.dim_head**-0.5:
        qkv = softmax_scale.folded_qkv(qkv, (attention.scale * attention.dim_head**0.5) ** 0.5, thirds=2)
    return norm_form, qkv


def attention_form(mechanism: ExportedMechanism, site: Site, parts: AttentionParts) -> nn.Module:
    """The form of one attention: a plugin's node, one for the class token alone, or one for all tokens.

    Raises TypeError for a node of an attention that has no plugin.
    """
    if not parts.choices.decomposed(site):
        from ftsf_export.graph.forms.plugin import PluginForm

        return PluginForm(mechanism, parts)
    kind = loaded(mechanism.class_form if parts.choices.class_only else mechanism.form)
    return cast(nn.Module, kind(parts))
