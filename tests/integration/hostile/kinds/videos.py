"""Videos: damage, fields of their boxes, wrong containers, and lists of other files under a video's name."""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random

from tests.integration.hostile.case import Case
from tests.integration.hostile.clean import CHECKPOINTS, VIDEOS, lay
from tests.integration.hostile.damage import damaged, put_special
from tests.integration.hostile.kinds.checkpoints import export_case

_HOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta")
_TEXTS = {
    "a playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.mp4\n#EXT-X-ENDLIST\n",
    "a live playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nother.mp4\n",
    "a list to join": b"ffconcat version 1.0\nfile other.mp4\n",
    "a list to join from outside": b"ffconcat version 1.0\nfile ../outside/secret\n",
    "a DASH manifest": b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><Period/></MPD>",
    "SDP": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "an SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/hostname'/></svg>",
    "a PNG's start": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "a GIF": b"GIF89a\x01\x00\x01\x00\x80\x00\x00" + bytes(40),
    "text": b"hello\n" * 100, "nothing": b"", "a wave": b"RIFF\xff\xff\xff\xffWAVEfmt " + bytes(100),
    "an AVI without end": b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrlavih" + bytes(100),
    "a Matroska without end": b"\x1a\x45\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff" + bytes(300),
    "boxes within boxes": b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + b"\x00\x00\xff\xffmoov" * 3000,
}  # fmt: skip


def forge(draw: Random, clean: Path, work: Path) -> Case:
    lay(clean, "video", work)
    name = draw.choice((*VIDEOS, "clip.mp4", "clip.mp4"))
    path = work / name
    turn = draw.random()
    if turn < 0.4:
        data, what = damaged(draw, path.read_bytes())
        path.write_bytes(data)
    elif turn < 0.62:
        name, path = "clip.mp4", work / "clip.mp4"
        what = _box(draw, path)
    elif turn < 0.8:
        kind = draw.choice(list(_TEXTS))
        path.rename(work / "other.mp4")
        path.write_bytes(_TEXTS[kind])
        what = f"{kind} under its name"
    elif turn < 0.9:
        what = put_special(draw, path, work / "outside")
    else:
        there = draw.choice([one for one in VIDEOS if one != name])
        path.rename(work / there)
        what, name = f"{name} under this name", there
    if draw.random() < 0.2:
        folder = work / "held" / "walk"
        folder.mkdir(parents=True)
        (work / name).rename(folder / name)
        return export_case(draw, f"{name}: {what}, held out", "held", CHECKPOINTS["own"], "--held-out", "held")
    return export_case(draw, f"{name}: {what}", "video", CHECKPOINTS["own"], "--video", name)


def _box(draw: Random, path: Path) -> str:
    """One field of a box of an MP4 file: a size, a count, a time, a place."""
    data = bytearray(path.read_bytes())
    boxes = _boxes(bytes(data), 0, len(data))
    kind, start, end = draw.choice(boxes)
    place = start + 4 * draw.randrange(max(1, min(40, (end - start) // 4)))
    value = draw.choice((0, 1, 2, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, draw.randrange(1 << 32), 0x00010000))
    data[place : place + 4] = struct.pack(">I", value)
    path.write_bytes(bytes(data))
    return f"box {kind.decode('latin-1')!r}: word at {place - start} is {value}"


def _boxes(data: bytes, start: int, end: int) -> list[tuple[bytes, int, int]]:
    """Kind, start and end of every box of ``data``, with those within."""
    found = []
    while start + 8 <= end:
        size, kind = struct.unpack(">I4s", data[start : start + 8])
        stop = min(end, start + size) if size >= 8 else end
        found.append((kind, start, stop))
        if kind in _HOLDERS:
            found += _boxes(data, start + 8, stop)
        start = stop
    return found
