"""Small bundles to verify, and ways to alter them. One export for each kind, copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from fast_timesformer.model import FastTimeSformer
from ftsf_export import ExportConfig, export
from ftsf_export.bundle import ONNX_NAME
from ftsf_export.bundle.golden import Golden, read_golden, write_golden
from tests.unit.manifests import rehash

Alter = Callable[[np.ndarray], None]
MakeBundle = Callable[..., Path]
SMALL = {"frames": 2, "size": 32, "patch_size": 16, "dim": 64, "depth": 2, "dim_head": 32, "num_classes": 40}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _telling_model(attn: str) -> FastTimeSformer:
    """A model in which every attention matters: with fresh weights some parts are lost in half precision's rounding."""
    torch.manual_seed(3)
    model = FastTimeSformer(
        frames=2, channels=3, height=32, width=32, num_classes=40, dim=64, depth=2, dim_head=32, attn_mechanism=attn
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("to_qkv.weight", "to_out.weight")):
                parameter.mul_(8)
    return model.eval()


@pytest.fixture(scope="session")
def _exported(tmp_path_factory: pytest.TempPathFactory) -> MakeBundle:
    made: dict[tuple[object, ...], Path] = {}

    def make(attn: str = "fastformer", precision: str = "fp16", *, batch: str = "1") -> Path:
        key = (attn, precision, batch)
        if key not in made:
            config = ExportConfig(attn=attn, precision=precision, batch=batch, builder="none", **SMALL)
            made[key] = export(
                config, model=_telling_model(attn), output=tmp_path_factory.mktemp("exported") / "bundle"
            ).path
        return made[key]

    return make


@pytest.fixture
def bundle(_exported: MakeBundle, tmp_path: Path) -> MakeBundle:
    """A copy of one's own: ``bundle(attn, precision, batch="1")``, of ``_telling_model``."""

    def copy(*args: object, **options: object) -> Path:
        shutil.copytree(_exported(*args, **options), tmp_path / "bundle")
        return tmp_path / "bundle"

    return copy


@pytest.fixture
def alter() -> Callable[..., None]:
    """Alters weights of the bundle's graph in place, the manifest re-hashed: ``alter(root, ["head.weight"], how)``."""

    def apply(root: Path, names: Sequence[str], how: Alter) -> None:
        model = onnx.load(root / ONNX_NAME)
        by_name = {tensor.name: tensor for tensor in model.graph.initializer}
        for name in names:
            value = numpy_helper.to_array(by_name[name]).copy()
            how(value)
            by_name[name].CopyFrom(numpy_helper.from_array(value, name))
        onnx.save(model, root / ONNX_NAME)
        rehash(root)

    return apply


@pytest.fixture
def rewrite_golden() -> Callable[..., None]:
    """Writes the bundle's reference values anew, with changes, the manifest re-hashed."""

    def apply(root: Path, **changes: object) -> Golden:
        golden = replace(read_golden(root / "golden.npz"), **changes)
        write_golden(
            root / "golden.npz",
            clip=golden.clip,
            logits=golden.logits,
            sources=golden.sources,
            labels=golden.labels,
            taps=golden.taps,
            weights=golden.weights,
            contrast=golden.contrast,
            noise=golden.noise,
        )
        rehash(root)
        return golden

    return apply
