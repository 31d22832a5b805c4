"""A compiler that dies in the middle of its work, the way native code does."""

import os
import sys

print('{"phase": "Building engine", "done": 1, "total": 6}', flush=True)
with open("builder.log", "w", encoding="utf-8") as log:
    log.write("[INFO] all is well\n[ERROR] CHECK(def_tactic_desc) failed\n  second line\n[VERBOSE] bye\n")
print("terminate called after throwing an instance", file=sys.stderr, flush=True)
os.abort()
