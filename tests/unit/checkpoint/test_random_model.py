"""Random weights come from the seed alone, and drawing them touches nobody else's randomness."""

from __future__ import annotations

import torch

from ftsf_export.checkpoint.load import load_model
from ftsf_export.config import ExportConfig

SMALL = ExportConfig(attn="performer", frames=2, size="32x48", dim=64, dim_head=16, depth=1, num_classes=5, seed=3)


def test_the_seed_says_every_weight() -> None:
    torch.manual_seed(11)
    first = load_model(SMALL).state_dict()
    torch.manual_seed(12)
    second = load_model(SMALL).state_dict()
    other = load_model(SMALL.replaced(seed=4)).state_dict()
    assert first.keys() == second.keys() == other.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    # FAVOR+'s projection is drawn too.
    for name in ("head.weight", "blocks.0.spatial.attn.omega"):
        assert not torch.equal(first[name], other[name])


def test_the_global_random_state_is_left_as_it_was() -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    load_model(SMALL)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_model_that_was_asked_for() -> None:
    model = load_model(SMALL.replaced(attn="regular", attn_type="joint", rotary=False, heads=2))
    config = model.config
    assert (config.frames, config.channels, config.height, config.width, config.num_classes) == (2, 3, 32, 48, 5)
    assert (config.attn_mechanism, config.attn_type, config.rotary_emb, config.num_heads) == (
        "regular",
        "joint",
        False,
        2,
    )
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
