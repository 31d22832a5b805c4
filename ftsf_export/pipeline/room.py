"""What an export needs of this machine, estimated before it starts, and refused where that is not there.

Letters: B clips in one call, n judged clips, F frames, P patches, N tokens, H heads, K head width, D width of a token,
R hidden width of the MLP. All is whole-number arithmetic: a size may be 10^30.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fast_timesformer.config import TimeSformerConfig
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError
from ftsf_export.memory import address_bytes_left
from ftsf_export.pipeline.clips import KEPT_CLIPS

_FLOAT_BYTES = 4
# The eager model, the graph made of it, and the model in float64: these live at the same time.
_WEIGHT_COPIES = 4
# The judged clips as they are made, stacked, and in the reference values.
_CLIP_COPIES = 3
# Counted for divided fastformer attention in FP16 without rewrites: 138 a block. The other mechanisms were not counted.
_NODES_A_BLOCK = 140
# No bundle is opened whose graph has more than 500,000 fields (``bundle.graph_file``); a node is taken to have twelve.
_MAX_NODES = 42_000
_GIB = 1 << 30


@dataclass(frozen=True)
class Needs:
    """The least that an export takes; what it truly takes is more."""

    weight_bytes: int  #: Of all copies of the parameters that live at once.
    activation_bytes: int  #: Of the widest moment of a block, for one call of the graph.
    clip_bytes: int  #: Of the judged clips, and of the clips of one call.
    nodes: int  #: Of the traced graph.

    @property
    def memory_bytes(self) -> int:
        return self.weight_bytes + self.activation_bytes + self.clip_bytes


def export_needs(model: TimeSformerConfig, batch: int, videos: int = 0) -> Needs:
    """What an export of ``model`` needs with ``batch`` clips in one call, judged on noise and ``videos``."""
    clips = max(KEPT_CLIPS, videos + 1)
    return Needs(
        weight_bytes=_parameters(model) * _FLOAT_BYTES * _WEIGHT_COPIES,
        activation_bytes=batch * max(_mlp_values(model), _attention_values(model)) * _FLOAT_BYTES,
        clip_bytes=(clips * _CLIP_COPIES + batch) * clip_bytes(model),
        nodes=model.depth * _NODES_A_BLOCK,
    )


def clip_bytes(model: TimeSformerConfig) -> int:
    """Of one clip in float32."""
    return model.frames * model.channels * model.height * model.width * _FLOAT_BYTES


def operations(model: TimeSformerConfig) -> int:
    """Of the products of one clip, two a multiplication and addition: every weight for every token, and the scores of
    pairs of tokens where a mechanism forms them."""
    pairs = 0 if model.attn_mechanism != "regular" else model.depth * model.num_heads * _pairs(model)
    return 2 * _parameters(model) * model.num_tokens + 4 * pairs * model.dim_head


def require_room(config: ExportConfig, model: TimeSformerConfig) -> None:
    """Raises UsageError, with the estimate, what is free and what to change, for an export that cannot fit here."""
    needs = export_needs(model, config.batch.minimum, len(config.videos))
    if needs.nodes > _MAX_NODES:
        raise UsageError(
            f"depth: {model.depth} blocks make a graph of about {needs.nodes} nodes; one of at most {_MAX_NODES} is "
            f"traced; take --depth {_MAX_NODES // _NODES_A_BLOCK} or less"
        )
    free = free_memory_bytes()
    if free is not None and needs.memory_bytes > free:
        raise UsageError(
            f"memory: the export needs at least {gib(needs.memory_bytes)} (weights {gib(needs.weight_bytes)}, "
            f"activations {gib(needs.activation_bytes)}, clips {gib(needs.clip_bytes)}), {gib(free)} are free; "
            f"{_lever(needs)}"
        )


def free_memory_bytes() -> int | None:
    """What this process may still take: of the machine, of its control group and of its address space (ulimit -v);
    None where the system tells none of them."""
    told = [_machine_bytes(), _group_bytes(), address_bytes_left()]
    return min((value for value in told if value is not None), default=None)


def _parameters(model: TimeSformerConfig) -> int:
    width = model.num_heads * model.dim_head
    attentions = 2 if model.attn_type == "divided" else 1
    hidden = model.hidden_dim
    mlp = (3 if model.mlp_act == "geglu" else 2) * hidden * model.dim
    block = attentions * 4 * model.dim * width + mlp
    patches = model.channels * model.patch_size**2 * model.dim
    return model.depth * block + patches + model.dim * model.num_classes


def _mlp_values(model: TimeSformerConfig) -> int:
    """Numbers that live at once in an MLP: its input, its hidden layer before and after the gate, its output."""
    hidden = (3 if model.mlp_act == "geglu" else 2) * model.hidden_dim
    return model.num_tokens * (2 * model.dim + hidden)


def _attention_values(model: TimeSformerConfig) -> int:
    """Numbers of queries, keys and values, and of the scores where a mechanism forms them."""
    linear = model.num_tokens * 3 * model.num_heads * model.dim_head
    if model.attn_mechanism != "regular":
        return linear
    return linear + model.num_heads * _pairs(model)


def _pairs(model: TimeSformerConfig) -> int:
    """Pairs of tokens that attend to each other in the largest attention of a block."""
    frames, patches = model.frames, model.num_patches
    across = {
        "joint": model.num_tokens**2,
        "space": frames * patches**2,
        "divided": max(frames * patches**2, patches * frames**2),
    }
    return across[model.attn_type]


def _lever(needs: Needs) -> str:
    largest = max(needs.weight_bytes, needs.activation_bytes, needs.clip_bytes)
    if largest == needs.weight_bytes:
        return "free some, or take a smaller --dim, --depth or --num-classes"
    return "free some, or take a smaller --batch, fewer --frames or a smaller --size"


def gib(count: int) -> str:
    """A number of bytes for people."""
    # A float has no room for every whole number.
    return f"{count * 10 // _GIB / 10:.1f} GiB" if count < 1 << 60 else f"more than {(1 << 60) // _GIB} GiB"


def _machine_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _group_bytes() -> int | None:
    """The limit of control group 2, as a container sees it; pages of files in it can be given back."""
    try:
        root = Path("/sys/fs/cgroup")
        limit, used = int((root / "memory.max").read_text()), int((root / "memory.current").read_text())
        rows = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(rows["file"]))
    except (OSError, ValueError, KeyError):
        return None
