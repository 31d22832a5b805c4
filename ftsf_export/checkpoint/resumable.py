"""One large file of the hub into its cache, going on where an earlier process stopped.

``huggingface_hub`` goes on after a lost connection, but only within one process: 2.4 gives each download a name of its
own and removes what it left. Here the part that came stays, under the file's checksum, and the next process asks for
the rest (``Range``). The whole file is put where the library's cache has it (blobs/CHECKSUM), and there it is found.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

# What the hub calls its large files by: the SHA-256 of their content.
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_READ_BYTES = 2**20


def fetch_large(name: str, file: str, *, revision: str, bar: type[Any]) -> bool:
    """``file`` of the model ``name`` at ``revision`` into the cache; whether it is there now.

    False where it is not fetched here: the hub gives no SHA-256 for it, another process is fetching it, or what came
    is not what the checksum says (it is thrown away). Raises what the library raises where the hub cannot be reached;
    the part that came stays.

    Args:
        bar: a kind of tqdm.
    """
    import huggingface_hub
    from filelock import FileLock, Timeout
    from huggingface_hub import constants, file_download

    url = huggingface_hub.hf_hub_url(name, file, revision=revision)
    known = huggingface_hub.get_hf_file_metadata(url)
    if known.etag is None or known.size is None or not _SHA256.fullmatch(known.etag):
        return False
    folder = file_download.repo_folder_name(repo_id=name, repo_type="model")
    blob = Path(constants.HF_HUB_CACHE) / folder / "blobs" / known.etag
    if blob.is_file():
        return True
    blob.parent.mkdir(parents=True, exist_ok=True)
    part = blob.with_name(f"{blob.name}.part")
    try:
        with FileLock(f"{part}.lock", timeout=0):
            _go_on(url, part, known.size, bar)
            return _put(part, blob)
    except Timeout:
        return False


def _go_on(url: str, part: Path, size: int, bar: type[Any]) -> None:
    """Fetches what ``part`` lacks of ``size`` bytes."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    if part.exists() and part.stat().st_size > size:
        part.unlink()
    with part.open("ab") as target:
        # By the hub's own address, not by the one it leads to: that one may have expired when a process goes on.
        http_get(
            url,
            target,
            resume_size=target.tell(),
            headers={**build_hf_headers(), "Accept-Encoding": "identity"},
            expected_size=size,
            tqdm_class=bar,
        )


def _put(part: Path, blob: Path) -> bool:
    digest = hashlib.sha256()
    with part.open("rb") as source:
        while chunk := source.read(_READ_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != blob.name:
        part.unlink()
        return False
    part.replace(blob)
    return True
