"""What the children of these tests do. Found by its module's name: the tests put this folder on the path."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np

from ftsf_export import errors
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell


class StrangeError(errors.BuildError):
    """A class that the parent does not know."""


def echo(request: Message, _tell: Tell) -> Message:
    return request


def remark(request: Message, tell: Tell) -> Message:
    """Remarks from several threads, each whole, and the answer behind them."""
    threads = [threading.Thread(target=lambda: [tell({"n": n}) for n in range(request.value)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Message("done")


def remark_on_and_on(_request: Message, tell: Tell) -> Message:
    """A library's threads go on while the answer is on its way."""

    def go_on() -> None:
        while True:
            tell("and another thing")

    for _ in range(2):
        threading.Thread(target=go_on, daemon=True).start()
    return Message(arrays={str(n): np.full(100_000, n, np.uint8) for n in range(40)})


def chatter(_request: Message, _tell: Tell) -> Message:
    print("a library's line")
    os.write(1, b"bytes of native code\n")
    subprocess.run([sys.executable, "-c", "print('a tool')"], check=True)
    sys.stdout.flush()
    return Message(sys.stdin.read())


def raise_ours(request: Message, _tell: Tell) -> Message:
    print("the library's own log", file=sys.stderr, flush=True)
    if request.value == "ConfigError":
        raise errors.ConfigError(["batch: too small", "opset: too old"])
    if request.value == "EnvironmentLacks":
        raise errors.EnvironmentLacks("no compiler", install="pip install compiler", details="searched")
    if request.value == "StrangeError":
        raise StrangeError("refused", details="why")
    raise KeyError("nobody's")


def unsendable(request: Message, _tell: Tell) -> Message:
    return Message(arrays={"objects": np.array([object()])}) if request.value else Message({1, 2})


def end(request: Message, _tell: Tell) -> Message:
    print("terminate called", file=sys.stderr, flush=True)
    if isinstance(request.value, str):
        os.kill(os.getpid(), signal.Signals[request.value])
        time.sleep(60)
    sys.exit(request.value)


def half_a_frame(_request: Message, _tell: Tell) -> Message:
    """Dies between the length and the end of a frame, with a copy of its pipe in a process of its group."""
    pipe = next(fd for fd in range(3, 64) if _writes_to_a_pipe(fd))
    os.write(pipe, (1000).to_bytes(8, "big") + b'{"kind"')
    if os.fork() == 0:
        time.sleep(60)
    os._exit(3)


def close_and_linger(_request: Message, _tell: Tell) -> Message:
    os.close(next(fd for fd in range(3, 64) if _writes_to_a_pipe(fd)))
    time.sleep(60)
    raise AssertionError


def with_a_grandchild(_request: Message, tell: Tell) -> Message:
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    tell([os.getpid(), grandchild.pid])
    # In one call, which the interpreter cannot interrupt for anybody.
    time.sleep(120)
    raise AssertionError


class Counter:
    """Keeps something between calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, request: Message, _tell: Tell) -> Message:
        self.calls += 1
        if request.value == "fail":
            raise errors.RunError("this call alone")
        return Message([self.calls, os.getpid()])


def _writes_to_a_pipe(fd: int) -> bool:
    import fcntl
    import stat

    try:
        mode: Any = os.fstat(fd).st_mode
        return stat.S_ISFIFO(mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_WRONLY == os.O_WRONLY
    except OSError:
        return False


def spin(_request: Message, _tell: Tell) -> Message:
    while True:
        pass


def fill(_request: Message, _tell: Tell) -> Message:
    held = []
    while True:
        held.append(bytearray(1 << 20))


def work(request: Message, _tell: Tell) -> Message:
    begun = time.process_time()
    while time.process_time() - begun < request.value["busy_s"]:
        pass
    time.sleep(request.value.get("asleep_s", 0.0))
    return Message()
