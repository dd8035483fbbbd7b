"""How near a run's first plan, and each time left that was shown, came to what the run took; and how long the bar stood still.

    .venv/bin/python tests/compare/plan.py --base MODEL.gguf [--notes 120] [--binary PROGRAM]

A fresh home, so that nothing was measured before: the plan's two trial steps are all that it goes by.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hotplate_process import Hotplate, short_folder
from notes import write_notes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--notes", type=int, default=120)
    parser.add_argument("--binary", type=Path)
    given = parser.parse_args()
    home = short_folder()
    hotplate = Hotplate(home, given.binary)
    folder = write_notes(home / "notes", given.notes)
    command = [hotplate.binary, "train", folder, "--base", given.base, "--json"]
    begun = last = time.monotonic()
    silence, shown, planned, result = 0.0, [], None, {}
    try:
        with subprocess.Popen(command, env=hotplate.environment(), stdout=subprocess.PIPE, text=True) as run:
            for line in run.stdout:
                said, now = json.loads(line), time.monotonic()
                silence, last = max(silence, now - last), now
                if "tokens_per_step" in said:
                    planned = said.get("seconds")
                    left = planned
                else:
                    left = said.get("seconds_left")
                    result = said.get("result") or said if said.get("event") == "finished" else result
                if left is not None:
                    shown.append((now - begun, left))
    finally:
        hotplate.close()
    took = time.monotonic() - begun
    ratios = [(at + left) / took for at, left in shown]
    outside = sum(not 1 / 1.5 <= ratio <= 1.5 for ratio in ratios)
    print(f"planned {planned:.0f} s, took {took:.0f} s" if planned else f"no plan in time, took {took:.0f} s")
    print(f"{len(ratios)} times shown: {min(ratios):.2f} to {max(ratios):.2f} of what it took, {outside} beyond a factor of 1.5")
    print(f"longest silence {silence:.1f} s; ended at step {result.get('steps')}, best {result.get('best_step')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
