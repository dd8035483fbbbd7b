"""How near a run's first plan, and each time left that was shown, came to what the run took; and how long the bar stood still.

    .venv/bin/python tests/compare/plan.py --base MODEL.gguf [--texts prose] [--seed 1] [--notes 120] [--busy 20] [--binary PROGRAM]

A fresh home, so that nothing was measured before: the plan's two trial steps are all that it goes by. `--busy 20` has another program take a
processor for 20 seconds of every 40. The last line are the losses of the run's looks at its held-out texts, for the tests of the forecast.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hotplate_process import Hotplate, short_folder
from notes import write_notes
from texts import KINDS, write_texts

BUSY = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"


def be_busy(seconds: float, over: threading.Event) -> None:
    while not over.is_set():
        subprocess.run([sys.executable, "-c", BUSY, str(seconds)], check=True)
        over.wait(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--notes", type=int, default=120)
    parser.add_argument("--texts", choices=sorted(KINDS), help="instead of the tests' notes in one voice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--busy", type=float, metavar="SECONDS")
    parser.add_argument("--arithmetic", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--binary", type=Path)
    given = parser.parse_args()
    home = short_folder()
    hotplate = Hotplate(home, given.binary)
    hotplate.variables["HOTPLATE_ARITHMETIC"] = given.arithmetic
    if given.texts:
        folder = write_texts(home / "texts", given.texts, given.notes, given.seed)
    else:
        folder = write_notes(home / "notes", given.notes)
    command = [hotplate.binary, "train", folder, "--base", given.base, "--json"]
    begun = last = time.monotonic()
    silence, shown, looks, planned, likely, result = 0.0, [], [], None, 0, {}
    over = threading.Event()
    if given.busy:
        threading.Thread(target=be_busy, args=(given.busy, over), daemon=True).start()
    try:
        with subprocess.Popen(command, env=hotplate.environment(), stdout=subprocess.PIPE, text=True) as run:
            for line in run.stdout:
                said, now = json.loads(line), time.monotonic()
                silence, last = max(silence, now - last), now
                if "tokens_per_step" in said:
                    planned, likely = said.get("seconds"), said["likely_steps"]
                    left = planned
                else:
                    left = said.get("seconds_left")
                    result = said.get("result") or said if said.get("event") == "finished" else result
                    if said.get("event") == "evaluated":
                        looks.append((said["step"], round(said["heldout_loss"], 4)))
                if left is not None:
                    shown.append((now - begun, left))
    finally:
        over.set()
        hotplate.close()
    took = time.monotonic() - begun
    ratios = [(at + left) / took for at, left in shown]
    outside = sum(not 1 / 1.5 <= ratio <= 1.5 for ratio in ratios)
    print(f"planned {planned:.0f} s, took {took:.0f} s" if planned else f"no plan in time, took {took:.0f} s")
    print(f"{len(ratios)} times shown: {min(ratios):.2f} to {max(ratios):.2f} of what it took, {outside} beyond a factor of 1.5")
    print(f"longest silence {silence:.1f} s; thought to end at step {likely}, ended at {result.get('steps')}, best {result.get('best_step')}")
    print(looks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
