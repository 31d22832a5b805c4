"""A checkpoint on the Hugging Face hub -> a directory on this machine.

Only the files that are read are fetched, sizes are asked for first, and the commit that the revision names at that
moment is written down. ``huggingface_hub`` downloads them into its cache and goes on by itself after a lost connection.
"""

from __future__ import annotations

import fnmatch
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsf_export.checkpoint.huggingface import CONFIG_NAME, PROCESSOR_NAMES, WEIGHT_NAMES, is_directory
from ftsf_export.checkpoint.shards import SUFFIX
from ftsf_export.checkpoint.tensors import MAX_FILE_BYTES
from ftsf_export.errors import EnvironmentLacks, UsageError
from ftsf_export.progress import OnProgress, silent

_ID = re.compile(r"(?P<name>[\w][\w.-]{0,95}/[\w][\w.-]{0,95})(?:@(?P<revision>[\w][\w./-]{0,127}))?", re.ASCII)
_SMALL = (CONFIG_NAME, *PROCESSOR_NAMES)


@dataclass(frozen=True)
class HubId:
    """A model on the hub."""

    name: str  #: "owner/name".
    revision: str  #: A branch, a tag or a commit.

    @classmethod
    def parse(cls, text: str) -> HubId | None:
        """Reads "owner/name" or "owner/name@revision"; None where the text is neither."""
        match = _ID.fullmatch(text)
        return None if match is None or ".." in text else cls(match["name"], match["revision"] or "main")


@dataclass(frozen=True)
class Snapshot:
    """The files of one commit."""

    folder: Path  #: Where they lie on this machine.
    commit: str  #: The commit's SHA-1.
    fetched: bool  #: Whether the hub answered; otherwise the files were in the cache.


def fetch(hub_id: HubId, on_progress: OnProgress = silent) -> Snapshot:
    """The checkpoint's files, from the hub, or from the cache where the hub cannot be reached.

    Raises UsageError where the hub has no such model or revision, or one without weights that are read here;
    EnvironmentLacks without huggingface_hub, or where the hub cannot be reached and the cache has nothing.
    """
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise EnvironmentLacks("huggingface_hub: not installed, needed for a hub id", extra="hub") from error
    try:
        info = huggingface_hub.HfApi().model_info(hub_id.name, revision=hub_id.revision, files_metadata=True)
        sizes = {str(file.rfilename): int(file.size or 0) for file in info.siblings or ()}
        names = _needed(hub_id, sizes)
        stage = f"download {hub_id.name}"
        on_progress(stage, 0.0)
        # By the name that was given, not by its commit: the cache then knows later, without a network, what it meant.
        folder = Path(
            huggingface_hub.snapshot_download(
                hub_id.name,
                revision=hub_id.revision,
                allow_patterns=list(names),
                tqdm_class=_bar(on_progress, stage, sum(sizes[name] for name in names)),
            )
        )
        return Snapshot(folder, folder.name, fetched=True)
    except UsageError:
        raise
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise UsageError(
            f"checkpoint: the hub gives no {hub_id.name} at {hub_id.revision}, and no file or directory has that "
            "name; for a private model log in with: hf auth login",
            details=str(error),
        ) from error
    except Exception as error:  # the library's HTTP client, and with it what it raises, changes from version to version
        return _cached(hub_id, error)


def _needed(hub_id: HubId, sizes: dict[str, int]) -> tuple[str, ...]:
    """Names of the files to fetch. Of the weights that is safetensors rather than a pickle."""
    weights = next((files for name in WEIGHT_NAMES if (files := _files_of(name, sizes))), ())
    if not weights or CONFIG_NAME not in sizes:
        raise UsageError(
            f"checkpoint: {hub_id.name}: expected {CONFIG_NAME} and {' or '.join(WEIGHT_NAMES)} on the hub, "
            f"got {', '.join(sorted(sizes)[:8]) or 'no files'}"
        )
    if (size := sum(sizes[name] for name in weights)) > MAX_FILE_BYTES:
        raise UsageError(
            f"checkpoint: {hub_id.name}: {weights[0]}: at most {MAX_FILE_BYTES} bytes are read, it has {size}"
        )
    return (*weights, *(name for name in _SMALL if name in sizes))


def _files_of(weights: str, there: Iterable[str]) -> tuple[str, ...]:
    """The file of ``weights``, or the index of several and those; none where neither is there."""
    known = set(there)
    if weights in known or weights + SUFFIX not in known:
        return (weights,) if weights in known else ()
    return (weights + SUFFIX, *sorted(fnmatch.filter(known, _shards(weights))))


def _shards(weights: str) -> str:
    """The pattern of the names of several files in the place of ``weights``."""
    stem, _, suffix = weights.rpartition(".")
    return f"{stem}-*-of-*.{suffix}"


def _cached(hub_id: HubId, reason: Exception) -> Snapshot:
    """What an earlier download left, with one file of weights or the other."""
    import huggingface_hub

    for weights in WEIGHT_NAMES:
        try:
            folder = Path(
                huggingface_hub.snapshot_download(
                    hub_id.name,
                    revision=hub_id.revision,
                    allow_patterns=[weights, weights + SUFFIX, _shards(weights), *_SMALL],
                    local_files_only=True,
                )
            )
        except Exception:  # nothing cached, or half of it: as above, of many types
            continue
        if is_directory(folder):
            return Snapshot(folder, folder.name, fetched=False)
    first = (str(reason).strip().splitlines() or [type(reason).__name__])[0]
    raise EnvironmentLacks(
        f"checkpoint: {hub_id.name} is no file or directory here, and as a hub id it cannot be fetched ({first}); on a "
        f"machine with a network run: hf download {hub_id.name} --revision {hub_id.revision} --local-dir DIR, and give "
        "that directory: --checkpoint DIR",
        details=str(reason),
    ) from reason


def _bar(on_progress: OnProgress, stage: str, total: int) -> type[Any]:
    """The kind of bar that the library wants, writing nowhere: whoever listens decides what is shown.

    ``total``: bytes of all files together.
    """
    from tqdm import tqdm

    class Reporter(tqdm):  # type: ignore[misc, type-arg, unused-ignore]
        monitor_interval = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            # "name" is the library's own extension.
            options.pop("name", None)
            super().__init__(*args, **{**options, "file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            if self.unit == "B" and total:
                on_progress(stage, min(1.0, self.n / total))
            return shown

    return Reporter
