"""Run as a script: the plugins registered and driven by NVIDIA's own Python code, with a stand-in for its libraries.

The package ``tensorrt_bindings`` (PyPI, ``tensorrt-cu13-bindings``) holds the Python half of TensorRT's plugins:
what validates a registration and what the builder calls. Its compiled half needs libraries that are not on PyPI. Here
``tensorrt`` is a module of empty classes with a calculator for symbolic sizes, and ``tensorrt.plugin`` is NVIDIA's.
Prints one JSON object: for each plugin what the builder would be told, and what a wrong registration is told.
"""

from __future__ import annotations

import importlib.util
import json
import math
import operator
import re
import sys
import types
from typing import Any

TARGET = 87


class Named(type):
    """Every attribute that is asked for is there, and is its own name."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class Dimension:
    """An IDimensionExpr whose value is known."""

    def __init__(self, value: int) -> None:
        self.value = value

    def is_constant(self) -> bool:
        return True

    def get_constant_value(self) -> int:
        return self.value


class Calculator:
    """An IExprBuilder."""

    OPERATIONS = {
        "SUM": operator.add, "PROD": operator.mul, "FLOOR_DIV": operator.floordiv,
        "CEIL_DIV": lambda a, b: math.ceil(a / b),
    }  # fmt: skip

    def constant(self, value: int) -> Dimension:
        return Dimension(value)

    def operation(self, kind: str, a: Dimension, b: Dimension) -> Dimension:
        return Dimension(self.OPERATIONS[kind.split(".")[1]](a.value, b.value))


def stand_in() -> types.ModuleType:
    """``tensorrt`` with NVIDIA's ``plugin`` in it."""
    found = importlib.util.find_spec("tensorrt_bindings")
    assert found is not None
    assert found.submodule_search_locations is not None
    module = types.ModuleType("tensorrt")
    module.__path__ = list(found.submodule_search_locations)
    for name in ("DataType", "TensorFormat", "PluginFieldType", "DimensionOperation", "TensorRTPhase",
                 "QuickPluginCreationRequest", "PluginArgType", "PluginArgDataType"):  # fmt: skip
        setattr(module, name, Named(name, (), {}))
    for name in ("IPluginV3", "IPluginV3QuickCore", "IPluginV3QuickBuild", "IPluginV3QuickRuntime", "ITensor",
                 "IPluginV3QuickAOTBuild", "IPluginCreatorV3Quick", "PluginTensorDesc", "DynamicPluginTensorDesc",
                 "IExprBuilder", "ISymExpr"):  # fmt: skip
        setattr(module, name, type(name, (), {}))
    module.IDimensionExpr = Dimension  # type: ignore[attr-defined]
    module.DimsExprs = lambda length: [None] * length  # type: ignore[attr-defined]
    module.Dims = type("Dims", (), {"MAX_DIMS": 8})  # type: ignore[attr-defined]
    module.PluginFieldCollection = list  # type: ignore[attr-defined]
    module.PluginField = lambda name, data, kind: types.SimpleNamespace(  # type: ignore[attr-defined]
        name=name, data=data, type=kind
    )
    module.get_plugin_registry = lambda: types.SimpleNamespace(  # type: ignore[attr-defined]
        register_creator=lambda *_: True, get_creator=lambda *_: None
    )
    module.Logger = type("Logger", (), {"WARNING": 0, "log": lambda *_: None})  # type: ignore[attr-defined]
    sys.modules["tensorrt"] = module
    return module


def told(identity: str, inputs: list[tuple[tuple[int, ...], str]], attributes: dict[str, Any]) -> dict[str, Any]:
    """What NVIDIA's plugin class answers to the calls that the builder makes, in its order."""
    from tensorrt.plugin import _lib, _plugin_class  # type: ignore[import-not-found,unused-ignore]

    known = _lib.QDP_REGISTRY[identity]
    plugin = _plugin_class._TemplateAOTPlugin(identity.split("::")[1], "ftsf", known.num_outputs)
    # The parser and the network's API both hand attributes over in the order of the registration.
    attributes = {name: attributes[name] for name in known.input_attrs}
    plugin.init(
        known.register_func, attributes, known.aot_impl_attr_names, known.aot_impl_func,
        known.autotune_attr_names, known.autotune_func,
    )  # fmt: skip
    types_of_inputs = [dtype for _, dtype in inputs]
    answers: dict[str, Any] = {
        "output_types": plugin.get_output_data_types(types_of_inputs, [len(shape) for shape, _ in inputs])
    }
    dimensions = [[Dimension(size) for size in shape] for shape, _ in inputs]
    shapes = plugin.get_output_shapes(dimensions, [], Calculator())
    answers["output_shapes"] = [[size.value for size in shape] for shape in shapes]
    described = [
        types.SimpleNamespace(desc=types.SimpleNamespace(type=dtype, format="LINEAR", scale=1.0, dims=shape))
        for shape, dtype in [*inputs, (tuple(answers["output_shapes"][0]), answers["output_types"][0])]
    ]
    _plugin_class.Shape = lambda described: described  # sizes of a profile: the plugin asks for none
    combinations = plugin.get_supported_format_combinations(described, len(inputs))
    answers["types"] = [one.type for one in combinations]
    plugin.set_tactic(0)
    launch, scalars = types.SimpleNamespace(), Scalars()
    plugin.get_launch_params(dimensions, described, len(inputs), launch, scalars, Calculator())
    answers["grid"] = [getattr(launch, f"grid_{axis}").expr.value for axis in "xyz"]
    answers["block"], answers["shared"] = launch.block_x.expr.value, launch.shared_mem.expr.value
    answers["scalars"] = [scalars[index].expr.value for index in range(scalars.nbSymExprs)]
    name, ptx = plugin.get_kernel([one.desc for one in described[:-1]], [described[-1].desc])
    entry = re.search(rb"\.entry (\w+)\((.*?)\n\)", ptx, re.DOTALL)
    assert entry is not None
    answers["kernel"], answers["entry"] = name, entry[1].decode()
    answers["parameters"] = entry[2].count(b".param")
    answers["architecture"] = re.search(rb"\.target (\w+)", ptx)[1].decode()  # type: ignore[index]
    return answers


class Scalars(dict[int, Any]):
    """An ISymExprs: numbered expressions."""

    nbSymExprs = 0  # noqa: N815 - NVIDIA's name


def refused(plugin_package: Any) -> str:
    """What NVIDIA's code says of an implementation that leaves an argument out."""
    try:

        @plugin_package.aot_impl("ftsf::FtsfAdditiveAttention")
        def implement(qkv: Any, outputs: Any, tactic: int) -> tuple[str, str, Any, Any]:
            raise AssertionError((qkv, outputs, tactic))
    except ValueError as error:
        return str(error)
    return "accepted"


def main() -> None:
    stand_in()
    import tensorrt.plugin as plugin_package

    from ftsf_plugins import deploy
    from ftsf_plugins.additive_attention.plugin import OPERATION as ADDITIVE
    from ftsf_plugins.favor_attention.plugin import OPERATION as FAVOR
    from ftsf_plugins.rotary_attention.plugin import OPERATION as ROTARY

    for operation in (ADDITIVE, FAVOR, ROTARY):
        deploy.register(operation, target=lambda: TARGET)
    shape = {"frames": 8, "tokens": 197, "heads": 8, "width": 64, "pairs": "neighbours"}
    small = [((8, 1), "DataType.FLOAT"), ((1, 32), "DataType.FLOAT")]
    stream = ((3, 8 * 197, 3 * 512), "DataType.HALF")
    weights = [((8, 64), "DataType.FLOAT")] * 2
    omega = ((266, 64), "DataType.HALF")
    features = {"features": 266, "eps": 1e-4, "feature": "softmax"}
    print(
        json.dumps(
            {
                "additive": told(
                    f"ftsf::{ADDITIVE.name}", [stream, *weights, *small], {**shape, "along": "time", "axes": 1}
                ),
                "favor": told(
                    f"ftsf::{FAVOR.name}", [stream, omega, *small], {**shape, "along": "time", "axes": 1, **features}
                ),
                "rotary": told(f"ftsf::{ROTARY.name}", [stream, *small], {**shape, "along": "time", "axes": 1}),
                "joint": told(
                    f"ftsf::{ROTARY.name}",
                    [((3, 1577, 3 * 512), "DataType.HALF"), ((1577, 3), "DataType.FLOAT"), ((3, 32), "DataType.FLOAT")],
                    {**shape, "frames": 1, "tokens": 1577, "along": "space", "axes": 3},
                ),
                "refused": refused(plugin_package),
            },
            default=str,
        )
    )


if __name__ == "__main__":
    main()
