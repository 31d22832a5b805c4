"""Weights on disk: a round trip, strict loading, whole files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fast_timesformer import FastTimeSformer, WeightsError, load_model, load_weights, save_model, weights


def tiny(**options: object) -> FastTimeSformer:
    values = {"dim": 32, "dim_head": 16, "patch_size": 8, "depth": 1, "attn_mechanism": "performer", **options}
    return FastTimeSformer(2, 3, 16, 16, 4, **values)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(tiny(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_model_survives_the_round_trip(tmp_path: Path, dtype: torch.dtype) -> None:
    model = tiny(qkv_bias=True, performer_features=7, norm_eps=1e-6).to(dtype)
    save_model(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert again.config == model.config
    assert {name: t.dtype for name, t in again.state_dict().items()} == dict.fromkeys(model.state_dict(), dtype)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    x = torch.randn(1, 2, 3, 16, 16, dtype=dtype)
    assert torch.equal(model.eval()(x), again.eval()(x))


def test_the_same_model_gives_the_same_bytes_and_no_litter(saved: Path) -> None:
    before = saved.read_bytes()
    save_model(load_model(saved), saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_failed_write_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_model(tiny(depth=2), saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_what_does_not_fit_is_named_and_nothing_is_loaded(saved: Path) -> None:
    tensors = load_file(saved)
    del tensors["cls_token"]
    tensors["extra"] = torch.zeros(3)
    tensors["head.bias"] = torch.zeros(9)
    tensors["norm.weight"] = torch.zeros(32, dtype=torch.int64)
    tensors["norm.bias"] = torch.full((32,), 7.0)
    save_file(tensors, saved, metadata=_metadata(saved))
    model = tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for load in (lambda: load_weights(model, saved), lambda: load_model(saved)):
        with pytest.raises(WeightsError) as caught:
            load()
        for part in (
            f"{saved}: 4 tensors do not fit",
            "missing cls_token (32,)",
            "unknown extra (3,)",
            "norm.weight: expected a floating type, got torch.int64",
            "; and 1 more",
        ):
            assert part in str(caught.value)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())


def test_another_shape_is_named(saved: Path) -> None:
    save_file({**load_file(saved), "head.bias": torch.zeros(9)}, saved, metadata=_metadata(saved))
    with pytest.raises(
        WeightsError, match=r"1 tensors do not fit the model: head\.bias: expected shape \(4,\), got \(9,\)"
    ):
        load_model(saved)


def test_load_weights_keeps_the_models_type_and_asks_no_configuration(tmp_path: Path) -> None:
    source, target = tiny(), tiny().double()
    save_file(source.state_dict(), tmp_path / "bare.safetensors")
    load_weights(target, tmp_path / "bare.safetensors")
    assert torch.equal(target.head.weight, source.head.weight.double())
    with pytest.raises(WeightsError, match=r"expected a model configuration in the metadata .*use load_weights"):
        load_model(tmp_path / "bare.safetensors")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("{", "configuration in the metadata is wrong"),
        ("[]", "configuration in the metadata is wrong"),
        ("{}", "configuration in the metadata is wrong"),
        ('{"schema_version": 1, "config": 3}', "configuration in the metadata is wrong"),
        ('{"schema_version": 2, "config": {}}', "expected schema_version 1, got 2"),
        ('{"schema_version": 1, "config": {"frames": 1}}', "channels: missing"),
    ],
)
def test_a_wrong_configuration_is_named(saved: Path, metadata: str, message: str) -> None:
    save_file(load_file(saved), saved, metadata={"fast_timesformer": metadata})
    with pytest.raises(WeightsError, match=message):
        load_model(saved)


def test_other_files_are_refused(saved: Path, tmp_path: Path) -> None:
    torch.save(tiny().state_dict(), tmp_path / "model.pt")
    saved.write_bytes(saved.read_bytes()[:-5])
    (tmp_path / "empty").touch()
    for name in ("model.pt", saved.name, "empty"):
        with pytest.raises(WeightsError, match="expected a safetensors file"):
            load_model(tmp_path / name)
    for name, kind in (("absent", FileNotFoundError), (".", IsADirectoryError)):
        with pytest.raises(kind):
            load_model(tmp_path / name)


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["fast_timesformer"])["schema_version"] == 1
    return dict(metadata)
