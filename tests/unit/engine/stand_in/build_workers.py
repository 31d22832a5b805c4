"""In place of the process that compiles: each fails in its own way."""

import os
import resource
import sys
import time

from ftsf_export.engine.compiler_log import compiler_log
from ftsf_export.engine.request import BuildRequest, CompilerRefusal
from ftsf_export.engine.worker import _written
from ftsf_export.process.channel import Message
from ftsf_export.process.child import Tell
from ftsf_export.strict_json import structured


def write_log(request: Message, text: str) -> None:
    structured(request.value, BuildRequest, "the request to build").log_path.write_text(text, encoding="utf-8")


def aborts(request: Message, tell: Tell) -> Message:
    """A compiler that dies in the middle of its work, the way native code does."""
    tell({"phase": "Building engine", "done": 1, "total": 6})
    write_log(request, "[INFO] all is well\n[ERROR] CHECK(def_tactic_desc) failed\n  second line\n[VERBOSE] bye\n")
    print("terminate called after throwing an instance", file=sys.stderr, flush=True)
    os.abort()


def ends(_request: Message, _tell: Tell) -> Message:
    """Ends well and says nothing of an engine."""
    sys.exit(0)


def full_disk(request: Message, _tell: Tell) -> Message:
    """Finds no room for its engine."""
    order = structured(request.value, BuildRequest, "the request to build")
    order.output.symlink_to("/dev/full")
    _written(order, b"an engine")
    raise AssertionError


def full_log(request: Message, _tell: Tell) -> Message:
    """Finds no room for its log; the compiler that writes it stands no exception."""
    order = structured(request.value, BuildRequest, "the request to build")
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, resource.RLIM_INFINITY))
    with compiler_log(order.log_path) as log:
        for line in ("[INFO] one\n", "[INFO] two\n"):
            log.write(line)
    raise AssertionError


def spins(_request: Message, _tell: Tell) -> Message:
    while True:
        pass


def refuses(request: Message, _tell: Tell) -> Message:
    write_log(request, "[ERROR] no node named op: Attention\n")
    raise CompilerRefusal("see the log")


def lingers(request: Message, _tell: Tell) -> Message:
    write_log(request, "[VERBOSE] slow\n")
    time.sleep(60)
    raise AssertionError


def breaks(_request: Message, _tell: Tell) -> Message:
    raise LookupError("a bug of the worker")
