"""A client that can misbehave: LSP framing and JSON-RPC by hand, independent of the Rust client."""

from __future__ import annotations

import json
import socket
from pathlib import Path

PROTOCOL = {"min": 1, "max": 1}


class Closed(Exception):
    """The daemon ended the connection."""


class RawClient:
    def __init__(self, path: Path, timeout: float = 10):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.buffer = b""
        self.next_id = 1
        self.notifications: list[dict] = []

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    # Bytes.

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_body(self, body: bytes) -> None:
        self.send_bytes(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def _more(self) -> None:
        try:
            chunk = self.socket.recv(1 << 16)
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            raise Closed(self.buffer)
        self.buffer += chunk

    # Messages.

    def receive(self) -> dict:
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n"))
        length = int(fields[b"Content-Length"])
        while len(self.buffer) < length:
            self._more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return json.loads(body)

    def send(self, method: str, params: object, notification: bool = False) -> int | None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        request = None
        if not notification:
            request = message["id"] = self.next_id
            self.next_id += 1
        self.send_body(json.dumps(message).encode())
        return request

    def reply(self, request: int | None) -> dict:
        """The response to `request`; notifications on the way are kept."""
        while True:
            message = self.receive()
            if "method" in message:
                self.notifications.append(message)
            elif message.get("id") == request:
                return message
            else:
                raise AssertionError(f"an answer to nothing: {message}")

    def call(self, method: str, params: object = None) -> object:
        message = self.reply(self.send(method, {} if params is None else params))
        assert "error" not in message, message["error"]
        return message["result"]

    def call_error(self, method: str, params: object = None) -> dict:
        message = self.reply(self.send(method, {} if params is None else params))
        assert "error" in message, message
        return message["error"]

    def notification(self, method: str) -> dict:
        """The params of the next notification with this method."""
        while True:
            for index, message in enumerate(self.notifications):
                if message["method"] == method:
                    del self.notifications[: index + 1]
                    return message["params"]
            message = self.receive()
            assert "method" in message, message
            self.notifications.append(message)

    def hello(self, protocol: dict | None = None) -> dict:
        """Asks for a session; the whole response."""
        return self.reply(
            self.send(
                "initialize",
                {
                    "processId": None,
                    "clientInfo": {"name": "a test", "version": "0"},
                    "capabilities": {},
                    "initializationOptions": {"hotplate": {"protocol": protocol or PROTOCOL}},
                },
            )
        )

    def session(self) -> dict:
        """A session that must be granted."""
        answer = self.hello()
        assert "error" not in answer, answer
        return answer["result"]

    def is_closed(self) -> bool:
        """Reads to the end: whether the daemon hangs up within the time limit."""
        try:
            while True:
                self._more()
        except Closed:
            return True
        except TimeoutError:
            return False
