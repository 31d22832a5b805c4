"""A child that takes more than its quota is killed, and the limit is named; time that it only waits does not count."""

from __future__ import annotations

import os
import time

import pytest

from ftsf_export.errors import BuildError
from ftsf_export.process.parent import Child, Ending, run_in_child
from ftsf_export.process.quota import Quota, usage

PLENTY = Quota(processor_s=600.0, memory_bytes=8 << 30)


def failed(ending: Ending) -> BuildError:
    return BuildError(f"it {ending.how}", details="over quota" if ending.over_quota else "")


def test_work_without_end_is_killed_at_its_limit() -> None:
    with pytest.raises(BuildError, match=r"^it was killed at its limit of 0\.5 s of processor time$") as caught:
        run_in_child("served:spin", failed=failed, quota=Quota(processor_s=0.5, memory_bytes=8 << 30))
    assert caught.value.details == "over quota"


def test_memory_without_end_is_killed_at_its_limit() -> None:
    with pytest.raises(BuildError, match=r"^it was killed at its limit of 200 MiB of memory$"):
        run_in_child("served:fill", failed=failed, quota=Quota(processor_s=600.0, memory_bytes=200 << 20))


def test_what_the_child_did_before_the_call_and_what_it_waits_do_not_count() -> None:
    with Child("served:work", failed=failed) as child:
        child.call({"busy_s": 0.6}, quota=PLENTY)
        child.call({"busy_s": 0.0, "asleep_s": 0.6}, quota=Quota(processor_s=0.5, memory_bytes=8 << 30))
        with pytest.raises(BuildError, match=r"limit of 0\.3 s of processor time"):
            child.call({"busy_s": 5.0}, quota=Quota(processor_s=0.3, memory_bytes=8 << 30))


def test_usage_is_that_of_the_process() -> None:
    begun, block = time.process_time(), bytearray(os.urandom(1 << 20)) * 64
    seconds, size = usage(os.getpid()) or (0.0, 0)
    assert seconds == pytest.approx(begun, abs=0.5)
    assert size > len(block)
    assert usage(2**22 + 1) is None
