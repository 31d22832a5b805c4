"""The grammar of layer lines: what is written is read back, and what is not known is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsf_export.engine.grammar import GrammarError, LayerRecord, layer_lines, record_from_line

# Names as compilers make them: braces, brackets, plus signs, commas, colons and spaces.
NAMES = st.from_regex(r"[A-Za-z_{(][A-Za-z0-9_./+:{}()\[\], ^-]{0,30}[A-Za-z0-9_)]", fullmatch=True)
SIZES = st.lists(st.integers(-1, 4096), min_size=0, max_size=5)


@st.composite
def records(draw: st.DrawFn) -> LayerRecord:
    def tensors() -> list[LayerRecord]:
        return [
            {"Name": draw(NAMES), "Dimensions": draw(SIZES), "Datatype": "Half", "Format": "(Linear) Row major format"}
            for _ in range(draw(st.integers(0, 3)))
        ]

    return {
        "Name": draw(NAMES),
        "LayerType": draw(st.sampled_from(["kgen", "gemm", "runtime_fusion"])),
        "Inputs": tensors(),
        "Constants": tensors(),
        "Outputs": tensors(),
        "TacticName": draw(st.sampled_from(["", "__myl_FcAdd_0x32b2"])),
        "StreamId": "0",
        "Metadata": draw(st.sampled_from(["", "[ONNX Layer: a/b][ONNX Layer: c]"])),
    }


def written(record: LayerRecord) -> str:
    def value(found: object) -> str:
        if isinstance(found, list):
            if found and isinstance(found[0], dict):
                return "[ " + ", ".join(f"{{ {written(item)} }}" for item in found) + "]"
            return "[" + ",".join(str(item) for item in found) + "]"
        return str(found)

    return ", ".join(f"{key}: {value(found)}" for key, found in record.items())


@settings(max_examples=60, deadline=None)
@given(records())
def test_reading_undoes_writing(record: LayerRecord) -> None:
    assert record_from_line(written(record)) == record


def test_every_recorded_line_is_known(data: Path) -> None:
    logs = sorted(data.glob("*.log"))
    assert len(logs) >= 6
    for log in logs:
        lines = list(layer_lines(log.read_text(encoding="utf-8").splitlines()))
        assert lines
        for line in lines:
            record = record_from_line(line)
            # Whatever the grammar read must be all that was written.
            assert written(record).replace(" ", "") == line.strip().replace(" ", "")


def test_the_older_words_of_tensorrt_are_known() -> None:
    line = (
        "Name: Reformatting CopyNode for Input Tensor 0 to {ForeignNode[wf2...head/Cast]}, LayerType: Reformat, "
        "Inputs: [ { Name: x, Location: Device, Dimensions: [1,3,224,224], Format/Datatype: Row major linear FP32 }], "
        "Outputs: [ { Name: Reformatted Input Tensor 0 to {ForeignNode[wf2...head/Cast]}, Location: Device, "
        "Dimensions: [1,3,224,224], Format/Datatype: Row major linear FP16 format }], ParameterType: Reformat, "
        "Origin: REFORMAT, TacticValue: 0x00000000000003e8, StreamId: 0, Metadata: "
    )
    record = record_from_line(line)
    assert record["Name"] == "Reformatting CopyNode for Input Tensor 0 to {ForeignNode[wf2...head/Cast]}"
    assert record["Outputs"] == [
        {
            "Name": "Reformatted Input Tensor 0 to {ForeignNode[wf2...head/Cast]}",
            "Location": "Device",
            "Dimensions": [1, 3, 224, 224],
            "Format/Datatype": "Row major linear FP16 format",
        }
    ]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Layer(Myelin): {ForeignNode[a...b]}, Tactic: 0x0000, x (Float[1,64]) -> y (Float[1,64])",
        "Name: a, Inputs: [], Outputs: []",
        "Name: a, LayerType: kgen, Inputs: [ { Dimensions: [1] }]",
        "Name: a, LayerType: kgen, Inputs: [ { Name: x, Dimensions: [1,b] }]",
        "Name: a, LayerType: kgen, Inputs: [ { Name: x, Dimensions: [1] }",
        "Name: a, LayerType: kgen, Inputs: [], LayerType: gemm",
        "Name: a, LayerType: kgen, Inputs: [], StreamId: 0, SurpriseId: 3, Metadata: ",
        "Name: a, LayerType: kgen, Inputs: [] and more",
    ],
)
def test_an_unknown_line_is_an_error(line: str) -> None:
    with pytest.raises(GrammarError):
        record_from_line(line)


def test_only_the_layers_section_is_read() -> None:
    log = ["[VERBOSE] Name: no layer", "[VERBOSE] Layers:", "one", "", "two", "I/O Tensors:", " Name: x, IOMode: Input"]
    assert list(layer_lines(log)) == ["one", "two"]
    assert list(layer_lines(["After the Layers:", "nothing"])) == []
