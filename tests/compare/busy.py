"""Training beside a compiler that keeps two jobs busy (`cargo build -j2`), ours and peft's.

    .venv/bin/python tests/compare/busy.py [--quick] [--runs 3]

The compiler works in a folder of its own on this project's own dependencies; nothing of the usual build is touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time

from side_by_side import ROOT, arguments, checkpoint, chosen, keep, machine, median, ours, table, take_turns, theirs


@contextlib.contextmanager
def compiler():
    """`cargo build -j2` of the engine, begun again whenever it ends."""
    with tempfile.TemporaryDirectory() as folder:
        command = (
            f"while true; do cargo build --offline --release -j2 -p hotplate-engine --target-dir {folder}/t; rm -rf {folder}/t; done"
        )
        environment = os.environ | {"CARGO_INCREMENTAL": "0"}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        busy = subprocess.Popen(["bash", "-c", command], cwd=ROOT, env=environment, start_new_session=True, **quiet)
        try:
            # The first seconds go to reading the manifest.
            time.sleep(4)
            yield
            if busy.poll() is not None:
                raise SystemExit("the compiler ended by itself; is cargo there?")
        finally:
            os.killpg(busy.pid, signal.SIGKILL)
            busy.wait()


def beside(measure):
    with compiler():
        return measure()


def main() -> int:
    given = arguments(__doc__.splitlines()[0]).parse_args()
    _, runs = chosen(given)
    n = given.threads
    common = ["train", "--model", checkpoint("135M"), "--rows", 2, "--tokens", 256, "--steps", 4]
    figures = take_turns(
        {
            "ours alone": lambda: ours(*common, threads=n),
            "ours busy": lambda: beside(lambda: ours(*common, threads=n)),
            "peft alone": lambda: theirs(*common, threads=n),
            "peft busy": lambda: beside(lambda: theirs(*common[:-1], 2, threads=n)),
        },
        runs,
    )
    rows = []
    for name in ("ours", "peft"):
        alone, busy = (median(figures[f"{name} {when}"], "median_tokens_per_second") for when in ("alone", "busy"))
        rows.append([name, f"{alone:.0f}", f"{busy:.0f}", f"{busy / alone:.2f}"])
    print(machine(n))
    print(table(["135M, 2 x 256", "alone tok/s", "beside cargo build -j2 tok/s", "kept"], rows))
    keep(given, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
