"""Frames of one pass, pixel for pixel those of PyAV's sequential decode, for every kind of file."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ftsf_export.bundle import Preprocessing
from ftsf_export.errors import VideoError
from ftsf_export.video import one_pass
from ftsf_export.video.one_pass import take_frames
from ftsf_export.video.preprocess import preprocess
from ftsf_export.video.sample import uniform
from ftsf_export.video.video_clips import clips_from_video

HOW = Preprocessing(8, 32, 24, (24, 24), (0.45,) * 3, (0.225,) * 3, sampling="uniform")


@dataclass(frozen=True)
class Kind:
    """One kind of file."""

    name: str
    codec: str = "libx264"
    pixels: str = "yuv420p"
    size: tuple[int, int] = (48, 64)
    options: dict[str, str] = field(default_factory=dict)
    times: Sequence[int] = tuple(range(30))
    full_range: bool = False
    container: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Noise on the left, and a grey that tells the frame on the right."""
        path, noise = folder / self.name, np.random.default_rng(0)
        with av.open(str(path), "w", options=dict(self.container)) as container:
            stream = container.add_stream(self.codec, rate=25, options=dict(self.options))
            stream.height, stream.width = self.size
            stream.pix_fmt = self.pixels
            stream.codec_context.time_base = Fraction(1, 25)
            if self.full_range:
                stream.codec_context.color_range = 2
            for index, time in enumerate(self.times):
                pixels = np.full((*self.size, 3), 8 * index % 256, np.uint8)
                part = pixels[:, : self.size[1] // 2]
                part[:] = noise.integers(0, 256, part.shape, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = time
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path


UNEVEN = (0, 1, 2, 10, 11, 40, 41, 42, 90, 91, 92, 93, 120)
QUIET_AV1 = {"svtav1-params": "lp=1", "preset": "12"}
KINDS = (
    Kind("h264.mp4", options={"bf": "3", "g": "12"}),
    Kind("h264-full.mp4", pixels="yuvj420p", full_range=True),
    Kind("h264-422.mkv", pixels="yuv422p"),
    Kind("h264-444-odd.mkv", pixels="yuv444p", size=(35, 47)),
    Kind("h264-sliced.ts", options={"slices": "4"}),
    Kind("h265-10-bit.mp4", "libx265", "yuv420p10le", options={"x265-params": "log-level=none:pools=1"}),
    Kind("mpeg4-b-frames.avi", "mpeg4", options={"bf": "2", "g": "12"}),
    Kind("vp9.webm", "libvpx-vp9", options={"deadline": "realtime", "auto-alt-ref": "1", "lag-in-frames": "12"}),
    Kind("vp9-odd.webm", "libvpx-vp9", size=(33, 49), options={"deadline": "realtime"}),
    Kind("av1.mkv", "libsvtav1", size=(64, 64), options=QUIET_AV1),
    Kind("uneven.mp4", times=UNEVEN),
    Kind("uneven.mkv", times=UNEVEN),
    Kind("fragments.mp4", container={"movflags": "frag_keyframe+empty_moov"}),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("kinds")
    for kind in KINDS:
        kind.write(made)
    return made


def plain(path: Path) -> list[np.ndarray[Any, Any]]:
    """All frames as a user of PyAV gets them, up to the first error, upright."""
    found = []
    with av.open(str(path)) as container:
        try:
            for frame in container.decode(video=0):
                found.append(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4))
        except av.FFmpegError:
            pass
    return found


def check_exact(path: Path, *, threads: int) -> one_pass.Taken[Any]:
    """Every frame of a pass that takes all of them, and the clip of one that takes a few."""
    expected = plain(path)
    taken = take_frames(path, lambda available, _rate: range(available), lambda frame: frame, threads=threads)
    assert (taken.available, sorted(taken.frames)) == (len(expected), list(range(len(expected))))
    for number, frame in taken.frames.items():
        np.testing.assert_array_equal(frame, expected[number])
    clips = clips_from_video(path, HOW, threads=threads)
    assert clips.frames == (uniform(len(expected), 8).indices,)
    np.testing.assert_array_equal(clips.values[0], preprocess([expected[number] for number in clips.frames[0]], HOW))
    assert clips.decodings == taken.decodings
    return taken


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_frame_is_the_one_of_sequential_decoding(folder: Path, kind: Kind, threads: int) -> None:
    taken = check_exact(folder / kind.name, threads=threads)
    assert (taken.available, taken.decodings, taken.warnings) == (len(kind.times), 1, ())


@pytest.mark.parametrize("name", ["bigbuckbunny.mp4", "bikes.mp4", "carphone_distorted.mp4"])
def test_real_videos_are_decoded_once(real_videos: Path, name: str) -> None:
    wanted: list[int] = []

    def choose(available: int, _rate: Fraction | None) -> Sequence[int]:
        wanted[:] = uniform(available, 8).indices
        return wanted

    taken = take_frames(real_videos / name, choose, lambda frame: frame, threads=2)
    expected = plain(real_videos / name)
    assert (taken.available, taken.decodings, taken.warnings) == (len(expected), 1, ())
    assert list(taken.frames) == wanted
    for number in wanted:
        np.testing.assert_array_equal(taken.frames[number], expected[number])


# Rows of the display matrix in an mp4's track header, 16.16 fixed point: (a, b, c, d) of a quarter turn.
@pytest.mark.parametrize("turn", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)], ids=["90", "180", "270"])
def test_a_rotated_phone_video(folder: Path, tmp_path: Path, turn: tuple[int, ...]) -> None:
    data = bytearray((folder / "h264.mp4").read_bytes())
    matrix = data.find(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in turn)
    data[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path = tmp_path / "turned.mp4"
    path.write_bytes(data)
    taken = check_exact(path, threads=2)
    assert taken.frames[0].shape == ((48, 64, 3) if turn[0] else (64, 48, 3))


@pytest.mark.parametrize("hidden", [5, 7])
def test_frames_outside_an_edit_list_are_not_there(folder: Path, tmp_path: Path, hidden: int) -> None:
    """A phone that trims a video leaves its packets in and says where it begins."""
    data = bytearray((folder / "h264.mp4").read_bytes())
    entry = data.find(b"elst") + 12
    duration, start = struct.unpack(">Ii", data[entry : entry + 8])
    with av.open(str(folder / "h264.mp4")) as container:
        a_frame = container.streams.video[0].duration // 30
    data[entry : entry + 8] = struct.pack(">Ii", duration - 40 * hidden, start + hidden * a_frame)
    path = tmp_path / "trimmed.mp4"
    path.write_bytes(data)
    taken = check_exact(path, threads=2)
    assert (taken.available, taken.decodings, taken.warnings) == (30 - hidden, 1, ())


def test_frames_of_several_sizes_in_one_video(folder: Path, tmp_path: Path) -> None:
    """Two recordings in one transport stream. The second's clock starts anew, which is damage to it."""
    other = Kind("other.ts", size=(64, 96)).write(tmp_path)
    path = tmp_path / "both.ts"
    path.write_bytes((folder / "h264-sliced.ts").read_bytes() + other.read_bytes())
    taken = check_exact(path, threads=1)
    assert {frame.shape for frame in taken.frames.values()} == {(48, 64, 3), (64, 96, 3)}


def cut(path: Path, share: float) -> Path:
    shorter = path.with_name(f"cut-{share}-{path.name}")
    shorter.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return shorter


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("share", [0.4, 0.83])
@pytest.mark.parametrize(
    "name", ["mpeg4-b-frames.avi", "h264-sliced.ts", "h264-422.mkv", "vp9.webm", "av1.mkv", "fragments.mp4"]
)
def test_a_truncated_file_gives_what_can_be_read_and_a_warning(
    folder: Path, name: str, share: float, threads: int
) -> None:
    path = cut(folder / name, share)
    taken = check_exact(path, threads=threads)
    assert 0 < taken.available < 30
    assert taken.warnings, name


def test_a_damaged_middle_ends_the_video_there(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "h264.mp4").read_bytes())
    start = data.find(b"mdat") + len(data) // 3
    data[start : start + 600] = np.random.default_rng(0).bytes(600)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    taken = check_exact(path, threads=2)
    assert any("damaged" in warning for warning in taken.warnings)


@pytest.mark.parametrize("threads", [1, 2])
def test_damage_of_the_first_frames_alone_does_not_cost_the_video(folder: Path, tmp_path: Path, threads: int) -> None:
    """With threads a decoder gives up before it has given a frame; left to itself it goes on."""
    data = bytearray((folder / "mpeg4-b-frames.avi").read_bytes())
    first = data.find(b"00dc", data.find(b"movi")) + 8
    data[first + 200 : first + 230] = np.random.default_rng(0).bytes(30)
    path = tmp_path / "damaged.avi"
    path.write_bytes(data)
    taken = check_exact(path, threads=threads)
    assert (taken.available, bool(taken.warnings)) == (30, True)


def test_a_header_that_lies_is_named_and_not_believed(folder: Path, tmp_path: Path) -> None:
    """Its last frame is gone, and the index: the packets tell it, so one pass is enough."""
    data = (folder / "mpeg4-b-frames.avi").read_bytes()
    path = tmp_path / "lies.avi"
    path.write_bytes(data[: data.rfind(b"00dc", 0, data.rfind(b"idx1"))])
    taken = check_exact(path, threads=1)
    assert (taken.available, taken.decodings) == (29, 1)
    assert taken.warnings == ("its header says 30 frames, 29 decode",)


def test_packets_that_promise_too_much_cost_a_second_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no file here does by itself: a packet more than frames."""
    counted = one_pass._promise

    def one_more(*args: Any) -> Any:
        found, packets = counted(*args)
        return replace(found, frames=found.frames + 1), packets

    monkeypatch.setattr(one_pass, "_promise", one_more)
    assert check_exact(folder / "h264.mp4", threads=2).decodings == 2


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg4-b-frames.avi", "av1.mkv"])
def test_packets_that_are_too_many_to_keep_are_read_again(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_pass, "_KEPT_BYTES", 1000)
    assert check_exact(folder / name, threads=1).decodings == 1


def test_a_file_that_never_decodes_alike_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = one_pass._decoded
    passes: list[int] = []

    def shorter(*args: Any) -> Any:
        done = decoded(*args)
        passes.append(len(passes))
        done.available -= len(passes)
        return done

    monkeypatch.setattr(one_pass, "_decoded", shorter)
    with pytest.raises(VideoError, match="another number of frames each time"):
        take_frames(folder / "h264.mp4", lambda _available, _rate: [0], lambda frame: frame)
    assert len(passes) == 4


def test_a_list_of_files_under_a_videos_name_opens_none_of_them(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "joined.mp4"
    path.write_text(f"ffconcat version 1.0\nfile {folder / 'h264.mp4'}\n")
    with av.open(str(path), options={"safe": "0"}) as opened:
        assert sum(1 for _ in opened.decode(video=0)) == 30, "what FFmpeg does when nobody holds it back"
    with pytest.raises(VideoError, match=r"joined\.mp4: not a readable video"):
        clips_from_video(path, HOW)


def write_nothing(path: Path) -> None:
    path.write_bytes(b"")


def write_header_alone(path: Path) -> None:
    """An empty file of one track, without a frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.start_encoding()


@pytest.mark.parametrize("write", [write_nothing, write_header_alone])
def test_nothing_readable_is_an_error_that_names_the_file(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "none.avi"
    write(path)
    with pytest.raises(VideoError, match=r"none\.avi: "):
        clips_from_video(path, HOW)


def test_a_video_shorter_than_a_clip_repeats_frames_and_says_so(tmp_path: Path) -> None:
    path = Kind("short.mp4", times=range(3)).write(tmp_path)
    for how in (HOW, Preprocessing(8, 32, 24, (24, 24), (0.45,) * 3, (0.225,) * 3)):
        clips = clips_from_video(path, how)
        assert clips.frames == ((0, 0, 0, 1, 1, 2, 2, 2),)
        assert clips.warnings == ("short: it has 3 frames, so some were taken more than once",)
    segments = clips_from_video(path, replace(HOW, sampling="segments"), clips=2)
    assert segments.frames == ((0, 0, 0, 1, 1, 1, 2, 2),) * 2, "as such models are trained"


def test_what_preprocessing_refuses_names_the_file_once(folder: Path) -> None:
    how = Preprocessing(8, 32, None, (200, 200), (0.45,) * 3, (0.225,) * 3)
    with pytest.raises(VideoError) as caught:
        clips_from_video(folder / "h264.mp4", how)
    assert caught.value.message.count("h264.mp4") == 1
    assert "smaller than the crop of 200x200" in caught.value.message
