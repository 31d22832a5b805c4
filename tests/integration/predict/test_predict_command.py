"""``ftsf predict`` from the command line: what it answers, how it exits, how it is interrupted and goes on."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ftsf_export import Bundle, predict
from ftsf_export.class_scores import best_classes, scores_from_logits
from ftsf_export.cli.main import ftsf, run
from ftsf_export.errors import ConfigError
from ftsf_export.pipeline import classifier
from ftsf_export.runners.driver import Gpu
from ftsf_export.runners.onnxruntime import OnnxRuntimeRunner
from ftsf_export.video.preprocess import preprocess
from ftsf_export.video.video_clips import sampled_as
from ftsf_export.video.views import crops_of
from tests.integration.predict.conftest import CLASSES, lines_of

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    def call(*args: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(ftsf, ["predict", *map(str, args)], "ftsf")
        out, err = capfd.readouterr()
        return code, out, err

    return call


def expected_scores(bundle: Path, path: Path, sampling: str | None, frames: Sequence[Sequence[int]], crops: int) -> Any:
    """By hand: PyAV decodes all, the views are cut out, ONNX Runtime in this process gives the logits of each."""
    opened = Bundle.open(bundle)
    how = sampled_as(opened.manifest.preprocessing, sampling)
    with av.open(str(path)) as container:
        pixels = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    scores = []
    with opened.graph_copy() as graph, OnnxRuntimeRunner(graph) as runner:
        for view, indices in enumerate(frames):
            clip = preprocess([pixels[index] for index in indices], how)
            if crops == 3:
                # A frame of 40 x 48 becomes one of 32 x 38; the centre is where preprocess cuts by itself.
                left = (0, 3, 6)[view % 3]
                assert [box.left for box in crops_of(how, 32, 38, 3)] == [0, 3, 6]
                wide = preprocess([pixels[index] for index in indices], _wider(how))
                clip = wide[..., left : left + 32]
            scores.append(scores_from_logits(runner.infer({"clip": clip[None]})["logits"])[0])
    return np.mean(scores, axis=0)


def _wider(how: Any) -> Any:
    from dataclasses import replace

    return replace(how, crop=(32, 38))


@pytest.mark.parametrize(
    ("sampling", "clips", "crops", "frames"),
    [
        ("uniform", 1, 1, [[1, 4]]),
        ("stride:3", 1, 1, [[1, 4]]),
        (None, 1, 1, [[0, 5]]),
        ("stride:1", 2, 3, [[1, 2]] * 3 + [[3, 4]] * 3),
    ],
)
def test_an_answer_is_that_of_the_model_on_exactly_these_frames(
    bundle: Path, videos: Path, say: Say, sampling: str | None, clips: int, crops: int, frames: list[list[int]]
) -> None:
    options = ["--clips", str(clips), "--crops", str(crops), *(["--sampling", sampling] if sampling else [])]
    path = videos / "good-1.mp4"
    code, out, err = say(bundle, path, "--json", "--top-k", CLASSES, *options)
    assert code == 0, err
    answer, summary = lines_of(out)
    assert (answer["video"], answer["frames"], answer["runner"]) == (str(path), frames, "onnxruntime-cpu")
    expected = best_classes(expected_scores(bundle, path, sampling, frames, crops), count=CLASSES)
    assert [one["index"] for one in answer["topk"]] == [one.index for one in expected]
    np.testing.assert_allclose([one["score"] for one in answer["topk"]], [one.score for one in expected], rtol=1e-5)
    assert (summary["videos"], summary["classified"], summary["exit_code"]) == (1, 1, 0)
    assert summary["random_weights"] is answer["random_weights"] is True


def test_a_graph_of_decoded_frames_answers_alike(bundle: Path, grey_bundle: Path, videos: Path) -> None:
    """uint8 in, no fewer than four clips in a call: two videos of three views are cut into two calls."""
    sources = [videos / "good-0.mp4", videos / "good-1.mp4"]
    found = {
        path: {one.video: one for one in predict(path, sources, crops=3, top_k=CLASSES).answers}
        for path in (bundle, grey_bundle)
    }
    assert found[bundle].keys() == found[grey_bundle].keys()
    for name, expected in found[bundle].items():
        got = found[grey_bundle][name]
        assert got.frames == expected.frames
        assert [one.index for one in got.topk] == [one.index for one in expected.topk]
        np.testing.assert_allclose([o.score for o in got.topk], [o.score for o in expected.topk], rtol=1e-5)


def test_many_videos_give_a_line_each_and_the_errors_at_the_end(bundle: Path, videos: Path, say: Say) -> None:
    code, out, err = say(bundle, videos, "--json")
    assert code == 1
    *answers, summary = lines_of(out)
    assert sorted(Path(answer["video"]).name for answer in answers) == [f"good-{number}.mp4" for number in range(5)]
    assert all(len(answer["topk"]) == 5 for answer in answers)
    assert sorted(Path(error["video"]).name for error in summary["errors"]) == ["bad-empty.avi", "bad-text.mp4"]
    assert (summary["videos"], summary["classified"]) == (7, 5)
    said = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(said) == 3
    assert "bad-empty.avi" in said[0] + said[1]
    assert said[2] == "error: 2 of 7 videos could not be classified; each is named above"


@pytest.mark.parametrize("names", [["bad-text.mp4"], ["bad-text.mp4", "bad-empty.avi"], ["missing.mp4"]])
def test_nothing_readable_is_2(bundle: Path, videos: Path, say: Say, names: list[str]) -> None:
    code, out, err = say(bundle, *(videos / name for name in names), "--json")
    assert code == 2
    (summary,) = lines_of(out)
    assert [Path(error["video"]).name for error in summary["errors"]] == names or len(names) > 1
    assert err.count("error:") == (1 if len(names) == 1 else len(names) + 1)


def test_a_cut_video_is_answered_with_a_warning(bundle: Path, videos: Path, say: Say, tmp_path: Path) -> None:
    whole = (videos / "good-0.mp4").read_bytes()
    with av.open(str(videos / "good-0.mp4")) as source, av.open(str(tmp_path / "whole.mkv"), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    whole = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    code, out, err = say(bundle, tmp_path / "cut.mkv", "--json")
    assert code == 0, err
    answer = lines_of(out)[0]
    assert answer["decoded"] < 6
    assert "cut short" in answer["warnings"][0]
    assert "warning:" in err


def test_a_table_for_people(bundle: Path, videos: Path, say: Say) -> None:
    code, out, _ = say(bundle, videos / "good-*.mp4", "--sampling", "uniform")
    assert code == 0
    head, *rows = out.splitlines()
    assert head.split() == ["video", "class", "score", "next"]
    assert sum("good-" in row for row in rows) == 5
    assert "weights    random, seed 0: the class scores mean nothing" in rows
    assert any(row.startswith("runner     onnxruntime-cpu") for row in rows)
    code, out, _ = say(bundle, videos / "good-0.mp4", "--top-k", 3)
    assert [line.split()[1] for line in out.splitlines()[1:4]] == ["class"] * 3


def test_csv_on_stdout_and_in_a_file(bundle: Path, videos: Path, say: Say, tmp_path: Path) -> None:
    code, out, err = say(bundle, videos / "good-*.mp4", "--top-k", 2, "--csv")
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 5
    assert all(0 < float(row["score_2"]) <= float(row["score_1"]) < 1 for row in rows)
    assert say(bundle, videos / "good-*.mp4", "--csv", tmp_path / "a.csv", "--json")[0] == 0
    assert len(list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))) == 5
    code, _, err = say(bundle, videos / "good-0.mp4", "--csv", "--json")
    assert (code, "both write to stdout" in err) == (2, True)


def test_an_option_before_the_sources_does_not_swallow_a_video(bundle: Path, videos: Path, say: Say) -> None:
    code, _, err = say(bundle, "--csv", videos / "good-0.mp4", videos / "good-1.mp4")
    assert code == 2
    assert "is there already" in err
    assert (videos / "good-0.mp4").stat().st_size > 1000


def test_accuracy_where_classes_are_known(bundle: Path, videos: Path, say: Say, tmp_path: Path) -> None:
    """Each video's own answer as its class for three, another for one, one unknown, one left out."""
    answers = {Path(a["video"]).name: a for a in lines_of(say(bundle, videos / "good-*.mp4", "--json")[1])[:-1]}
    names = tuple(f"name {index}" for index in range(CLASSES))
    (tmp_path / "labels.txt").write_text("\n".join(names))
    best = {name: answer["topk"][0]["index"] for name, answer in answers.items()}
    second = answers["good-3.mp4"]["topk"][1]["index"]
    told = [*(names[best[f"good-{number}.mp4"]] for number in range(3)), str(second), "juggling"]
    (tmp_path / "val.csv").write_text("".join(f"{videos}/good-{i}.mp4,{label}\n" for i, label in enumerate(told)))
    code, out, err = say(bundle, tmp_path / "val.csv", "--labels", tmp_path / "labels.txt", "--json")
    assert code == 0, err
    accuracy = lines_of(out)[-1]["accuracy"]
    assert (accuracy["top1"]["right"], accuracy["top1"]["of"], accuracy["top5"]["right"]) == (3, 4, 4)
    assert accuracy["worst"][0]["taken_for"] == names[best["good-3.mp4"]]
    assert "'juggling'; the accuracy is that of the others" in err
    found = {Path(answer["video"]).name: answer for answer in lines_of(out)[:-1]}
    assert found["good-3.mp4"]["right"] == {"index": second, "label": names[second], "rank": 2}
    assert found["good-0.mp4"]["topk"][0]["label"] == told[0]
    _, text, _ = say(bundle, tmp_path / "val.csv", "--labels", tmp_path / "labels.txt")
    assert "top-1      75.0%, 3 of 4 (95 % interval 30.1% to 95.4%)" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sampling", "every"], "sampling: expected uniform or stride:S"),
        (["--sampling", "stride:0"], "sampling: expected uniform or stride:S"),
        (["--crops", "2"], "crops: expected one of 1, 3, got 2"),
        (["--top-k", "0", "--runner", "cpu"], "top_k: expected a whole number of at least 1, got 0"),
        (["--resume"], "resume: goes on with a file of answers"),
        (["--labels", "missing.txt"], "missing.txt: expected a file of class names, found nothing there"),
    ],
)
def test_wrong_options_are_2_before_anything_is_read(
    bundle: Path, videos: Path, say: Say, options: list[str], said: str
) -> None:
    code, _, err = say(bundle, videos, *options)
    assert code == 2
    assert said in err


def test_readers_that_do_not_start_are_no_fault_of_the_videos(
    bundle: Path, videos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, say: Say
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['ftsf_export.video.reader'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, _, err = say(bundle, videos)
    assert code == 4
    assert "error: the process that reads videos failed: ModuleNotFoundError" in err
    assert "Traceback" not in err


def test_without_pyav_it_is_said_what_to_install(
    bundle: Path, videos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, say: Say
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['av'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, _, err = say(bundle, videos)
    assert code == 3
    assert "ftsf-export[video]" in err


def test_an_engine_that_was_asked_for_needs_a_gpu(bundle: Path, videos: Path, say: Say) -> None:
    code, _, err = say(bundle, videos, "--runner", "rtx")
    assert code == 3
    assert "a GPU is needed to run an engine with rtx" in err


def test_a_better_way_that_does_not_work_is_named_and_the_next_one_taken(
    bundle: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime lists CUDA also where its libraries do not load."""
    gpu = Gpu(name="NVIDIA L4", capability="8.9", memory_bytes=1, driver_version="580", cuda_version="13.0")
    monkeypatch.setattr(classifier, "first_gpu", lambda: gpu)
    found = predict(bundle, videos / "good-0.mp4")
    assert found.answers[0].runner == found.summary.runner == "onnxruntime-cpu"
    (reason,) = found.summary.passed_over
    assert reason.startswith("onnxruntime-cuda: ")
    assert "CUDAExecutionProvider" in reason


def test_resume_answers_the_rest_and_counts_what_was_there(
    bundle: Path, videos: Path, say: Say, tmp_path: Path
) -> None:
    out_file = tmp_path / "answers.jsonl"
    assert say(bundle, videos / "good-[01].mp4", "-o", out_file)[0] == 0
    code, out, err = say(bundle, videos / "good-*.mp4", "-o", out_file, "--resume", "--json")
    assert code == 0, err
    *answers, summary = lines_of(out)
    assert sorted(Path(answer["video"]).name for answer in answers) == ["good-2.mp4", "good-3.mp4", "good-4.mp4"]
    assert (summary["resumed"], summary["classified"], summary["videos"]) == (2, 3, 5)
    kept = lines_of(out_file.read_text())
    assert sorted(Path(answer["video"]).name for answer in kept) == [f"good-{number}.mp4" for number in range(5)]
    code, out, _ = say(bundle, videos / "good-*.mp4", "-o", out_file, "--resume", "--json")
    assert (code, len(lines_of(out)), lines_of(out)[0]["resumed"]) == (0, 1, 5)
    assert say(bundle, videos, "-o", out_file)[0] == 2


@pytest.mark.parametrize("form", ["--json", "--csv", "-q"])
def test_whoever_reads_no_further_ends_it_without_a_word(bundle: Path, videos: Path, form: str) -> None:
    """As `ftsf predict ... | head -1` does: the shell's 141, not the 1 of videos that cannot be read."""
    command = [sys.executable, "-m", "ftsf_export.cli", "predict", bundle, videos / "good-*.mp4", form]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        said = child.stderr.read()
    assert child.returncode == 141
    assert "error" not in said
    assert "Traceback" not in said


def test_ctrl_c_ends_in_time_keeps_what_is_finished_and_resume_goes_on(
    bundle: Path, tmp_path: Path, write_video: Any
) -> None:
    names = [write_video(tmp_path / "v" / f"{number:03}.mp4", number, frames=400) for number in range(2)]
    for number in range(2, 400):
        os.link(names[number % 2], tmp_path / "v" / f"{number:03}.mp4")
    out_file = tmp_path / "answers.jsonl"
    command = [sys.executable, "-m", "ftsf_export.cli", "predict", bundle, tmp_path / "v", "-o", out_file, "--json"]
    child = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # A run in the background of a script ignores it, and so does all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert child.stdout is not None
    printed = [child.stdout.readline() for _ in range(3)]
    os.killpg(child.pid, signal.SIGINT)
    began = time.monotonic()
    out, err = child.communicate(timeout=20)
    # Two seconds on a machine that does nothing else; a run that went on would take longer than this.
    assert time.monotonic() - began < 10
    assert child.returncode == 130
    assert "Traceback" not in err
    *rest, last = lines_of("".join(printed) + out)
    assert last == {"error": "interrupted", "exit_code": 130}
    kept = lines_of(out_file.read_text())
    assert 3 <= len(kept) < 400
    assert {answer["video"] for answer in rest} <= {answer["video"] for answer in kept}
    before = {answer["video"] for answer in kept}
    few = sorted(path for path in map(str, (tmp_path / "v").iterdir()) if path not in before)[:3]
    found = predict(bundle, [*before, *few], output=out_file, resume=True)
    assert (found.summary.resumed, sorted(answer.video for answer in found.answers)) == (len(before), few)


def test_from_python(bundle: Path, videos: Path) -> None:
    found = predict(bundle, [videos / "good-0.mp4", str(videos / "bad-text.mp4")], top_k=2, sampling="uniform")
    (answer,) = found.answers
    assert (len(answer.topk), answer.frames) == (2, ((1, 4),))
    assert [Path(error.video).name for error in found.summary.errors] == ["bad-text.mp4"]
    seen: list[str] = []
    streamed = predict(bundle, videos, on_answer=lambda one: seen.append(one.video))
    assert (streamed.answers, len(seen)) == ((), 5)
    with pytest.raises(ConfigError, match="clips: expected a whole number from 1 to 1000, got 0"):
        predict(bundle, videos, clips=0)


def test_a_reader_that_dies_costs_one_video(
    bundle: Path, videos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A decoder that crashes: the others are read by a new process."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        "from ftsf_export.video import reader\n"
        "honest = reader.clips_from_video\n"
        "def crashing(path, *args, **options):\n"
        "    if path.name == 'good-2.mp4':\n"
        "        os.abort()\n"
        "    return honest(path, *args, **options)\n"
        "reader.clips_from_video = crashing\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = predict(bundle, [videos / f"good-{number}.mp4" for number in range(5)], workers=1)
    assert len(found.answers) == 4
    (error,) = found.summary.errors
    assert Path(error.video).name == "good-2.mp4"
    assert "good-2.mp4: reading it died (SIGABRT)" in error.error
