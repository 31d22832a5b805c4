"""A hub of one model, on this machine: ``python hub_server.py FOLDER LOG`` prints its address and serves until killed.

What a client asks for is written to LOG, one request a line, with the bytes it asks for. The first request for the
weights is cut off half way. As on the hub, an ETag is the SHA-256 of a file's content.
"""

from __future__ import annotations

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = "somebody/timesformer-tiny"
FOLDER, LOG = Path(sys.argv[1]), Path(sys.argv[2])
CUT = {"model.safetensors"}


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        with LOG.open("a") as log:
            log.write(f"{self.command} {path} {self.headers.get('Range', '')}".strip() + "\n")
        files = {file.name: file.read_bytes() for file in FOLDER.iterdir()}
        if path in (f"/api/models/{MODEL}/revision/{name}" for name in ("main", COMMIT)):
            siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
            self.send(json.dumps({"_id": "1", "id": MODEL, "sha": COMMIT, "siblings": siblings}).encode(), body)
        elif path == f"/api/models/{MODEL}/tree/{COMMIT}":
            tree = [{"type": "file", "path": n, "size": len(d), "oid": digest(d)} for n, d in files.items()]
            self.send(json.dumps(tree).encode(), body)
        elif path.startswith(f"/{MODEL}/resolve/{COMMIT}/") and (name := path.rsplit("/", 1)[1]) in files:
            self.send(files[name], body, name)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RevisionNotFound" if MODEL in path else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def send(self, data: bytes, body: bool, name: str = "") -> None:
        start = (
            int(self.headers["Range"].removeprefix("bytes=").rstrip("-").split("-")[0])
            if "Range" in self.headers
            else 0
        )
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if name:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{digest(data)}"')
        self.end_headers()
        if not body:
            return
        if name in CUT:
            CUT.discard(name)
            self.wfile.write(data[start : len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
        else:
            self.wfile.write(data[start:])

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
