"""Runs the real `hotplate` in a home of its own.

Knows the command line and the processes behind it; knows nothing of the protocol (see raw_client.py).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
RELEASE = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "release"


def built(name: str) -> Path:
    """A program of this workspace. A missing one is an error, never a skipped test."""
    path = RELEASE / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; build it: cargo build --release --workspace --bins --examples")
    return path


@dataclass
class Result:
    """What a process that has ended left behind."""

    command: list[str]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def lines(self) -> list[dict]:
        """Standard output as JSON, one object a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last(self) -> dict:
        lines = self.lines
        assert lines, f"nothing on standard output\n{self}"
        return lines[-1]

    def __str__(self) -> str:
        return f"$ {' '.join(self.command)}\nexit {self.code} after {self.seconds:.2f} s\n{self.out}\n{self.err}"


class Hotplate:
    """One home, the commands in it, and its daemon."""

    def __init__(self, home: Path, binary: Path | None = None):
        self.home = home
        self.binary = binary or built("hotplate")
        #: More environment for its processes, the daemon's clocks for example.
        self.variables: dict[str, str] = {}

    @property
    def socket(self) -> Path:
        return self.home / "daemon.sock"

    @property
    def log(self) -> str:
        path = self.home / "daemon.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def environment(self, **more: str) -> dict[str, str]:
        # What a person sees, whatever whoever runs the tests has set for himself.
        foreign = ("HOTPLATE_", "XDG_", "RUST_")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        # Peers compute in f32; what bf16 products change has tests of its own.
        ours = {"HOTPLATE_HOME": str(self.home), "HOTPLATE_ARITHMETIC": "f32", "NO_COLOR": "1"}
        return inherited | ours | self.variables | more

    def run(
        self,
        *words: object,
        check: bool = True,
        timeout: float = 120,
        stdin: str | None = None,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> Result:
        """Runs one command to its end. `check`: it must end well."""
        command = [str(self.binary), *map(str, words)]
        start = time.monotonic()
        done = subprocess.run(
            command,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
            env=self.environment() if env is None else env,
        )
        shown = ["hotplate", *map(str, words)]
        result = Result(shown, done.returncode, done.stdout, done.stderr, time.monotonic() - start)
        if check:
            assert result.code == 0, f"{result}\n--- log ---\n{self.log[-4000:]}"
        return result

    def json(self, *words: object, **options) -> dict:
        """The last object that the command prints with --json."""
        return self.run(*words, "--json", **options).last

    def fails(self, *words: object, naming: list[str], **options) -> Result:
        """The command must end with one clear error: exit code above 0, no panic, no traceback, and all of `naming` in it."""
        result = self.run(*words, check=False, **options)
        assert result.code not in (0, 101) and result.code > 0, f"no clean failure\n{result}"
        said = result.err + result.out
        for word in naming:
            assert word.lower() in said.lower(), f"{word!r} is not named\n{result}"
        for noise in ("panicked at", "RUST_BACKTRACE", "stack backtrace"):
            assert noise not in said, f"{noise!r}\n{result}"
        return result

    def start(self, *words: object, **options) -> subprocess.Popen:
        """Starts a command and comes back at once; its output can be read."""
        return subprocess.Popen(
            [str(self.binary), *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(),
            **options,
        )

    def status(self) -> dict:
        return self.json("status")

    def daemons(self) -> list[int]:
        """Process ids of the daemons of this home. Never starts one."""
        found = []
        for process in Path("/proc").iterdir() if Path("/proc").is_dir() else []:
            if not process.name.isdecimal():
                continue
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                variables = (process / "environ").read_bytes().split(b"\0")
                dead = (process / "stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
            except (OSError, IndexError):
                continue
            ours = b"HOTPLATE_HOME=" + os.fsencode(self.home) in variables
            if ours and not dead and b"daemon" in words[1:2]:
                found.append(int(process.name))
        return sorted(found)

    def kill(self) -> None:
        """kill -9, and waits until the processes are gone."""
        for process in self.daemons():
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_until(lambda: not self.daemons(), "the killed daemon to be gone", seconds=10)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


def short_folder(prefix: str = "hp-") -> Path:
    """A temporary folder whose path leaves room for a socket (pytest's own are too long)."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))


def wait_until(condition, what: str, seconds: float = 30, every: float = 0.02):
    """Waits for `condition()` to be true and returns what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(every)
