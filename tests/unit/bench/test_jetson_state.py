"""A Jetson's clocks, heat and power mode, from files and a program as they are there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ftsf_export import jetson
from ftsf_export.bench import gpu_state
from ftsf_export.bench.gpu_state import GpuMonitor, gpu_monitor
from ftsf_export.bench.jetson_state import JetsonReader, power_mode
from ftsf_export.runners.driver import Gpu
from ftsf_export.timing import GpuSample

ORIN = Gpu(name="Orin", capability="8.7", memory_bytes=30 << 30, driver_version="", cuda_version="12.6")


def write(root: Path, **files: str) -> Path:
    """Files by their path below /sys/class, "/" written as "__"."""
    for name, text in files.items():
        path = root / "sys/class" / name.replace("__", "/").replace("at_", "")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def orin(root: Path, clock_hz: int = 1_300_500_000, heat: str = "52718") -> Path:
    return write(
        root,
        at_devfreq__17000000__cur_freq="1", **{"devfreq__17000000.gpu__cur_freq": str(clock_hz)},
        thermal__thermal_zone0__type="cpu-thermal", thermal__thermal_zone0__temp="91000",
        thermal__thermal_zone1__type="gpu-thermal", thermal__thermal_zone1__temp=heat,
    )  # fmt: skip


def test_orin_tells_the_clock_and_the_heat_of_its_gpu(tmp_path: Path) -> None:
    """Another device's clock and another zone's heat are not the GPU's."""
    assert JetsonReader(orin(tmp_path)).read() == GpuSample(sm_clock_mhz=1300, temperature_c=52)


def test_thor_tells_its_memorys_clock_too(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        **{"devfreq__gpu-gpc-0__cur_freq": "1575000000", "devfreq__gpu-gpc-1__cur_freq": "1386000000",
           "devfreq__gpu-nvd-0__cur_freq": "1692000000", "devfreq__bwmgr__cur_freq": "4266000000"},
    )  # fmt: skip
    assert JetsonReader(root).read() == GpuSample(sm_clock_mhz=1575, memory_clock_mhz=4266)


def test_what_is_not_there_or_not_a_number_is_unknown(tmp_path: Path) -> None:
    assert JetsonReader(tmp_path).read() == GpuSample()
    assert JetsonReader(orin(tmp_path, heat="")).read() == GpuSample(sm_clock_mhz=1300)


def test_extremes_between_the_timed_calls(tmp_path: Path, clock: Any) -> None:
    monitor = GpuMonitor(ORIN, JetsonReader(orin(tmp_path)), clock, "15W")
    for hertz in (306_000_000, 612_000_000):
        orin(tmp_path, hertz)
        monitor.tick()
        clock.pass_ms(250)
    trace = monitor.trace()
    assert (trace.before.sm_clock_mhz, trace.lowest.sm_clock_mhz, trace.highest.sm_clock_mhz) == (1300, 306, 612)
    assert (trace.power_mode, trace.highest.power_w, trace.highest.throttle_reasons) == ("15W", None, None)


@pytest.mark.parametrize(
    ("said", "mode"),
    [
        ("NV Power Mode: MAXN\n0\n", "MAXN"),
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_30W_ALL\n3\n", "MODE_30W_ALL"),
        ("NVPM ERROR: Error opening /var/lib/nvpmodel/status: 13\n", ""),
        ("", ""),
    ],
)
def test_the_power_mode_as_nvpmodel_prints_it(tmp_path: Path, said: str, mode: str) -> None:
    program = tmp_path / "nvpmodel"
    program.write_text(f'#!{sys.executable}\nimport sys\nassert sys.argv[1:] == ["-q"]\nprint({said!r}, end="")\n')
    program.chmod(0o755)
    assert power_mode(str(program)) == mode


def test_without_nvpmodel_the_power_mode_is_unknown(tmp_path: Path) -> None:
    assert power_mode(str(tmp_path / "nvpmodel")) == ""


def test_a_jetson_is_watched_without_nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 38968081\n")
    monkeypatch.setattr(jetson, "_ROOT", tmp_path)
    monkeypatch.setattr(gpu_state, "JetsonReader", lambda: JetsonReader(orin(tmp_path)))
    monkeypatch.setattr(gpu_state, "power_mode", lambda: "MAXN")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with gpu_monitor(ORIN, "0000:00:00.0") as monitor:
        assert monitor is not None
        trace = monitor.trace()
    assert (trace.driver, trace.power_mode, trace.after.sm_clock_mhz) == ("L4T 36.4.3", "MAXN", 1300)
