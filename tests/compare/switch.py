"""Taking turns with 50 resident adapters: the first token after a switch and without one, and what an adapter takes in memory.

    .venv/bin/python tests/compare/switch.py [--quick] [--runs 3] [--adapters 50]
"""

from __future__ import annotations

import sys

from side_by_side import arguments, checkpoint, chosen, keep, machine, median, ours, table, take_turns, theirs


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--adapters", type=int, default=50)
    parser.add_argument("--prompt-tokens", type=int, default=32)
    given = parser.parse_args()
    shapes, runs = chosen(given)
    if given.shapes is None:
        shapes = ["135M"]
    rows, kept, n = [], {}, given.threads
    for shape in shapes:
        common = ["--model", checkpoint(shape), "--adapters", given.adapters, "--prompt-tokens", given.prompt_tokens, "--repeat", 30]
        figures = take_turns(
            {
                "ours": lambda: ours("switch", *common, threads=n),
                "peft": lambda: theirs("switch", *common, threads=n),
            },
            runs,
        )
        kept[shape] = figures
        for name, side in figures.items():
            row = [f"{shape}, {name}"]
            row += [f"{median(side, key):.1f}" for key in ("same_median_ms", "switch_median_ms")]
            row += [f"{median(side, 'ratio'):.3f}"]
            if name == "ours":
                row += [f"{median(side, 'switch_p99_ms'):.1f}", f"{median(side, 'load_median_ms'):.1f}"]
                row += [f"{median(side, 'bytes_on_disk') / 1e6:.2f}", f"{median(side, 'bytes_in_memory') / 1e6:.2f}"]
                row += [f"{median(side, 'memory_over_file'):.3f}"]
            else:
                row += ["", "", "", "", ""]
            rows.append(row)
    print(machine(n))
    headers = ["work", "same ms", "switched ms", "ratio", "switched p99 ms", "from disk ms", "file MB", "memory MB", "memory / file"]
    print(table(headers, rows))
    keep(given, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
