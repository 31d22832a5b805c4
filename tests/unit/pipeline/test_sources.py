"""What may be named as a source of videos, and which videos it gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsf_export.errors import UsageError
from ftsf_export.pipeline.labels import ClassNumbers, labels_from_file
from ftsf_export.pipeline.sources import videos_of

LABELS = ("archery", "riding a bike", "7")
known = ClassNumbers(LABELS, 3)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path, *sources: str) -> list[tuple[str, str | None]]:
    """Each video's path below ``folder``, and its class."""
    videos = videos_of([source if source[0] == "@" else str(folder / source) for source in sources], known).found
    return [(str(video.path.relative_to(folder)), video.label) for video in videos]


def test_files_folders_and_patterns_give_each_video_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b/2.MKV", "b/1.webm", "b/notes.txt", "b/.hidden.mp4", "b/.git/x.mp4", "b/deep/3.ts")
    whole = [("b/1.webm", None), ("b/2.MKV", None), ("b/deep/3.ts", None)]
    assert found(tmp_path, "b") == whole
    assert found(tmp_path, "a.mp4", "b", "b/1.webm", "./a.mp4") == [("a.mp4", None), *whole]
    assert found(tmp_path, "*") == [("a.mp4", None), *whole]
    assert found(tmp_path, "**/*.*") == [("a.mp4", None), *whole]
    assert found(tmp_path, "b/*.txt") == [("b/notes.txt", None)], "what was asked for by name"
    assert found(tmp_path, "missing.mp4") == [("missing.mp4", None)], "an error of this video, not of the run"


def test_a_name_that_looks_like_a_pattern_is_a_name_where_such_a_file_is(tmp_path: Path) -> None:
    touch(tmp_path, "take[1].mp4", "take1.mp4", "@one.mp4")
    assert found(tmp_path, "take[1].mp4") == [("take[1].mp4", None)]
    assert videos_of([str(tmp_path / "@one.mp4")], known).found[0].path.name == "@one.mp4"


def test_class_folders_say_the_class_where_all_are_the_models(tmp_path: Path) -> None:
    touch(tmp_path, "archery/1.mp4", "riding_a_bike/1.mp4", "2/1.mp4")
    assert {label for _, label in found(tmp_path, ".")} == {"archery", "riding_a_bike", "2"}
    touch(tmp_path, "juggling/1.mp4")
    videos = videos_of([str(tmp_path)], known)
    assert {video.label for video in videos.found} == {None}
    assert "'juggling' is not one of the model's" in videos.remarks[0]


def test_a_list_has_a_path_a_line(tmp_path: Path) -> None:
    touch(tmp_path, "videos/a b.mp4", "videos/c.mp4")
    (tmp_path / "videos" / "list.txt").write_text("\ufeffa b.mp4\n\n  c.mp4  \n")
    assert found(tmp_path, f"@{tmp_path}/videos/list.txt") == [("videos/a b.mp4", None), ("videos/c.mp4", None)]


def test_a_relative_path_is_looked_for_beside_the_list_and_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "here/a.mp4", "lists/b.mp4")
    (tmp_path / "lists" / "l.txt").write_text("a.mp4\nb.mp4\nc.mp4\n")
    monkeypatch.chdir(tmp_path / "here")
    paths = [str(video.path) for video in videos_of([f"@{tmp_path}/lists/l.txt"], known).found]
    assert paths == ["a.mp4", str(tmp_path / "lists/b.mp4"), str(tmp_path / "lists/c.mp4")]


@pytest.mark.parametrize(
    "text",
    [
        "a.mp4,archery\nb.mp4,2\n",
        "path,label\na.mp4,archery\nb.mp4,2\n",
        "label,split,path\narchery,val,a.mp4\n2,val,b.mp4\n",
        '"a.mp4","archery"\r\nb.mp4, 2\r\n',
        "a.mp4 archery\nb.mp4 2\n",
    ],
)
def test_a_csv_of_path_and_class(tmp_path: Path, text: str) -> None:
    (tmp_path / "val.csv").write_text(text)
    for source in ("val.csv", f"@{tmp_path}/val.csv"):
        assert found(tmp_path, source) == [("a.mp4", "archery"), ("b.mp4", "2")]


def test_a_csv_without_classes(tmp_path: Path) -> None:
    (tmp_path / "val.csv").write_text("path\na, b.mp4\n".replace("a, b.mp4", '"a, b.mp4"'))
    assert found(tmp_path, "val.csv") == [("a, b.mp4", None)]


def test_a_video_of_two_classes_keeps_the_first_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "val.csv").write_text("a.mp4,archery\na.mp4,2\nb.mp4,\nb.mp4,2\n")
    assert found(tmp_path, "val.csv") == [("a.mp4", "archery"), ("b.mp4", "2")]
    (remark,) = videos_of([str(tmp_path / "val.csv")], known).remarks
    assert "is named as 'archery' and as '2'" in remark


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.csv", "a.mp4,archery,12\n", "line 1: expected a path and a class, got 3 columns"),
        ("x.csv", "path,label\n,archery\n", "line 2: expected the path of a video"),
        ("x.csv", "label,youtube_id,time_start\narchery,abc,1\n", "line 1: expected a column called path"),
        ("x.csv", "", "expected a video, a folder, a pattern or a list of videos, got none"),
        ("none.csv", None, "expected a list of videos, found nothing there"),
        ("folder", None, "expected a folder with videos"),
        ("*.avi", None, "no video fits this pattern"),
    ],
)
def test_a_source_that_gives_nothing_is_named(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    (tmp_path / "folder").mkdir()
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=said):
        found(tmp_path, name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.txt", "archery\nriding a bike\n\n7\n"),
        ("l.json", '["archery", "riding a bike", "7"]'),
        ("l.json", '{"0": "archery", "2": "7", "1": "riding a bike"}'),
        ("l.json", '{"archery": 0, "riding a bike": 1, "7": 2}'),
        ("l.csv", "id,name\n0,archery\n1,riding a bike\n2,7\n"),
    ],
)
def test_names_of_classes_from_a_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert labels_from_file(tmp_path / name, 3) == LABELS


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.txt", "archery\n", "expected the names of 3 classes, numbered from 0, got 1"),
        ("l.json", '{"0": "a", "1": "b", "5": "c"}', "got 3 with other numbers"),
        ("l.json", "{", "l.json: "),
        ("l.json", "[1, 2, 3]", "expected a list of names"),
        ("l.csv", "a,b\n1,2\n", "expected the columns id and name"),
    ],
)
def test_a_file_of_names_that_does_not_fit_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=said):
        labels_from_file(tmp_path / name, 3)


@pytest.mark.parametrize(
    ("told", "number"),
    [
        ("archery", 0),
        ("Riding_a_Bike", 1),
        ("7", 2),
        ("1", 1),
        ("3", None),
        ("-1", None),
        ("9" * 5000, None),
        ("", None),
    ],
)
def test_a_class_by_name_or_number(told: str, number: int | None) -> None:
    assert known(told) == number
