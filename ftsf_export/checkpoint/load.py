"""A checkpoint -> a model. First what it is and whether it fits, from names and shapes alone; then the numbers.

Letters: F frames, P patches a frame, D width.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from fast_timesformer.config import TimeSformerConfig
from fast_timesformer.model import FastTimeSformer
from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.weights import UNTRAINED_SCORES, swap_described
from ftsf_export.checkpoint.dataset import preprocessing_read
from ftsf_export.checkpoint.found import Checkpoint, Found, check_fit, said_field
from ftsf_export.checkpoint.hub import HubId, fetch
from ftsf_export.checkpoint.kind import KNOWN, open_found
from ftsf_export.checkpoint.names import shapes_of
from ftsf_export.config import ExportConfig
from ftsf_export.errors import ConfigError, UsageError
from ftsf_export.progress import OnProgress, silent

_MAY_DIFFER = ("frames", "size", "attn")


def describe_checkpoint(
    path_or_id: str | Path, config: ExportConfig, *, on_progress: OnProgress = silent
) -> Checkpoint:
    """What the checkpoint is and what will be made of it. Every tensor's name and shape is judged, none is read.

    Args:
        path_or_id: a file, a directory, or a hub id ("owner/name", "owner/name@revision").
        config: what was asked; its ``given`` fields must agree with the checkpoint.

    Raises UsageError (ConfigError where ``config`` contradicts), EnvironmentLacks where the hub cannot be reached.
    """
    found = _found(path_or_id, config, on_progress)
    check_fit(found)
    model = _agreed(found, config)
    wanted = shapes_of(model)
    fresh = tuple(name for name in wanted if name not in found.origins)
    unused = tuple(origin.name for name, origin in found.origins.items() if name not in wanted)
    how, doubts = preprocessing_read(found, config.trained_on)
    on_progress("hash the checkpoint", None)
    return Checkpoint(
        found=found,
        model=model,
        sha256=found.tensors.sha256(),
        labels=found.labels,
        preprocessing=_fitted(how, model),
        fresh=fresh,
        unused=(*unused, *found.set_aside),
        warnings=(*_assumptions(found), *doubts, *found.warnings, *_warnings(found.model, model, fresh)),
    )


def load_checkpoint(
    path_or_id: str | Path, config: ExportConfig, *, on_progress: OnProgress = silent
) -> tuple[FastTimeSformer, Checkpoint]:
    """The model, float32, in evaluation mode, and what is known of it. Raises as ``describe_checkpoint`` does."""
    checkpoint = describe_checkpoint(path_or_id, config, on_progress=on_progress)
    return model_from_checkpoint(checkpoint, seed=config.seed), checkpoint


def load_model(config: ExportConfig, checkpoint: Checkpoint | None = None) -> FastTimeSformer:
    """The model that was asked for, from its checkpoint or from random weights; float32, in evaluation mode.

    ``checkpoint``: what is known already of ``config.checkpoint``. Raises UsageError for one that does not read, or
    whose tensors are not exactly the model's; EnvironmentLacks where the hub would have to be asked and is not there.
    """
    if checkpoint is not None:
        return model_from_checkpoint(checkpoint, seed=config.seed)
    if config.checkpoint is not None:
        return load_checkpoint(config.checkpoint, config)[0]
    return random_model(config.architecture, config.seed)


def random_model(architecture: TimeSformerConfig, seed: int) -> FastTimeSformer:
    """Weights drawn from ``seed``, float32, in evaluation mode. The global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FastTimeSformer.from_config(architecture).float().eval()


def model_from_checkpoint(checkpoint: Checkpoint, *, seed: int) -> FastTimeSformer:
    """Reads the tensors into the model. What is fresh is drawn from ``seed``; the global random state stays as it was.

    Raises UsageError where the file does not read, or holds NaN or infinity.
    """
    found = checkpoint.found
    theirs = found.tensors.read()
    model = random_model(checkpoint.model, seed)
    own = model.state_dict()
    with torch.no_grad():
        for name in own.keys() - set(checkpoint.fresh):
            origin = found.origins[name]
            value = origin.convert(theirs[origin.name].to(own[name].dtype))
            own[name].copy_(_positioned(name, value, found.model, checkpoint.model))
    return model


def _found(path_or_id: str | Path, config: ExportConfig, on_progress: OnProgress) -> Found:
    """The checkpoint, on this machine after this call."""
    path = Path(path_or_id)
    if path.exists():
        return open_found(path, config)
    # A Path on Windows has turned the slash of an id.
    hub_id = HubId.parse(path_or_id.as_posix() if isinstance(path_or_id, Path) else path_or_id)
    if hub_id is None:
        raise UsageError(f"checkpoint: {path}: no such file or directory; expected {KNOWN}, or a hub id (owner/name)")
    snapshot = fetch(hub_id, on_progress)
    found = replace(open_found(snapshot.folder, config), name=hub_id.name, revision=snapshot.commit)
    if snapshot.fetched:
        return found
    said = f"the hub cannot be reached: {hub_id.name} is the copy of commit {snapshot.commit[:12]} in the cache"
    return replace(found, warnings=(*found.warnings, said))


def _agreed(found: Found, config: ExportConfig) -> TimeSformerConfig:
    """The architecture that ``config`` asks for, of the weights of a checkpoint.

    Frames and size may differ: learned positions are interpolated. The attention mechanism may: the rest of the weights
    is kept. Anything else is another network. Raises ConfigError with every field that contradicts, both values named.
    """
    trained, name = found.model, found.name
    others = config.disagreements(trained)
    problems = [
        f"{field}: {asked} was asked for, the checkpoint {name} has {theirs}"
        for field, (asked, theirs) in others.items()
        if field not in _MAY_DIFFER
    ]
    frames, _ = others.get("frames", (trained.frames, None))
    height, width = (config.size.height, config.size.width) if "size" in others else (trained.height, trained.width)
    if not trained.rotary_emb and trained.learned_emb == "token" and {"frames", "size"} & set(others):
        problems.append(
            f"frames, size: the checkpoint {name} has one learned position a token, for {trained.frames} frames of "
            f"{trained.height}x{trained.width}; they are not interpolated, got {config.frames} frames of {config.size}"
        )
    if problems:
        raise ConfigError(problems)
    swapped = trained.with_mechanism(config.attn) if "attn" in others else trained
    try:
        return replace(swapped, frames=frames, height=height, width=width)
    except ValueError as error:
        raise ConfigError([f"checkpoint {name}: {error}"]) from error


def _positioned(name: str, value: Tensor, trained: TimeSformerConfig, wanted: TimeSformerConfig) -> Tensor:
    """Learned positions for the frames and the size that are wanted; other tensors as they are.

    Nearest neighbour, over time along the frames and over space on the grid of patches, as the original's forward pass
    does it (facebookresearch/TimeSformer, ``vit.py``, ``forward_features``) and Hugging Face's after it. Like theirs,
    it leaves the positions as they are where there are as many patches: a frame of another shape has them row by row
    in its own grid. The original's loader (``helpers.py``, ``load_pretrained``) stretches the flattened grid instead,
    which tears rows apart; it is not followed.
    """
    if name == "pos_time" and trained.frames != wanted.frames:
        return time_from_time(value, wanted.frames)
    grids = (trained.rows, trained.columns), (wanted.rows, wanted.columns)
    if name == "pos_space" and trained.num_patches != wanted.num_patches:
        return space_from_space(value, *grids)
    return value


def time_from_time(pos_FD: Tensor, frames: int) -> Tensor:
    """(F, D) -> (frames, D)."""
    return functional.interpolate(pos_FD.T[None], size=frames, mode="nearest")[0].T


def space_from_space(pos_PD: Tensor, trained: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """(1 + P, D) of ``trained`` (rows, columns) -> (1 + P', D) of ``wanted``; row 0 is the class token's."""
    width = pos_PD.shape[-1]
    grid = pos_PD[1:].T.reshape(1, width, *trained)
    resized = functional.interpolate(grid, size=wanted, mode="nearest").reshape(width, -1).T
    return torch.cat((pos_PD[:1], resized))


def _fitted(trained: Preprocessing, model: TimeSformerConfig) -> Preprocessing:
    """The preprocessing for ``model``: the short side is cut as far as in training, and a clip spans as long a time."""
    crop, side = (model.height, model.width), trained.resize_short_side
    if trained.crop != crop and side is not None:
        side = max(max(crop), round(side * max(crop) / max(trained.crop)))
    stride = max(1, round(trained.stride * trained.frames / model.frames))
    box = trained.box if trained.crop == crop else None
    return replace(trained, frames=model.frames, stride=stride, crop=crop, box=box, resize_short_side=side)


def _assumptions(found: Found) -> tuple[str, ...]:
    if not found.assumed:
        return ()
    said = " and ".join(said_field(found.model, name) for name in found.assumed)
    flags = " and ".join(f"--{name.replace('_', '-')}" for name in found.assumed)
    return (
        f"ASSUMED: {said}: {found.name} does not say so. Other values change every class score, and no gate can see "
        f"it, for the reference assumes them too; give {flags}",
    )


def _warnings(trained: TimeSformerConfig, model: TimeSformerConfig, fresh: tuple[str, ...]) -> tuple[str, ...]:
    out = []
    learned = not trained.rotary_emb
    if model.frames != trained.frames and trained.attn_type != "space":
        how = "time embeddings are interpolated (nearest)" if learned else "rotary positions reach further or less far"
        out.append(f"{how}: trained with {trained.frames} frames, asked for {model.frames}; accuracy may drop")
    if (model.height, model.width) != (trained.height, trained.width):
        how = "space embeddings are interpolated (nearest)" if learned else "rotary positions lie closer or wider"
        if learned and model.num_patches == trained.num_patches:
            how = "space embeddings stay as they are, row by row in a grid of another shape"
        asked = f"{model.height}x{model.width}"
        out.append(f"{how}: trained with {trained.height}x{trained.width} px, asked for {asked}; accuracy may drop")
    if model.attn_mechanism != trained.attn_mechanism:
        drawn = f"; {len(fresh)} tensors are drawn from the seed" if fresh else ""
        out.append(
            f"NEEDS FINE-TUNING: {swap_described(model, trained)}: every weight whose shape agrees is kept{drawn}; "
            f"{UNTRAINED_SCORES}"
        )
    return tuple(out)
