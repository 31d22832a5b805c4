"""The normalisation of pixels, by mean m_c and deviation s_c of channel c, becomes part of the patch embedding's
weights; i runs over the pixels of a patch. There is no padding, so every patch has all of its pixels. It is done only
where the graph normalises at all (``--pixels``, ``--input uint8``), in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ftsf_export.bundle import Normalisation
from ftsf_export.graph.forms.linear_map import LinearMap
from ftsf_export.graph.rewrite import Rewrite, choosing

REWRITE = Rewrite(
    name="pixel-normalisation",
    summary="Normalisation of the pixels in the patch embedding's weights",
    equation=(
        "sum_c sum_i ((x_ci - m_c) / s_c) W_ci + b = sum_c sum_i x_ci (W_ci / s_c) + (b - sum_c (m_c / s_c) sum_i W_ci)"
    ),
    applies=lambda site, _: site.part == "embedding" and site.pixels,
    effect=choosing(pixels_in_embedding=True),
)


def folded(embed: LinearMap, normalisation: Normalisation) -> LinearMap:
    """The product of patches whose rows (p * p * C) are pixel by pixel, for pixels that were not normalised."""
    channels, rows = len(normalisation.mean), embed.weight.shape[0]
    mean, std = (
        torch.tensor(values, dtype=torch.float64).repeat(rows // channels)
        for values in (normalisation.mean, normalisation.std)
    )
    weight: Tensor = embed.weight.double() / std[:, None]
    bias = -(mean @ weight)
    if embed.bias is not None:
        bias = bias + embed.bias.double()
    return LinearMap(weight.to(embed.weight.dtype), bias.to(embed.weight.dtype))
