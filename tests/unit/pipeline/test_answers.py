"""Answers in files that grow, and what a later run reads of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from ftsf_export.class_scores import ClassScore
from ftsf_export.errors import OutputError, UsageError
from ftsf_export.pipeline.answers import Answer, AnswerFile, Kept, RightClass, csv_head, kept_of

HOSTILE = 'a,"b"\n\x1b[2J\u202e.mp4'


def answer(video: str = "a.mp4", **changes: Any) -> Answer:
    fields: dict[str, Any] = {
        "video": video,
        "frames": ((0, 4), (1, 5)),
        "topk": (ClassScore(3, "archery", 0.75), ClassScore(1, "juggling", 0.25)),
        "runner": "onnxruntime-cpu",
        "decoded": 9,
        "right": RightClass(index=1, label="juggling", rank=2),
        "warnings": ("cut short",),
    }
    return Answer(**{**fields, **changes})


@pytest.fixture(params=[False, True], ids=["json", "csv"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> AnswerFile:
    return AnswerFile(tmp_path / "answers", as_csv=request.param, top_k=2)


def again(file: AnswerFile) -> AnswerFile:
    return AnswerFile(file.path, as_csv=file._as_csv, top_k=2)


def write(file: AnswerFile, *answers: Answer, resume: bool = False, overwrite: bool = False) -> None:
    with file.opened(resume=resume, overwrite=overwrite):
        for one in answers:
            file.write(one)


def test_each_line_is_on_the_disk_when_it_is_written(file: AnswerFile) -> None:
    with file.opened(resume=False, overwrite=False):
        for count in (1, 2):
            file.write(answer(f"{count}.mp4"))
            lines = file.path.read_text(encoding="utf-8").splitlines()
            assert len(lines) == count + file._as_csv
            assert f"{count}.mp4" in lines[-1]


def test_what_was_written_is_known_later(file: AnswerFile) -> None:
    write(file, answer(), answer(HOSTILE, right=None))
    later = again(file)
    write(later, answer(), answer("c.mp4"), resume=True)
    assert kept_of([later], "a.mp4") == Kept("a.mp4", 3, (1, 2))
    kept = kept_of([later], HOSTILE)
    assert kept is not None
    assert (kept.best, kept.right) == (3, None)
    assert kept_of([later], "c.mp4") is None
    assert file.path.read_text(encoding="utf-8").count("a.mp4") == 1, "each video once"
    assert len(file.path.read_text(encoding="utf-8").splitlines()) == 3 + file._as_csv


@pytest.mark.parametrize("left", [1, 20])
def test_a_line_that_a_killed_run_left_unfinished_is_written_anew(file: AnswerFile, left: int) -> None:
    write(file, answer(), answer("b.mp4"))
    content = file.path.read_bytes()
    file.path.write_bytes(content[:-left])
    later = again(file)
    write(later, answer("b.mp4"), resume=True)
    assert set(later.kept) == {"a.mp4"}
    assert file.path.read_bytes() == content


def test_a_file_that_is_there_is_replaced_when_asked_alone(file: AnswerFile) -> None:
    write(file, answer(), answer("b.mp4"))
    with pytest.raises(OutputError, match="is there already"):
        write(again(file), answer())
    write(again(file), answer("c.mp4"), overwrite=True)
    assert "a.mp4" not in file.path.read_text(encoding="utf-8")


def test_a_strangers_file_is_not_appended_to(file: AnswerFile) -> None:
    for text in ("diary\n", '{"video": "a.mp4"}\n', "[]\n"):
        file.path.write_text(text)
        with pytest.raises(UsageError, match="line 1: expected an answer as this command writes it"):
            write(again(file), answer(), resume=True)
        assert file.path.read_text() == text


def test_two_runs_do_not_write_into_one_file(file: AnswerFile) -> None:
    with file.opened(resume=False, overwrite=False):
        file.write(answer())
        for options in ({"resume": True, "overwrite": False}, {"resume": False, "overwrite": True}):
            with (
                pytest.raises(OutputError, match="another run is writing into it"),
                again(file).opened(**options),
            ):
                pass
    assert "a.mp4" in file.path.read_text(encoding="utf-8")


def test_what_fails_beside_it_is_not_taken_for_the_files_fault(file: AnswerFile) -> None:
    with pytest.raises(FileNotFoundError), file.opened(resume=False, overwrite=False):
        raise FileNotFoundError("elsewhere")


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    file = AnswerFile(tmp_path / "missing" / "answers", as_csv=False, top_k=2)
    with pytest.raises(OutputError, match="cannot write the answers"):
        write(file, answer())


def test_only_what_all_files_have_is_left_out(tmp_path: Path) -> None:
    first, second = (AnswerFile(tmp_path / name, as_csv=name == "c", top_k=2) for name in "jc")
    write(first, answer(), answer("b.mp4"))
    write(second, answer())
    files = [again(first), again(second)]
    for one in files:
        write(one, resume=True)
    assert [kept_of(files, name) is not None for name in ("a.mp4", "b.mp4")] == [True, False]
    assert kept_of([], "a.mp4") is None


def test_a_line_of_json_and_a_row_of_csv_say_the_same() -> None:
    told = json.loads(answer().json_line())
    assert told["topk"][0] == {"index": 3, "label": "archery", "score": 0.75}
    assert (told["frames"], told["right"]["rank"], told["warnings"]) == ([[0, 4], [1, 5]], 2, ["cut short"])
    row = dict(zip(csv_head(2), answer().csv_row(), strict=True))
    assert (row["index_1"], row["label_2"], row["score_2"]) == ("3", "juggling", "0.250000")
    assert (row["frames"], row["rank"], row["warnings"]) == ("0 4;1 5", "2", "cut short")


def test_names_of_strangers_stay_on_their_line() -> None:
    one = answer(HOSTILE)
    assert "\n" not in one.json_line()
    assert "\x1b" not in one.json_line() + "".join(one.csv_row())
    assert json.loads(one.json_line())["video"] == HOSTILE
    assert "\n" not in "".join(one.csv_row())
    assert next(csv.reader(["x"])) == ["x"]
