"""The child's side: makes the handler that the parent named, and calls it for each request until the parent is gone.

The handler is a function of a request and ``tell``, which sends a remark (any JSON value) while it works, from any
thread; or a class without arguments whose one instance is called like that, for work that keeps something between
calls. The child has no end of its own: it lives until its parent kills it, or until the pipe from the parent ends,
which it does however the parent died. PR_SET_PDEATHSIG is not asked for: it fires when the *thread* that started the
child ends, and it spares what the child has started.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import IO, Any

from ftsf_export.memory import out_of_memory
from ftsf_export.process import carried
from ftsf_export.process.channel import ANSWER, ERROR, NOTE, START, Message, receive, send

Tell = Callable[[Any], None]
Handler = Callable[[Message, Tell], Message]


def main(target: str) -> None:
    """Serve ``target`` ("module:function" or "module:Class"). What libraries print goes to stderr."""
    calls, answers = _pipes()
    lock = threading.RLock()
    requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(calls, requests), daemon=True).start()

    def say(kind: str, message: Message) -> None:
        with lock:
            send(answers, kind, message)

    answers.write(START)
    answers.flush()
    handler: Handler | None = None
    while True:
        request = requests.get()
        try:
            handler = handler or _handler(target)
            say(ANSWER, handler(request, lambda value: say(NOTE, Message(value))))
        except Exception as error:
            # Whatever a library raises has to reach the parent: nobody reads this process's traceback.
            say(ERROR, Message(carried.json_of(out_of_memory(error) or error)))


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Private copies of stdin and stdout, which nothing that this process starts inherits."""
    calls, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return calls, answers


def _handler(target: str) -> Handler:
    module, _, name = target.partition(":")
    found: Any = getattr(import_module(module), name)
    handler: Handler = found() if isinstance(found, type) else found
    return handler


def _listen(calls: IO[bytes], requests: queue.SimpleQueue[Message]) -> None:
    try:
        while True:
            requests.put(receive(calls)[1])
    finally:
        # The parent is gone, and nobody wants this work any more, nor that of whatever was started here.
        if sys.platform != "win32" and os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)
