"""What a card's data sheet promises: the figures behind a roofline. Nothing here is measured.

Sources, by card: NVIDIA's Ampere GA102, Ada and RTX Blackwell GPU architecture whitepapers (dense rates; FP16 with FP16
accumulation, the faster of the two that a kernel may choose, so that a bound stays a bound; BF16 accumulates in FP32);
data sheets of A10, A100, H100, H200, L4, L40S, T4 and HGX B200 (an eighth of the board), with half of every rate given
"with sparsity"; Jetson AGX Orin technical brief, Jetson Thor data sheet and DGX Spark product page (half of the sparse
rates; FP16 as a half of FP8, a quarter of FP4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ftsf_export.engine.targets import Target

_GIGA, _TERA = 1e9, 1e12


@dataclass(frozen=True)
class Card:
    """Data-sheet figures of one card."""

    name: str  #: Of the product.
    bytes_per_s: float  #: Of its memory.
    flops_per_s: Mapping[str, float] = field(hash=False)  #: Element type -> dense operations a second.

    def least_s(self, moved_bytes: int, flops: int, dtype: str) -> tuple[float, str]:
        """The least time that memory and arithmetic allow, and which of the two sets it.

        A type that the table does not know (integers, fp4) counts as the card's fastest: the bound stays a bound.
        """
        memory_s = moved_bytes / self.bytes_per_s
        compute_s = flops / self.flops_per_s.get(dtype, max(self.flops_per_s.values()))
        return (memory_s, "memory") if memory_s >= compute_s else (compute_s, "arithmetic")


def _card(name: str, gb_per_s: float, *, fp32: float, fp16: float, bf16: float | None = None, fp8: float = 0) -> Card:
    """Rates in TFLOPS; ``bf16`` as ``fp16`` unless given; int8 as fp8 or, before there was fp8, twice fp16."""
    rates = {"fp32": fp32, "fp16": fp16, "bf16": fp16 if bf16 is None else bf16, "int8": fp8 or 2 * fp16}
    if fp8:
        rates["fp8"] = fp8
    return Card(name, gb_per_s * _GIGA, {dtype: rate * _TERA for dtype, rate in rates.items()})


_RTX_3090 = _card("GeForce RTX 3090", 936, fp32=35.6, fp16=142, bf16=71)
_RTX_4090 = _card("GeForce RTX 4090", 1008, fp32=82.6, fp16=330.3, bf16=165.2, fp8=660.6)
_RTX_5090 = _card("GeForce RTX 5090", 1792, fp32=104.8, fp16=419, bf16=209.5, fp8=838)
_T4 = _card("T4", 320, fp32=8.1, fp16=65)
_A100 = _card("A100 80 GB SXM", 2039, fp32=19.5, fp16=312)
_H100 = _card("H100 SXM", 3350, fp32=67, fp16=989.5, fp8=1979)
_B200 = _card("B200", 8000, fp32=75, fp16=2250, fp8=4500)
_ORIN = _card("Jetson AGX Orin 64 GB", 204.8, fp32=5.3, fp16=42.5)
_THOR = _card("Jetson T5000", 273, fp32=8.1, fp16=258.8, fp8=517.5)
_SPARK = _card("DGX Spark (GB10)", 273, fp32=31, fp16=125, fp8=250)

# One card stands for a target of many: the best known of the largest of its generation.
_BY_CAPABILITY = {
    "7.5": _T4, "8.0": _A100, "8.6": _RTX_3090, "8.7": _ORIN, "8.9": _RTX_4090,
    "9.0": _H100, "10.0": _B200, "11.0": _THOR, "12.0": _RTX_5090, "12.1": _SPARK,
}  # fmt: skip
_BY_TARGET = {
    "a10": _card("A10", 600, fp32=31.2, fp16=125),
    "l4": _card("L4", 300, fp32=30.3, fp16=121, fp8=242.5),
    "l40s": _card("L40S", 864, fp32=91.6, fp16=362, fp8=733),
    "h200": _card("H200 SXM", 4800, fp32=67, fp16=989.5, fp8=1979),
}


def card_of(target: Target) -> Card | None:
    """The card whose data sheet stands for ``target``, of its first capability; None where we hold no data sheet."""
    return _BY_TARGET.get(target.name) or _BY_CAPABILITY.get(target.capabilities[0])


# What drivers call these cards, without "NVIDIA". Of a Jetson they tell the chip alone: an Orin NX or Nano has the name
# of the AGX Orin, and less of all.
_BY_GPU = {
    "GeForce RTX 3090": _RTX_3090, "GeForce RTX 4090": _RTX_4090, "GeForce RTX 5090": _RTX_5090, "Tesla T4": _T4,
    "A100-SXM4-80GB": _A100, "H100 80GB HBM3": _H100, "B200": _B200, "Orin": _ORIN, "Thor": _THOR, "GB10": _SPARK,
    "A10": _BY_TARGET["a10"], "L4": _BY_TARGET["l4"], "L40S": _BY_TARGET["l40s"], "H200": _BY_TARGET["h200"],
}  # fmt: skip


def card_of_gpu(name: str) -> Card | None:
    """The card that the driver calls ``name``; None where we hold no data sheet of this very one."""
    return _BY_GPU.get(name.removeprefix("NVIDIA").strip())
