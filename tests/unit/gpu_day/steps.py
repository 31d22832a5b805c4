"""Steps as a day runs them, each with another ending."""

from __future__ import annotations

import os
import time

from ftsf_export.errors import EnvironmentLacks
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell


def fine(request: Message, tell: Tell) -> Message:
    tell({"said": request.value, "right": True})
    return Message()


def wrong(_: Message, tell: Tell) -> Message:
    tell({"said": "off", "right": False})
    return Message()


def dies(_: Message, tell: Tell) -> Message:
    tell({"said": "before"})
    os.abort()


def hangs(_: Message, tell: Tell) -> Message:
    tell({"said": "before"})
    time.sleep(60)
    return Message()


def lacks(_: Message, _tell: Tell) -> Message:
    raise EnvironmentLacks("not installed: tensorrt")
