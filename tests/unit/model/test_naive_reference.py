"""The whole model against loops written straight from the papers' equations, in float64 NumPy.

Nothing here is shared with the model: patches are cut by index, angles are made with ``math``, tokens are gathered one
by one. Weights are drawn wide, so that every part moves the logits far more than the limit.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fast_timesformer.model import FastTimeSformer, TimeSformerConfig

Array = NDArray[np.float64]
Weights = dict[str, Array]
# Angles of one token's pairs; None for a token that is not turned.
Angles = list[float] | None

FRAMES, ROWS, COLUMNS, SIDE, CHANNELS, DIM, WIDTH = 3, 2, 3, 4, 3, 32, 16
PATCHES = ROWS * COLUMNS
MECHANISMS = ("fastformer", "performer", "regular")
ATTENTION_TYPES = ("divided", "joint", "space")


def wide_model(**options: object) -> FastTimeSformer:
    options = {"attn_mechanism": "regular", "drop_path": 0.0, **options}
    sizes = (FRAMES, CHANNELS, ROWS * SIDE, COLUMNS * SIDE, 5)
    config = TimeSformerConfig(*sizes, dim=DIM, dim_head=WIDTH, patch_size=SIDE, depth=2, **options)
    model = FastTimeSformer(config).double()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
            parameter.copy_(noise * (parameter.shape[-1] ** -0.5 if parameter.ndim == 2 else 0.7) + (parameter == 1))
    return model.eval()


# Positions


def time_turns(frame: int, width: int) -> list[float]:
    return [frame * 10000 ** (-2 * i / width) for i in range(width // 2)]


def space_turns(row: int, column: int, width: int) -> list[float]:
    count = width // 4
    frequencies = [math.pi * 5 ** (i / (count - 1) if count > 1 else 0) for i in range(count)]
    y, x = -1 + 2 * row / (ROWS - 1), -1 + 2 * column / (COLUMNS - 1)
    return [y * f for f in frequencies] + [x * f for f in frequencies]


def turn(vector: Array, angles: Angles) -> Array:
    if angles is None:
        return vector
    out = vector.copy()
    for i, angle in enumerate(angles):
        turned = complex(vector[2 * i], vector[2 * i + 1]) * complex(math.cos(angle), math.sin(angle))
        out[2 * i], out[2 * i + 1] = turned.real, turned.imag
    return out


# Mechanisms: tokens (N, D) to (N, D)


def shares(logits: list[float]) -> list[float]:
    powers = [math.exp(x - max(logits)) for x in logits]
    return [power / sum(powers) for power in powers]


def regular(q: Array, k: Array, v: Array, _: Weights, __: int) -> Array:
    out = []
    for query in q:
        weights = shares([float(query @ key) / math.sqrt(len(query)) for key in k])
        out.append(sum(weight * value for weight, value in zip(weights, v, strict=True)))
    return np.stack(out)


def fastformer(q: Array, k: Array, v: Array, w: Weights, head: int) -> Array:
    root = math.sqrt(q.shape[1])
    alpha = shares([float(w["w_q"][head] @ query) / root for query in q])
    global_query = sum(weight * query for weight, query in zip(alpha, q, strict=True))
    p = [global_query * key for key in k]
    beta = shares([float(w["w_k"][head] @ item) / root for item in p])
    global_key = sum(weight * item for weight, item in zip(beta, p, strict=True))
    return np.stack([global_key * value for value in v])


def performer(q: Array, k: Array, v: Array, w: Weights, _: int) -> Array:
    omega, scale = w["omega"], q.shape[1] ** -0.25
    scores_q, scores_k = (q * scale) @ omega.T, (k * scale) @ omega.T
    most = max(float(score) for score in scores_k.flat)

    def phi(x: Array, scores: Array, stabiliser: float) -> Array:
        half_square = float(x @ x) * scale**2 / 2
        return (np.exp(scores - half_square - stabiliser) + 1e-4) / math.sqrt(len(omega))

    keys = [phi(k[n], scores_k[n], most) for n in range(len(k))]
    out = []
    for n in range(len(q)):
        query = phi(q[n], scores_q[n], float(scores_q[n].max()))
        weights = [float(query @ key) for key in keys]
        out.append(sum(weight * value for weight, value in zip(weights, v, strict=True)) / sum(weights))
    return np.stack(out)


def performer_relu(q: Array, k: Array, v: Array, w: Weights, _: int) -> Array:
    phi_q, phi_k = (np.maximum(x * x.shape[1] ** -0.25 @ w["omega"].T, 0) + 1e-3 for x in (q, k))
    weights = phi_q @ phi_k.T
    return weights @ v / weights.sum(axis=1, keepdims=True)


MIX: dict[str, Callable[[Array, Array, Array, Weights, int], Array]] = {
    "fastformer": fastformer,
    "performer": performer,
    "performer_relu": performer_relu,
    "regular": regular,
}


def attend(x: Array, w: Weights, mechanism: str, angles: list[Angles]) -> Array:
    projected = x @ w["to_qkv.weight"].T + w.get("to_qkv.bias", 0)
    q, k, v = np.split(projected, 3, axis=1)
    heads = []
    for head in range(q.shape[1] // WIDTH):
        own = slice(head * WIDTH, (head + 1) * WIDTH)
        turned_q, turned_k = (np.stack([turn(x[n, own], angles[n]) for n in range(len(x))]) for x in (q, k))
        heads.append(MIX[mechanism](turned_q, turned_k, v[:, own], w, head))
    out = np.concatenate(heads, axis=1) @ w["to_out.weight"].T + w["to_out.bias"]
    return out + q if mechanism == "fastformer" else out


# Network


def norm(x: Array, w: Weights, eps: float) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps) * w["weight"] + w["bias"]


def mlp(x: Array, w: Weights, act: str, eps: float) -> Array:
    gelu = np.vectorize(lambda value: value * 0.5 * (1 + math.erf(value / math.sqrt(2))))
    hidden = norm(x, below(w, "norm"), eps) @ w["fc1.weight"].T + w["fc1.bias"]
    if act == "geglu":
        half = hidden.shape[1] // 2
        hidden = hidden[:, :half] * gelu(hidden[:, half:])
    else:
        hidden = gelu(hidden)
    return hidden @ w["fc2.weight"].T + w["fc2.bias"]


def below(w: Weights, prefix: str) -> Weights:
    return {name[len(prefix) + 1 :]: value for name, value in w.items() if name.startswith(f"{prefix}.")}


def token(frame: int, patch: int) -> int:
    return 1 + frame * PATCHES + patch


def divided_block(x: Array, w: Weights, mechanism: str, act: str, rotary: bool, eps: float) -> Array:
    x, time, space = x.copy(), below(w, "temporal"), below(w, "spatial")
    for patch in range(PATCHES):
        own = [token(frame, patch) for frame in range(FRAMES)]
        angles: list[Angles] = [time_turns(frame, WIDTH) if rotary else None for frame in range(FRAMES)]
        out = attend(norm(x[own], below(time, "norm"), eps), below(time, "attn"), mechanism, angles)
        x[own] += out @ time["fc.weight"].T + time["fc.bias"]
    grid = list(itertools.product(range(ROWS), range(COLUMNS)))
    angles = [None, *(space_turns(*place, WIDTH) if rotary else None for place in grid)]
    after, copies = x.copy(), []
    for frame in range(FRAMES):
        own = [0, *(token(frame, patch) for patch in range(PATCHES))]
        out = attend(norm(x[own], below(space, "norm"), eps), below(space, "attn"), mechanism, angles)
        after[own[1:]] += out[1:]
        copies.append(out[0])
    after[0] += np.mean(copies, axis=0)
    return after + mlp(after, below(w, "mlp"), act, eps)


def whole_block(x: Array, w: Weights, name: str, mechanism: str, act: str, rotary: bool, eps: float) -> Array:
    """``joint`` over all tokens of a clip, or ``spatial`` over those of one frame."""
    grid = list(itertools.product(range(ROWS), range(COLUMNS)))
    angles: list[Angles] = [None] * len(x)
    if rotary and name == "joint":
        half = WIDTH // 2
        angles[1:] = [time_turns(f, half) + space_turns(*place, half) for f in range(FRAMES) for place in grid]
    elif rotary:
        angles[1:] = [space_turns(*place, WIDTH) for place in grid]
    x = x + attend(norm(x, below(w, f"{name}.norm"), eps), below(w, f"{name}.attn"), mechanism, angles)
    return x + mlp(x, below(w, "mlp"), act, eps)


def cut(clip_FCHW: Array, frame: int, row: int, column: int) -> Array:
    pixels = itertools.product(range(SIDE), range(SIDE), range(CHANNELS))
    return np.array([clip_FCHW[frame, c, row * SIDE + i, column * SIDE + j] for i, j, c in pixels])


def naive_logits(model: FastTimeSformer, clip_FCHW: Array) -> Array:
    config = model.config
    w: Weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    mechanism = "performer_relu" if config.performer_kernel == "relu" else config.attn_mechanism
    common = (mechanism, config.mlp_act, config.rotary_emb, config.norm_eps)
    places = list(itertools.product(range(FRAMES), range(ROWS), range(COLUMNS)))
    x = np.stack(
        [w["cls_token"], *(w["patch_embed.weight"] @ cut(clip_FCHW, *p) + w["patch_embed.bias"] for p in places)]
    )
    per_frame = config.attn_type == "space"
    streams = [x[[0, *(token(f, p) for p in range(PATCHES))]] for f in range(FRAMES)] if per_frame else [x]
    for i, x in enumerate(streams):
        if "pos_token" in w:
            streams[i] = x + w["pos_token"]
        elif "pos_space" in w:
            for f, p in itertools.product(range(1 if per_frame else FRAMES), range(PATCHES)):
                x[token(f, p)] += w["pos_space"][1 + p] + (0 if per_frame else w["pos_time"][f])
            x[0] += w["pos_space"][0]
    for i in range(config.depth):
        block = below(w, f"blocks.{i}")
        if config.attn_type == "divided":
            streams = [divided_block(x, block, *common) for x in streams]
        else:
            name = "joint" if config.attn_type == "joint" else "spatial"
            streams = [whole_block(x, block, name, *common) for x in streams]
    pooled = norm(np.mean([x[0] for x in streams], axis=0), below(w, "norm"), config.norm_eps)
    return w["head.weight"] @ pooled + w["head.bias"]


POSITIONS = ({}, {"rotary_emb": False}, {"rotary_emb": False, "learned_emb": "factored"})


@pytest.mark.parametrize("positions", POSITIONS, ids=("rotary", "token", "factored"))
@pytest.mark.parametrize("attn_type", ATTENTION_TYPES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_logits_are_those_of_the_equations(mechanism: str, attn_type: str, positions: dict[str, object]) -> None:
    model = wide_model(attn_mechanism=mechanism, attn_type=attn_type, **positions)
    _check(model)


@pytest.mark.parametrize(
    "options",
    [
        {"mlp_act": "gelu", "qkv_bias": True, "norm_eps": 1e-2, "mlp_dim": 13},
        {"mlp_dim": 7},
        {"attn_mechanism": "fastformer", "qkv_bias": True, "mlp_mult": 2},
        {"attn_mechanism": "performer", "heads": 1, "performer_features": 5},
        {"attn_mechanism": "performer", "performer_kernel": "relu", "ortho_scaling": 1},
        {"heads": 3, "attn_type": "joint"},
    ],
    ids=(
        "gelu-bias-eps-13",
        "geglu-7",
        "fastformer-bias",
        "performer-5-features",
        "performer-relu",
        "heads-wider-than-dim",
    ),
)
def test_options_are_those_of_the_equations(options: dict[str, object]) -> None:
    _check(wide_model(**options))


def _check(model: FastTimeSformer) -> None:
    clips = torch.randn(2, FRAMES, CHANNELS, ROWS * SIDE, COLUMNS * SIDE, dtype=torch.float64)
    with torch.no_grad():
        logits = model(clips).numpy()
    expected = np.stack([naive_logits(model, clip) for clip in clips.numpy()])
    assert np.abs(expected[0] - expected[1]).max() > 0.02, "the clips must differ for the comparison to mean anything"
    np.testing.assert_allclose(logits, expected, rtol=1e-11, atol=1e-11)
