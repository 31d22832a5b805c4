"""What this machine has, by its driver alone: a driver that is absent, refuses, or answers."""

from __future__ import annotations

import ctypes

import pytest

from ftsf_export.engine import machine

_ANSWERS = {75: 8, 76: 6}


class FakeDriver:
    """libcuda with one GPU of compute capability 8.6; ``refusal`` is what cuInit returns (100: no device)."""

    def __init__(self, refusal: int = 0) -> None:
        self.refusal = refusal

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        return self.refusal

    def cuDeviceGet(self, _device: object, _ordinal: int) -> int:  # noqa: N802
        return 0

    def cuDeviceGetAttribute(self, value: object, attribute: int, _device: object) -> int:  # noqa: N802
        value._obj.value = _ANSWERS[attribute]  # type: ignore[attr-defined]
        return 0


def test_no_driver_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert machine.gpu_capability() is None


@pytest.mark.parametrize(("refusal", "capability"), [(0, 86), (100, None)])
def test_the_driver_is_asked(monkeypatch: pytest.MonkeyPatch, refusal: int, capability: int | None) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: FakeDriver(refusal))
    assert machine.gpu_capability() == capability


def test_installed_builders_are_found_without_importing_them() -> None:
    here = machine.machine_here()
    assert isinstance(here.rtx_installed, bool)
    assert isinstance(here.tensorrt_installed, bool)
