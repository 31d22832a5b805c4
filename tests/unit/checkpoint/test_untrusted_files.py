"""Files from strangers: nothing in them runs, nothing in them decides how much is read, and every refusal is exit 2."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ftsf_export.checkpoint import describe_checkpoint, tensors
from ftsf_export.config import ExportConfig
from ftsf_export.errors import UsageError
from tests.unit.checkpoint.pretrained import original_names, their_model


class Touch:
    """A pickle of this runs a command of its maker's when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def refused(path: Path, *, file: str = "") -> str:
    """What is said of ``path``, naming it, or ``file`` in it."""
    with pytest.raises(UsageError) as caught:
        describe_checkpoint(path, ExportConfig())
    assert caught.value.exit_code == 2
    assert caught.value.message.startswith("checkpoint: ")
    assert str(path / file) in caught.value.message
    return caught.value.message


def write_plain(path: Path, content: Any) -> None:
    path.write_bytes(pickle.dumps(content))


def write_torch(path: Path, content: Any) -> None:
    torch.save(content, path)


def write_old(path: Path, content: Any) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [write_plain, write_torch, write_old])
@pytest.mark.parametrize("inside", ["model_state", "epoch", "head.weight"])
def test_no_code_of_a_pickle_runs(tmp_path: Path, write: Callable[[Path, Any], None], inside: str) -> None:
    mark = tmp_path / "ran"
    state = original_names(their_model())
    content: dict[str, Any] = {"model_state": state, "epoch": 1}
    (state if inside == "head.weight" else content)[inside] = Touch(mark)
    write(tmp_path / "a.pyth", content)
    assert "would run code" in refused(tmp_path / "a.pyth")
    assert not mark.exists()
    # The test itself is sound: the file does run its command where it is read without care.
    if write is write_plain:
        pickle.loads((tmp_path / "a.pyth").read_bytes())
        assert mark.exists()


def test_nor_of_a_hugging_face_bin(huggingface: Callable[..., Path], tmp_path: Path) -> None:
    folder = huggingface(weights="bin")
    write_torch(folder / "pytorch_model.bin", {"classifier.weight": Touch(tmp_path / "ran")})
    with pytest.raises(UsageError, match="would run code"):
        describe_checkpoint(folder, ExportConfig())
    assert not (tmp_path / "ran").exists()


def test_no_code_of_a_directory_runs(huggingface: Callable[..., Path], tmp_path: Path) -> None:
    """``auto_map`` is how a directory of the hub asks for its own modelling code."""
    from ftsf_export.checkpoint.huggingface_logits import huggingface_logits

    folder = huggingface()
    (folder / "evil.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForVideoClassification": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    checkpoint = describe_checkpoint(folder, ExportConfig())
    huggingface_logits(checkpoint, torch.zeros(1, 4, 3, 24, 24).numpy())
    assert not (tmp_path / "ran").exists()


def test_a_file_above_the_limit_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("opened"))
    path = tmp_path / "a.pyth"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    os.truncate(path, tensors.MAX_FILE_BYTES + 1)
    assert "bytes are read, the file has" in refused(path)


def test_a_header_above_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", tensors.MAX_HEADER_BYTES + 1) + b"{" + b" " * 64)
    assert "header of at most" in refused(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 64, struct.pack("<Q", 40) + b"{" + b"x" * 39, struct.pack("<Q", 2) + b"{}"[:1], b"PK\x03\x04junk",
     b"\x80\x02junk", b"\x80\x04" + b"\x95" * 40],
)  # fmt: skip
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    refused(tmp_path / "a")


def test_a_file_cut_short(huggingface: Callable[..., Path]) -> None:
    file = huggingface() / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(file.parent, file=file.name)


def test_an_archive_that_unpacks_to_more(tmp_path: Path) -> None:
    torch.save(original_names(their_model()), tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive, zipfile.ZipFile(
        tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED
    ) as packed:  # fmt: skip
        for entry in archive.infolist():
            packed.writestr(entry.filename, archive.read(entry))
    assert "without compression" in refused(tmp_path / "b.pth")


def test_a_tensor_of_one_number_and_any_size(tmp_path: Path) -> None:
    torch.save({"patch_embed.proj.weight": torch.zeros(1).expand(1 << 40)}, tmp_path / "a.pth")
    assert "declares tensors of 1099511627776 numbers" in refused(tmp_path / "a.pth")


def test_a_list_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save([torch.ones(2)], tmp_path / "a.pth")
    assert "expected a dictionary of tensors, got list" in refused(tmp_path / "a.pth")
    torch.save({"model_state": {"a": 1}}, tmp_path / "b.pth")
    assert "expected tensors by name" in refused(tmp_path / "b.pth")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", 10**12), ("hidden_size", "32"), ("hidden_size", True), ("num_hidden_layers", 0),
        ("num_hidden_layers", 10**9), ("num_frames", -1), ("image_size", [24, 24, 24]), ("image_size", 7),
        ("patch_size", [8, 4]), ("attention_type", "all"), ("hidden_act", "relu"), ("layer_norm_eps", "x"),
        ("layer_norm_eps", 0), ("qkv_bias", 1), ("num_attention_heads", 5), ("intermediate_size", 0),
        ("id2label", {"0": "a", "2": "b"}), ("id2label", {"0": "a\u001b[31m"}), ("id2label", [1]),
        ("model_type", "bert"), ("drop_path_rate", 2), ("num_channels", 10**6),
    ],
)  # fmt: skip
def test_a_configuration_is_read_strictly(huggingface: Callable[..., Path], field: str, value: Any) -> None:
    folder = huggingface()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, field: value}))
    with pytest.raises(UsageError) as caught:
        describe_checkpoint(folder, ExportConfig())
    # A relation of two fields is told by TimeSformerConfig, under its own names.
    assert field in caught.value.message or "height: expected a multiple of patch_size" in caught.value.message


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000, '{"a": "\\ud800"}', "x" * (5 * 2**20)]
)
def test_json_that_is_none(huggingface: Callable[..., Path], text: str) -> None:
    folder = huggingface()
    (folder / "config.json").write_text(text)
    refused(folder, file="config.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", {"height": 24, "width": 24}), ("size", 0), ("crop_size", {"height": 24}), ("do_rescale", False),
        ("rescale_factor", 1 / 127.5), ("image_mean", [0.5]), ("image_std", [0, 1, 1]), ("resample", 9),
        ("image_mean", [0.5, 0.5, 1e29]), ("image_std", [1, 1, 1e-4]), ("image_std", [1, 1, 1e4]),
        ("do_center_crop", False), ("do_normalize", "yes"),
    ],
)  # fmt: skip
def test_a_processor_that_cannot_be_followed(huggingface: Callable[..., Path], field: str, value: Any) -> None:
    folder = huggingface()
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))
    assert f"{file}: {field}: expected" in refused(folder)


def test_weights_in_several_files_or_none(huggingface: Callable[..., Path]) -> None:
    folder = huggingface()
    (folder / "model.safetensors").rename(folder / "x")
    assert "found neither" in refused(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    assert "weight_map: expected the file of each tensor" in refused(folder, file="model.safetensors.index.json")


def test_tensors_of_theirs_without_a_configuration(huggingface: Callable[..., Path], tmp_path: Path) -> None:
    file = huggingface() / "model.safetensors"
    assert describe_checkpoint(file, ExportConfig()).found.kind == "Hugging Face"
    (tmp_path / "alone").mkdir()
    assert "no config.json beside" in refused(Path(file.rename(tmp_path / "alone" / "model.safetensors")))
