"""The kind of videos that a checkpoint was trained on, and what follows for the clips that it is fed.

facebookresearch/TimeSformer feeds two kinds of clips. Of Kinetics (and HowTo100M) a run of frames in RGB; of
Something-Something-v2 one frame from each of as many equal parts of the video, in BGR, since its loader reads frames
with OpenCV and nothing turns them (``datasets/ssv2.py``; ``DATA.REVERSE_INPUT_CHANNEL`` is not asked for a ViT). The
weights are the same kind of file, and Hugging Face's conversions say nothing of it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ftsf_export.bundle import Preprocessing
from ftsf_export.bundle.specs import BGR, SEGMENTS
from ftsf_export.checkpoint.found import Found
from ftsf_export.config import KINETICS, SSV2

CLASSES = 174
_NAMED = re.compile(r"ssv2|sthv2|something-?_?something", re.IGNORECASE)
_NAMED_OTHERWISE = re.compile(r"kinetics|k[467]00|howto100m", re.IGNORECASE)


def names_something(text: str) -> bool:
    """Whether ``text`` names Something-Something."""
    return _NAMED.search(text) is not None


def preprocessing_read(found: Found, asked: str | None) -> tuple[Preprocessing, tuple[str, ...]]:
    """How frames became the input of ``found`` in training, and a warning where the file can be read in two ways.

    ``asked``: the user's own word, which decides; None: the file's settings, classes and name do.
    """
    if asked is not None or found.dataset is None:
        return _of(found, asked or KINETICS), ()
    if found.dataset:
        return _of(found, SSV2 if names_something(found.dataset) else KINETICS), ()
    labels = found.labels
    if labels is not None:
        # The class names of that set are templates: "Pushing [something] from left to right".
        told = 2 * sum("something" in label.lower() for label in labels) > len(labels)
        if told or (len(labels) == CLASSES and not names_something(found.name)):
            return _of(found, SSV2 if told else KINETICS), ()
    named, counted = names_something(found.name), found.model.num_classes == CLASSES
    if not named and not counted:
        return _of(found, KINETICS), ()
    if named and (counted or not found.model.num_classes):
        return _of(found, SSV2), ()
    taken = KINETICS if not named and _NAMED_OTHERWISE.search(found.name) else SSV2
    return _of(found, taken), (_doubt(found, taken, named=named),)


def _of(found: Found, dataset: str) -> Preprocessing:
    how = found.preprocessing
    return replace(how, sampling=SEGMENTS, color_order=BGR) if dataset == SSV2 else how


def _doubt(found: Found, taken: str, *, named: bool) -> str:
    """Why the file can be read in two ways, which they are, and which was taken."""
    other = KINETICS if taken == SSV2 else SSV2
    why = "is named after" if named else f"has {CLASSES} classes, as"
    readings = {name: _of(found, name) for name in (taken, other)}
    said = {name: f"{how.sampled}, in {how.color_order}" for name, how in readings.items()}
    return (
        f"AMBIGUOUS: {found.name} {why} Something-Something-v2, and does not say on which videos it was trained. It is "
        f"fed as for {taken}: {said[taken]}; the other reading is {other}: {said[other]}. Say which with --trained-on"
    )
