"""What travels between a parent and its child, and that nothing else does."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftsf_export.errors import BuildError, ConfigError, EnvironmentLacks, RunError
from ftsf_export.process.channel import CALL, Message, receive, send
from ftsf_export.process.parent import Child, Ending, run_in_child


def failed(ending: Ending) -> RunError:
    return RunError(f"it {ending.how}: {ending.said}", details=ending.details)


def test_values_and_arrays_arrive_as_they_were() -> None:
    arrays = {
        "zeta": np.arange(12, dtype=np.float32).reshape(3, 4).T,
        "half": np.float16([[1, np.nan]]),
        "scalar": np.array(7, np.int64),
        "none": np.empty((0, 5), np.uint8),
        "flags": np.array([True, False]),
        "names": np.array(["räder", ""]),
        "alpha": np.arange(3, dtype=">i4"),
    }
    answer = run_in_child("served:echo", {"a": [1, 2.5, None, "ü"]}, arrays, failed=failed)
    assert answer.value == {"a": [1, 2.5, None, "ü"]}
    assert list(answer.arrays) == list(arrays)
    for name, array in arrays.items():
        assert answer.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(answer.arrays[name], array)


def test_arrays_larger_than_any_pipe() -> None:
    large = np.random.default_rng(0).integers(0, 255, 150_000_000, np.uint8)
    answer = run_in_child("served:echo", None, {"large": large}, failed=failed, timeout_s=120.0)
    assert np.array_equal(answer.arrays["large"], large)


@pytest.mark.parametrize("array", [np.array([object()]), np.zeros(2, "V2")])
def test_what_is_no_plain_array_is_not_sent(array: np.ndarray) -> None:
    stream = io.BytesIO()
    with pytest.raises(TypeError, match="array 'x': elements of type"):
        send(stream, CALL, Message(None, {"x": array}))
    assert stream.getvalue() == b""


def test_a_frame_that_ends_too_early() -> None:
    stream = io.BytesIO()
    send(stream, CALL, Message({"a": 1}, {"x": np.ones(5)}))
    whole = stream.getvalue()
    assert receive(io.BytesIO(whole))[1].value == {"a": 1}
    for length in (0, 3, 20, len(whole) - 1):
        with pytest.raises(EOFError, match="the other side is gone"):
            receive(io.BytesIO(whole[:length]))


class Dribble(io.BytesIO):
    """Gives at most three bytes at a time."""

    def readinto(self, into: Any) -> int:
        return super().readinto(memoryview(into)[:3])


def test_a_frame_that_comes_in_pieces() -> None:
    stream = Dribble()
    send(stream, CALL, Message({"a": 1}, {"x": np.arange(5.0)}))
    stream.seek(0)
    kind, message = receive(stream)
    assert (kind, message.value) == (CALL, {"a": 1})
    np.testing.assert_array_equal(message.arrays["x"], np.arange(5.0))


def test_remarks_do_not_fall_into_an_answer() -> None:
    answer = run_in_child("served:remark_on_and_on", failed=failed)
    assert [array.size for array in answer.arrays.values()] == [100_000] * 40
    assert all((array == n).all() for n, array in enumerate(answer.arrays.values()))


def test_remarks_of_several_threads_come_whole_and_before_the_answer() -> None:
    notes: list[dict[str, int]] = []
    answer = run_in_child("served:remark", 200, failed=failed, on_note=notes.append)
    assert answer.value == "done"
    assert sorted(note["n"] for note in notes) == sorted(list(range(200)) * 4)


def test_what_libraries_print_and_read_is_not_the_channel() -> None:
    with Child("served:chatter", failed=failed) as child:
        assert child.call().value == ""
        assert child.call().value == ""


def test_what_the_start_of_python_prints_is_no_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('x' * 1000)\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run_in_child("served:echo", 1, failed=failed).value == 1


def test_errors_of_ours_arrive_as_themselves() -> None:
    with Child("served:raise_ours", failed=failed) as child:
        with pytest.raises(ConfigError, match=r"^batch: too small; opset: too old$") as config:
            child.call("ConfigError")
        assert config.value.problems == ("batch: too small", "opset: too old")
        with pytest.raises(EnvironmentLacks, match=r"^no compiler; install it with: pip install compiler$") as lacks:
            child.call("EnvironmentLacks")
        assert lacks.value.install == "pip install compiler"
        assert lacks.value.details.startswith("searched\n")
        assert "the library's own log" in lacks.value.details
        with pytest.raises(BuildError, match=r"^refused$") as strange:
            child.call("StrangeError")
        assert type(strange.value) is BuildError


def test_any_other_error_comes_with_its_traceback_and_the_log() -> None:
    with pytest.raises(RunError, match=r"^it failed: KeyError: \"nobody's\"$") as caught:
        run_in_child("served:raise_ours", failed=failed)
    assert "in raise_ours" in caught.value.details
    assert "the library's own log" in caught.value.details


@pytest.mark.parametrize("arrays", [True, False])
def test_an_answer_that_cannot_travel_is_an_error(arrays: bool) -> None:
    with pytest.raises(RunError, match=r"it failed: TypeError: "):
        run_in_child("served:unsendable", arrays, failed=failed)


@pytest.mark.parametrize("target", ["served:no_such_name", "no_such_module:echo"])
def test_a_target_that_is_not_there(target: str) -> None:
    with pytest.raises(RunError, match=r"it failed: .*no_such"):
        run_in_child(target, failed=failed)


def test_the_child_runs_where_it_is_told(tmp_path: Path) -> None:
    with Child("served:echo", failed=failed, folder=tmp_path) as child:
        child.call()
        assert Path(f"/proc/{child.pid}/cwd").resolve() == tmp_path.resolve()
