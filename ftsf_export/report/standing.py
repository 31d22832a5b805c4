"""What a reader has to know in ten seconds: what the bundle is ready for, and what is proven of it."""

from __future__ import annotations

from dataclasses import dataclass

from ftsf_export.bundle import Manifest
from ftsf_export.network.gates import parity_engine
from ftsf_export.report.measures import MeasureTable
from ftsf_export.verdict import Status, failing

# Upper ends of the histogram's bins, as shares of the limit, and how each bin is read.
_BINS = (
    (0.001, "≤ 0.1\u202f%"),
    (0.01, "1\u202f%"),
    (0.1, "10\u202f%"),
    (0.5, "50\u202f%"),
    (1.0, "100\u202f%"),
)


@dataclass(frozen=True)
class TargetStanding:
    """One machine that was asked for."""

    target: str  #: Its name.
    engine: str  #: The engine's file; "" where none was built.
    proven: str  #: The status of the engine's parity on its GPU; "" without an engine.
    said: str  #: What is known, or what has to be done, in words.


def standings(manifest: Manifest) -> tuple[TargetStanding, ...]:
    """Every engine of the bundle, and every target that was asked for and has none yet."""
    verdicts = {verdict.gate: verdict for verdict in manifest.verdicts}
    found = []
    for engine in manifest.engines:
        verdict = verdicts.get(parity_engine(engine.builder, engine.target).name)
        status, said = (
            (Status.NOT_RUN, "not run on its GPU yet") if verdict is None else (verdict.status, verdict.reason)
        )
        said = said or "its outputs were compared on its GPU"
        found.append(TargetStanding(engine.target, engine.file, status.value, said))
    there = {one.target for one in found}
    elsewhere = [target for target in manifest.asked.targets if target not in there]
    return (*found, *(TargetStanding(target, "", "", "builds on the machine itself") for target in elsewhere))


def headline(manifest: Manifest) -> str:
    """The first line of the report: ready for what, and proven where. Never more than the verdicts say."""
    if against := failing(manifest.verdicts):
        return f"Not ready · {against[0].gate} {against[0].status.value}"
    found = standings(manifest)
    ready = [one.target for one in found if one.engine]
    proven = [one.target for one in found if one.proven == Status.PASSED.value]
    if not ready:
        return "The graph is ready · no engine was built yet"
    said = "proven on its GPU" if len(proven) == len(ready) else f"proven on a GPU for {', '.join(proven)} alone"
    return f"Ready for {', '.join(ready)} · {said if proven else 'not proven on a GPU yet'}"


def histogram(table: MeasureTable) -> tuple[tuple[str, int], ...]:
    """How many outputs take how much of their limit; empty where there are too few to count."""
    shares = [row.share for row in table.rows if row.share > 0]
    if len(shares) < len(_BINS):
        return ()
    counts, low = [], 0.0
    for high, name in _BINS:
        counts.append((name, sum(low < share <= high for share in shares)))
        low = high
    return (*counts, ("over", sum(share > low for share in shares)))


# In docs/glossary.md at greater length.
WORDS = {
    "gate": "A question with a limit, asked of one file. Its verdict is passed, failed, inconclusive or not run.",
    "proxy": "A stand-in: a CPU that rounds every tensor to half is evidence for a GPU, and no proof.",
    "tap": "A module whose output is compared beside the logits, so that a fault is found where it begins.",
    "golden values": "The judged clips, with the logits and samples of every tap from eager PyTorch in FP32.",
    "island": "Operations that stay in FP32, because half precision would overflow or lose small values.",
    "rewrite": "A change of the graph that is exact in algebra and makes the engine cheaper.",
    "bound": "The time at the full rate of memory or arithmetic by a data sheet: a lower limit, no measurement.",
}
