"""Measures the kernel beside ipykernel: process start to kernel_info_reply, and a cell's round trip (`%status` beside `pass`).

Both are asked by the same client over the same sockets, in turns, with nothing else between. A daemon runs, so that `%status` is an
answer of the daemon's and not of the kernel alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import zmq
from jupyter_client.connect import write_connection_file
from jupyter_client.session import Session

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from hotplate_process import Hotplate, built, short_folder  # noqa: E402

PATIENCE_MS = 30_000


class Kernel:
    """A kernel process and one front end's shell and iopub sockets."""

    def __init__(self, words: list[str], folder: Path, variables: dict[str, str]):
        file, info = write_connection_file(str(folder / f"connection-{time.monotonic_ns()}.json"))
        self.session = Session(key=info["key"].encode())
        self.context = zmq.Context()
        self.shell, self.iopub = self.context.socket(zmq.DEALER), self.context.socket(zmq.SUB)
        self.iopub.subscribe(b"")
        for socket, port in [(self.shell, "shell_port"), (self.iopub, "iopub_port")]:
            socket.linger = 0
            # A client that tries again every 100 ms would measure itself.
            socket.reconnect_ivl = 1
            socket.connect(f"tcp://127.0.0.1:{info[port]}")
        begun = time.perf_counter()
        command = [file if word == "CONNECTION" else word for word in words]
        self.process = subprocess.Popen(command, env=os.environ | variables, cwd=folder, stdout=subprocess.DEVNULL)
        self.session.send(self.shell, "kernel_info_request", {})
        self.reply(self.shell)
        self.start = time.perf_counter() - begun

    def reply(self, socket) -> dict:
        assert socket.poll(PATIENCE_MS), "no answer"
        _, frames = self.session.feed_identities(socket.recv_multipart())
        return self.session.deserialize(frames)

    def cell(self, code: str) -> float:
        """Seconds from sending a cell to having both its reply and its idle state."""
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
        begun = time.perf_counter()
        request = self.session.send(self.shell, "execute_request", content)
        identity = request["header"]["msg_id"]
        reply = self.reply(self.shell)
        assert reply["content"]["status"] == "ok", reply["content"]
        while True:
            message = self.reply(self.iopub)
            if message["parent_header"].get("msg_id") == identity and message["content"].get("execution_state") == "idle":
                return time.perf_counter() - begun

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.context.destroy(linger=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--cells", type=int, default=300)
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    args = parser.parse_args()

    home = Hotplate(short_folder())
    try:
        home.json("models")  # starts the daemon
        variables = {"HOTPLATE_HOME": str(home.home), "HOTPLATE_BIN": str(home.binary)}
        ours = [str(built("hotplate-kernel")), "run", "CONNECTION"]
        theirs = [sys.executable, "-m", "ipykernel_launcher", "-f", "CONNECTION"]
        figures = {name: {"start": [], "cell": []} for name in ("hotplate", "ipykernel")}
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(args.starts):
                for name, words in [("hotplate", ours), ("ipykernel", theirs)]:
                    kernel = Kernel(words, Path(folder), variables)
                    figures[name]["start"].append(kernel.start)
                    kernel.close()
            pair = {"hotplate": (Kernel(ours, Path(folder), variables), "%status"), "ipykernel": (Kernel(theirs, Path(folder), variables), "pass")}
            for kernel, code in pair.values():
                for _ in range(20):
                    kernel.cell(code)
            for _ in range(args.cells):
                for name, (kernel, code) in pair.items():
                    figures[name]["cell"].append(kernel.cell(code))
            for kernel, _ in pair.values():
                kernel.close()
    finally:
        home.close()

    def row(what: str, key: str) -> str:
        cells = []
        for name in ("hotplate", "ipykernel"):
            values = sorted(1000 * value for value in figures[name][key])
            cells.append(f"{statistics.median(values):.1f} ({values[0]:.1f} to {values[int(0.95 * (len(values) - 1))]:.1f})")
        return f"| {what} | {cells[0]} | {cells[1]} |"

    print("| milliseconds, median (least to 95 %) | hotplate-kernel | ipykernel |\n|---|---|---|")
    print(row("process start to kernel_info_reply", "start"))
    print(row("round trip of `%status`, of `pass`", "cell"))
    if args.json:
        args.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
