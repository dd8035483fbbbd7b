"""Training on data with real lengths (median 90, longest 512, the first half of each masked) beside peft.

    .venv/bin/python tests/compare/train_real.py [--quick] [--runs 3] [--samples 80] [--shapes 135M 0.5B] [--peers f32 bf16]

peft gets batches of 4, padded to the longest; we pack. Real tokens are counted, padding is not.
"""

from __future__ import annotations

import json
import sys

from side_by_side import (
    PEFT, arguments, checkpoint, chosen, compared, keep, machine, ours, peak, peaks_said, product_peak, real_samples, table, take_turns, theirs,
    train_flops, with_peers,
)


def main() -> int:
    parser = with_peers(arguments(__doc__.splitlines()[0]))
    parser.add_argument("--samples", type=int, help="samples (80; of the larger shape 32, quick 40)")
    given = parser.parse_args()
    shapes, runs = chosen(given)
    rows, kept, n = [], {}, given.threads
    for shape in shapes:
        model, data = checkpoint(shape), real_samples(shape)
        samples = given.samples or (40 if given.quick else 80 if shape == "135M" else 32)
        common = ["--model", model, "--data", data, "--limit", samples, "--batch", 4]
        sides = {"ours": lambda: ours("train", *common, threads=n)}
        for peer in given.peers:
            sides[f"peft {peer}"] = lambda dtype=PEFT[peer]: theirs("train", *common, "--dtype", dtype, threads=n)
        figures = take_turns(sides, runs)
        kept[shape] = figures
        lines = [json.loads(line) for line in data.read_text().splitlines()][:samples]
        tokens = sum(len(line["input_ids"]) for line in lines)
        supervised = sum(sum(label >= 0 for label in line["labels"]) for line in lines)
        floor = tokens / (train_flops(shape, tokens, supervised) / product_peak(n))
        mine = figures["ours"]
        for other in [side for side in figures if side != "ours"]:
            speed, speed_other, ratio = compared(mine, figures[other], "tokens_per_second")
            rows.append(
                [
                    f"{shape}, {samples} samples, {other}", f"{speed:.0f}", f"{speed_other:.0f}", f"{ratio:.2f}",
                    f"{floor:.0f}", f"{100 * speed / floor:.0f} %",
                    f"{peak(mine):.2f}", f"{peak(figures[other]):.2f}", f"{peak(mine) / peak(figures[other]):.2f}",
                ]
            )
            print(rows[-1], file=sys.stderr, flush=True)
    print(machine(n))
    print(peaks_said(n))
    headers = ["work", "hotplate tok/s", "peft tok/s", "ratio", "limit tok/s", "of the limit", "hotplate GB", "peft GB", "ratio"]
    print(table(headers, rows))
    keep(given, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
