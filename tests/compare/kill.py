"""`kill -9` at random instants of saves, runs, swaps, packing, pulls, exports and imports: what is lost, what is half-written, what answers otherwise.

    .venv/bin/python tests/compare/kill.py [--kills 1000] [--seed 1]

Ends at the first thing that is lost; a line of figures every fifty kills.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from killing import Scene  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    begun = time.monotonic()
    with Scene(wanted.seed) as scene:
        for number in range(1, wanted.kills + 1):
            scene.round()
            if number % 50 == 0 or number == wanted.kills:
                print(f"{time.monotonic() - begun:6.0f} s: {scene.figures()}; 0 lost or half-written, all answers equal", flush=True)


if __name__ == "__main__":
    main()
