"""From nothing to the first token, with the file in the system's page cache, beside llama.cpp; and what a warm base takes.

    .venv/bin/python tests/compare/load.py [--quick] [--runs 5] [--shapes 135M 0.5B] [--llama-python PYTHON]
"""

from __future__ import annotations

import sys
from pathlib import Path

from llama_cpp import FORMATS, about_llama, gguf_file, theirs
from side_by_side import arguments, checkpoint, chosen, compared, keep, machine, median, ours, peak, table, take_turns


def read(place: Path) -> int:
    """Brings the weights into the page cache; their bytes."""
    file = place / "model.safetensors" if place.is_dir() else place
    with file.open("rb") as opened:
        while opened.read(1 << 24):
            pass
    return file.stat().st_size


def ours_in_seconds(place: Path, threads: int) -> dict:
    told = ours("load", "--model", place, threads=threads)
    return told | {"load_seconds": told["first_token_ms"] / 1e3}


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--llama-python", default=sys.executable, help=about_llama)
    given = parser.parse_args()
    shapes, runs = chosen(given)
    rows, kept, n = [], {}, given.threads
    for shape in shapes:
        places = {f"{shape}, {word}": gguf_file(shape, kind) for word, (kind, _) in FORMATS.items()}
        for name, place in {**places, f"{shape}, bf16, safetensors": checkpoint(shape)}.items():
            size = read(place)
            sides = {"ours": lambda place=place: ours_in_seconds(place, n)}
            if place.is_file():
                words = ["--prompt-tokens", 4, "--new-tokens", 1, "--threads", n]
                sides["llama.cpp"] = lambda place=place: theirs(given.llama_python, place, *words)
            figures = take_turns(sides, runs)
            mine = figures["ours"]
            kept[name] = figures
            row = [name, f"{median(mine, 'load_seconds') * 1e3:.0f}"]
            if place.is_file():
                other, _, ratio = compared(figures["llama.cpp"], mine, "load_seconds")
                row += [f"{other * 1e3:.0f}", f"{ratio:.2f}"]
            else:
                row += ["", ""]
            row += [f"{median(mine, 'settle_ms'):.0f}", f"{median(mine, 'memory') / size:.3f}", f"{peak(mine) * 1e9 / size:.3f}"]
            rows.append(row)
    print(machine(n))
    print(table(["work", "ms", "llama.cpp", "its time over ours", "copied behind it, ms", "memory / file", "at most"], rows))
    keep(given, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
