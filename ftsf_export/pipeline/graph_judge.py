"""A graph's file held against the reference of its model, and the part of the reference that travels with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsf_export.bundle import TapSpec, sha256_of
from ftsf_export.bundle.golden import Golden, write_golden
from ftsf_export.config import ExportConfig
from ftsf_export.network.gates import parity_graph
from ftsf_export.network.scope import OUTPUTS
from ftsf_export.parity.agreement import judge_agreement
from ftsf_export.parity.golden import judge_golden
from ftsf_export.parity.judge import Limits, Pair
from ftsf_export.parity.weights import weight_digests
from ftsf_export.pipeline.clips import KEPT_CLIPS, JudgedClips
from ftsf_export.pipeline.graph_runner import graph_runner
from ftsf_export.pipeline.held_out import HeldOut
from ftsf_export.pipeline.reference import Reference
from ftsf_export.precision import Precision
from ftsf_export.verdict import Subject, Verdict


@dataclass(frozen=True)
class GraphJudge:
    """Holds a file against the reference: every module on the clips, and the best class on the held-out clips."""

    config: ExportConfig  #: What was asked for, with the user's own limits.
    clips: JudgedClips  #: What every module is compared on.
    reference: Reference  #: What the outputs are held against.
    held_out: HeldOut | None  #: The videos of agreement; None where there are none.

    def golden(self) -> Golden:
        """The reference values of all judged clips."""
        return Golden(
            self.clips.values,
            sources=self.clips.sources,
            taps=self.reference.taps,
            contrast=self.reference.contrast,
            noise=self.reference.noise,
            **self._outputs(len(self.clips.values)),
        )

    def _outputs(self, clips: int) -> dict[str, Any]:
        """The reference's outputs for the first ``clips``, as ``Golden`` takes them."""
        found = self.reference.outputs
        return {name: found[name][:clips] if name in found else None for name in OUTPUTS}

    def write_golden(self, path: Path, onnx_path: Path) -> Golden:
        """The kept clips, with the digest of every weight of the graph: ``verify`` can name one that was altered."""
        return write_golden(
            path,
            clip=self.clips.values[:KEPT_CLIPS],
            **self._outputs(KEPT_CLIPS),
            sources=self.clips.sources[:KEPT_CLIPS],
            taps={name: values[:KEPT_CLIPS] for name, values in self.reference.taps.items()},
            weights=weight_digests(onnx_path),
            contrast=self.reference.contrast,
            noise=self.reference.noise,
            video=self.clips.video,
        )

    def verdicts(
        self, path: Path, precision: Precision, taps: tuple[TapSpec, ...]
    ) -> tuple[list[Verdict], Pair | None]:
        """The verdicts of parity, and of agreement where there are held-out clips; and the answers to the clips."""
        # The user's limits are for what was asked for; the FP32 graph on the way is held to its own.
        own = precision.name == self.config.precision
        asked = {"atol": self.config.atol, "rtol": self.config.rtol} if own else {}
        names = [tap.name for tap in taps]
        subject = Subject(path.name, sha256_of(path))
        with graph_runner(path, precision, names) as runner:
            parity, answer = judge_golden(
                runner,
                self.golden(),
                gate=parity_graph(precision),
                subject=subject,
                limits=Limits.for_precision(precision, **asked),
                batch=self.config.batch,
                taps=names,
            )
        return [parity, *self._agreement(path, precision, subject)], answer

    def _agreement(self, path: Path, precision: Precision, subject: Subject) -> list[Verdict]:
        if self.held_out is None:
            return []
        with graph_runner(path, precision) as runner:
            logits = self.held_out.logits_of(runner, batch=self.config.batch)
        classes, eager = self.held_out.classes, self.reference.held_out
        return [judge_agreement(eager, logits, classes, precision=precision, subject=subject)]
