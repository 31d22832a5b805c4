"""Checkpoints by their id, from a hub on this machine. Each look-up is a process of its own, with its own cache.

``huggingface_hub`` reads the hub's address and its cache's place from the environment when it is imported.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftsf_export.checkpoint.hub import HubId

SERVER = Path(__file__).with_name("hub_server.py")
MODEL = "somebody/timesformer-tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"
LOOK_UP = """
import json, sys
from huggingface_hub import constants
from ftsf_export.errors import FtsfError
from ftsf_export.config import ExportConfig
from ftsf_export.checkpoint import describe_checkpoint
# The library writes 10 MB at a time, these files are smaller.
constants.DOWNLOAD_CHUNK_SIZE = 2**16
seen = []
try:
    c = describe_checkpoint(sys.argv[1], ExportConfig(), on_progress=lambda *done: seen.append(done))
    said = {"name": c.found.name, "revision": c.found.revision, "folder": str(c.found.tensors.path.parent),
            "warnings": c.warnings, "weights": c.weights.described(c.model)}
except FtsfError as error:
    said = {"error": error.message, "exit_code": error.exit_code}
print(json.dumps({**said, "seen": seen}))
"""
LookUp = Callable[..., dict[str, Any]]
WEIGHTS = f"GET /{MODEL}/resolve/{COMMIT}/model.safetensors"


def asked_for_weights(log: Path) -> list[int]:
    """Of each request for the weights, the first byte it asked for."""
    lines = [line.removeprefix(WEIGHTS) for line in log.read_text().splitlines() if line.startswith(WEIGHTS)]
    return [int(line.removeprefix(" bytes=").rstrip("-") or 0) for line in lines]


@pytest.fixture
def look_up(tmp_path: Path) -> LookUp:
    """``look_up(id, hub=address)``: what ``describe_checkpoint`` said, with the cache of this test."""

    def call(text: str, *, hub: str) -> dict[str, Any]:
        environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
        environment.pop("HF_HUB_OFFLINE", None)
        ended = subprocess.run(
            [sys.executable, "-c", LOOK_UP, text], capture_output=True, text=True, env=environment, timeout=120
        )
        assert ended.returncode == 0, ended.stderr
        assert "%|" not in ended.stderr, "a progress bar, and nobody asked for one"
        said: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        return said

    return call


@pytest.fixture
def hub(huggingface: Callable[..., Path], tmp_path: Path) -> Iterator[str]:
    folder = huggingface(hidden_size=128, intermediate_size=512)
    shutil.copy(folder / "model.safetensors", folder / "pytorch_model.bin")
    (folder / "training_args.bin").write_bytes(b"never asked for")
    server = subprocess.Popen(
        [sys.executable, str(SERVER), str(folder), str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    yield server.stdout.readline().strip()
    server.terminate()
    server.wait(timeout=30)
    server.stdout.close()


def test_download_cache_and_no_network(hub: str, look_up: LookUp, tmp_path: Path) -> None:
    first = look_up(MODEL, hub=hub)
    assert (first["name"], first["revision"]) == (MODEL, COMMIT)
    assert first["weights"].startswith(f"checkpoint {MODEL} at {COMMIT[:12]} (Hugging Face), model.safetensors sha256 ")
    fractions = [done for stage, done in first["seen"] if stage == f"download {MODEL}"]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    asked = (tmp_path / "log").read_text()
    # The server cuts the first answer off; safetensors, and nothing that is not read.
    assert asked.count("GET /somebody/timesformer-tiny/resolve/") == 4
    start, rest = asked_for_weights(tmp_path / "log")
    assert start == 0 < rest, "what had come is not asked for again"
    assert "pytorch_model.bin" not in asked
    assert "training_args" not in asked
    again = look_up(f"{MODEL}@main", hub=hub)
    assert again["folder"] == first["folder"]
    assert (tmp_path / "log").read_text().count("GET /somebody/timesformer-tiny/resolve/") == 4
    offline = look_up(MODEL, hub=NOWHERE)
    assert offline["folder"] == first["folder"]
    assert any("the copy of commit 0123456789ab in the cache" in warning for warning in offline["warnings"])
    pinned = look_up(f"{MODEL}@{COMMIT}", hub=NOWHERE)
    assert pinned["revision"] == COMMIT


def test_no_network_and_nothing_cached(look_up: LookUp) -> None:
    said = look_up(f"{MODEL}@v2", hub=NOWHERE)
    assert said["exit_code"] == 3
    assert f"hf download {MODEL} --revision v2 --local-dir DIR" in said["error"]
    assert said["error"].endswith("give that directory: --checkpoint DIR")


def test_what_the_hub_does_not_have(hub: str, look_up: LookUp) -> None:
    for text in (f"{MODEL}@nosuch", "nobody/nothing"):
        said = look_up(text, hub=hub)
        assert said["exit_code"] == 2
        assert f"the hub gives no {text.split('@')[0]} at " in said["error"]


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("facebook/timesformer-base-finetuned-k400", HubId("facebook/timesformer-base-finetuned-k400", "main")),
        ("a/b@v1.0", HubId("a/b", "v1.0")),
        ("a/b@refs/pr/1", HubId("a/b", "refs/pr/1")),
        ("a", None),
        ("a/b/c", None),
        ("/a/b", None),
        ("./a", None),
        ("../a", None),
        ("a/..b@x", None),
        ("a/b@", None),
        ("a/b@../x", None),
        ("a b/c", None),
    ],
)
def test_what_is_an_id(text: str, parsed: HubId | None) -> None:
    assert HubId.parse(text) == parsed
