"""The clean inputs that are forged: made once, each of the smallest size at which every part is there."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

SMALL = {"dim": 64, "depth": 1, "frames": 2, "size": 32, "num_classes": 10}
LABELS = ("walk", "run", "jump", "sit", "stand", "wave", "throw", "catch", "lift", "fall")
BUNDLES = ("fp32", "fp16")
CHECKPOINTS = {"own": "own.safetensors", "pyth": "model.pyth", "hf": "hf"}
VIDEOS = {
    "clip.mp4": "libx264",
    "clip.mkv": "libx264",
    "clip.avi": "mpeg4",
    "clip.webm": "libvpx",
    "clip.mpg": "mpeg2video",
}
_FRAMES = 6


def make_clean(folder: Path) -> None:
    """All clean inputs below ``folder``: two bundles, three checkpoints, videos."""
    for make in (_own, _pyth_and_hf, _videos, _bundles):
        print(f"clean inputs: {make.__name__.strip('_')}", file=sys.stderr)
        make(folder)


def lay(clean: Path, base: str, work: Path) -> None:
    """The clean input ``base`` in the folder of work, where a forged one would lie."""
    if base in BUNDLES:
        shutil.copytree(clean / base, work / "bundle")
    else:
        shutil.copytree(clean / base, work, dirs_exist_ok=True)


def _own(folder: Path) -> None:
    import torch

    from fast_timesformer.config import TimeSformerConfig
    from fast_timesformer.model import FastTimeSformer
    from fast_timesformer.weights import save_model

    torch.manual_seed(1)
    config = TimeSformerConfig(2, 3, 32, 32, 10, dim=64, depth=1, attn_mechanism="regular")
    model = FastTimeSformer.from_config(config).eval()
    (folder / "own").mkdir(parents=True)
    save_model(
        model, folder / "own" / CHECKPOINTS["own"], labels=LABELS, preprocessing={"mean": [0.5] * 3, "std": [0.25] * 3}
    )


def _pyth_and_hf(folder: Path) -> None:
    from tests.unit.checkpoint.pretrained import their_model, write_huggingface, write_pyth

    model = their_model(num_hidden_layers=1, num_frames=2, num_labels=len(LABELS), id2label=dict(enumerate(LABELS)))
    (folder / "pyth").mkdir()
    write_pyth(folder / "pyth" / CHECKPOINTS["pyth"], model)
    write_huggingface(folder / "hf" / CHECKPOINTS["hf"], model)


def _videos(folder: Path) -> None:
    import av
    import numpy as np

    (folder / "video").mkdir()
    shutil.copy(folder / "own" / CHECKPOINTS["own"], folder / "video")
    draw = np.random.default_rng(0)
    for name, codec in VIDEOS.items():
        with av.open(str(folder / "video" / name), "w", options={"fflags": "+bitexact"}) as container:
            stream = container.add_stream(codec, rate=25, options={"threads": "1"})
            stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
            for _ in range(_FRAMES):
                pixels = draw.integers(0, 255, (32, 48, 3), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
    (folder / "held" / "held" / "walk").mkdir(parents=True)
    shutil.copy(folder / "own" / CHECKPOINTS["own"], folder / "held")
    shutil.copy(folder / "video" / "clip.mp4", folder / "held" / "held" / "walk")


def _bundles(folder: Path) -> None:
    from ftsf_export import ExportConfig, export

    own = folder / "own" / CHECKPOINTS["own"]
    export(ExportConfig(checkpoint=own, precision="fp32", builder="none"), output=folder / "fp32")
    export(
        ExportConfig(attn="fastformer", precision="fp16", builder="rtx", targets=("rtx-30",), batch="1:1:2", **SMALL),
        output=folder / "fp16",
    )
