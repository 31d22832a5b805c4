"""A gate is a question that a file must pass, and its name is what users meet in the terminal, the manifest and the
report.

Names are built here and compared as wholes everywhere else: no code takes one apart. `docs/gates.md` says what each of
them compares.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ftsf_export.precision import Precision
from ftsf_export.verdict import Measure, Status, Subject, Verdict

# Kinds of file that a gate can judge, by their suffix: a graph, an engine, the reference values.
GRAPH = ".onnx"
ENGINE = ".engine"
REFERENCE = ".npz"


@dataclass(frozen=True)
class Gate:
    """A question that is asked of a file."""

    name: str  #: What users see.
    judges: str  #: The kind of file that it is asked of: ``GRAPH``, ``ENGINE`` or ``REFERENCE``.
    #: What its verdicts are a proxy for ("fp16 on a GPU"); "" where they are about the thing itself.
    stands_in_for: str = ""

    def verdict(self, subject: Subject, status: Status, reason: str = "", measures: Iterable[Measure] = ()) -> Verdict:
        """This gate's verdict on ``subject``. Raises ValueError for another kind of file, and as ``Verdict`` does."""
        if not subject.file.endswith(self.judges):
            raise ValueError(f"gate {self.name!r} judges a file {self.judges!r}, got {subject.file!r}")
        return Verdict(
            gate=self.name,
            status=status,
            subject=subject,
            reason=reason,
            proxy_for=self.stands_in_for,
            measures=tuple(measures),
        )

    def not_run(self, subject: Subject, reason: str) -> Verdict:
        return self.verdict(subject, Status.NOT_RUN, reason)


PARITY_HUGGINGFACE = Gate("parity.huggingface", GRAPH)
PARITY_ORIGINAL = Gate("parity.original", GRAPH)
WEIGHTS = Gate("weights", GRAPH)
LABELS = Gate("labels", REFERENCE)
PARITY_PREPROCESSING = Gate("parity.preprocessing", REFERENCE)
PREPROCESSING = Gate("preprocessing", REFERENCE)


def parity_graph(precision: Precision) -> Gate:
    """Parity of an ONNX file on a CPU."""
    return _on_cpu("parity", precision)


def agreement_graph(precision: Precision) -> Gate:
    """Agreement of an ONNX file with eager PyTorch on held-out clips, on a CPU."""
    return _on_cpu("agreement", precision)


def parity_engine(builder: str, target: str) -> Gate:
    """Parity of an engine on its GPU."""
    return Gate(f"parity.engine-{builder}-{target}", ENGINE)


def engine_types(builder: str, target: str) -> Gate:
    """The operand types of an engine's products."""
    return Gate(f"engine.types-{builder}-{target}", ENGINE)


def plan_types(builder: str, target: str, stands_in_for: str = "") -> Gate:
    """The operand types of the products in what a compiler makes of a graph."""
    return Gate(f"plan.types-{builder}-{target}", GRAPH, stands_in_for)


def plan_work(builder: str, target: str, stands_in_for: str = "") -> Gate:
    """The share of the products' work that runs in the precision of the graph."""
    return Gate(f"plan.work-{builder}-{target}", GRAPH, stands_in_for)


def plan_attentions(builder: str, target: str, stands_in_for: str = "") -> Gate:
    """Softmax attentions that became one kernel."""
    return Gate(f"plan.attentions-{builder}-{target}", GRAPH, stands_in_for)


def _on_cpu(question: str, precision: Precision) -> Gate:
    """A graph on a CPU: itself, or the stand-in for a precision that only a GPU computes in."""
    if precision.emulated:
        return Gate(f"{question}.{precision.name}-emulated", GRAPH, f"{precision.name} on a GPU")
    return Gate(f"{question}.onnx-{precision.name}", GRAPH)
