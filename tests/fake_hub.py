"""A model hub on this machine: the endpoints that fetching needs, and the faults that real lines have."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class FakeHub:
    """Serves `files` as the model `model`. Weights are sent from another address, as large files are on the real one."""

    model: str
    files: dict[str, bytes]
    commit: str = COMMIT
    revisions: tuple[str, ...] = ("main",)
    #: Bytes after which the connection of a weight file is cut, one entry a request.
    cuts: list[int] = field(default_factory=list)
    #: The store ignores ranges and always sends everything.
    no_ranges: bool = False
    #: The hub does not know HEAD.
    no_head: bool = False
    #: Answer everything with this status.
    status: int | None = None
    error_code: str | None = None
    token: str | None = None
    #: Sent instead of the right bytes.
    spoilt: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> "FakeHub":
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                if hub.no_head:
                    self.plain(501)
                else:
                    hub.answer(self, body=False)

            def do_GET(self):
                hub.answer(self, body=True)

            def plain(self, status: int, content: bytes = b"", **headers: str):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # Who is killed in the middle of an answer is no news.
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def fetched(self, method: str = "GET") -> list[str]:
        """Paths of the requests for files."""
        return [request.path for request in self.requests if request.method == method and "/api/" not in request.path]

    def answer(self, handler, body: bool) -> None:
        path = unquote(urlsplit(handler.path).path)
        self.requests.append(Request(handler.command, path, dict(handler.headers)))
        if self.status is not None:
            more = {"X_Error_Code": self.error_code} if self.error_code else {}
            return handler.plain(self.status, b"no", **more)
        if path.startswith("/store/"):
            return self.send(handler, path.removeprefix("/store/"), {})
        if self.token is not None and handler.headers.get("Authorization") != f"Bearer {self.token}":
            return handler.plain(401, b"who are you?", X_Error_Code="GatedRepo")
        api = f"/api/models/{self.model}"
        if path == api or path in [f"{api}/revision/{revision}" for revision in (*self.revisions, self.commit)]:
            listing = {"id": self.model, "sha": self.commit, "siblings": [{"rfilename": name} for name in self.files]}
            return handler.plain(200, json.dumps(listing).encode(), Content_Type="application/json")
        if path in [f"{api}/tree/{revision}" for revision in (*self.revisions, self.commit)]:
            return handler.plain(200, json.dumps([self.entry(name) for name in self.files]).encode())
        for revision in (*self.revisions, self.commit):
            prefix = f"/{self.model}/resolve/{revision}/"
            if path.startswith(prefix) and path.removeprefix(prefix) in self.files:
                return self.file(handler, path.removeprefix(prefix))
        handler.plain(404, b"Entry not found", X_Error_Code="RepoNotFound")

    def entry(self, name: str) -> dict:
        content = self.files[name]
        entry = {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        if name.endswith(".safetensors"):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return entry

    def file(self, handler, name: str) -> None:
        content = self.files[name]
        known = {"X-Repo-Commit": self.commit}
        if name.endswith(".safetensors"):
            handler.plain(
                302,
                X_Linked_Etag=f'"{hashlib.sha256(content).hexdigest()}"',
                X_Linked_Size=str(len(content)),
                X_Repo_Commit=self.commit,
                # Of another host for whoever compares addresses: the token must not travel there.
                Location=f"http://localhost:{self.server.server_address[1]}/store/{name}",
            )
        else:
            self.send(handler, name, known | {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'})

    def send(self, handler, name: str, headers: dict[str, str]) -> None:
        content = self.spoilt.get(name, self.files[name])
        total, start, status = len(content), 0, 200
        wanted = handler.headers.get("Range")
        if wanted and not self.no_ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, status = int(first), 206
            if start >= total:
                return handler.plain(416)
            content = content[start : int(last) + 1 if last else total]
            headers = headers | {"Content-Range": f"bytes {start}-{start + len(content) - 1}/{total}"}
        handler.send_response(status)
        for key, value in headers.items():
            handler.send_header(key, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        if name.endswith(".safetensors") and self.cuts:
            handler.wfile.write(content[: self.cuts.pop(0)])
            handler.close_connection = True
            handler.wfile.flush()
            handler.connection.close()
            return
        handler.wfile.write(content)


def model_files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
