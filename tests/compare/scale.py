"""What one more step, rank, layer or token costs: seconds a step while one of them doubles and the others stay.

    .venv/bin/python tests/compare/scale.py [--quick] [--runs 3]
"""

from __future__ import annotations

import sys

from side_by_side import arguments, checkpoint, keep, machine, median, ours, table


def main() -> int:
    given = arguments(__doc__.splitlines()[0]).parse_args()
    runs = given.runs or (1 if given.quick else 3)
    n = given.threads
    usual = {"steps": 2, "rank": 16, "layers": 8, "tokens": 256}
    doubled = {
        "steps": [2, 4, 8],
        "rank": [16, 32, 64],
        "layers": [4, 8, 16],
        "tokens": [128, 256, 512],
    }
    if given.quick:
        doubled = {what: values[:2] for what, values in doubled.items()}

    def measure(steps, rank, layers, tokens):
        model = checkpoint("135M", num_hidden_layers=layers)
        words = ["train", "--model", model, "--rows", 2, "--tokens", tokens, "--steps", steps, "--rank", rank]
        return ours(*words, threads=n)

    # All points once per round: a slow minute of the machine meets all of them.
    points = [(what, value) for what, values in doubled.items() for value in values]
    figures = {point: [] for point in points}
    for _ in range(runs):
        for what, value in points:
            figures[what, value].append(measure(**(usual | {what: value})))
    rows = []
    for what, values in doubled.items():
        first = None
        for value in values:
            found = figures[what, value]
            # Steps are judged by all of them together, the others by one.
            seconds = median(found, "seconds") / (1 if what == "steps" else usual["steps"])
            per_unit = seconds / value
            first = first or (value, seconds)
            growth, ideal = seconds / first[1], value / first[0]
            peak = median(found, "peak_memory") / 1e9
            rows.append([what, value, f"{seconds:.3f}", f"{1e3 * per_unit:.2f}", f"{growth:.2f}", f"{ideal:.0f}", f"{peak:.2f}"])
    print(machine(n))
    print(f"Otherwise: 135M shape with {usual['layers']} layers, rank {usual['rank']}, 2 rows of {usual['tokens']} tokens.")
    print(table(["what grows", "to", "seconds", "ms for each one", "grown by", "the number by", "peak GB"], rows))
    print("Grown by less than the number: a fixed part (the head, the frozen layers) does not grow with it. More would be more than linear.")
    keep(given, {f"{what} {value}": found for (what, value), found in figures.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
