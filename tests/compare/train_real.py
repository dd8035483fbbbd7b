"""Training on data with real lengths (median 90, longest 512, the first half of each masked) beside peft in f32 and bf16.

    .venv/bin/python tests/compare/train_real.py [--quick] [--runs 3] [--samples 80] [--shapes 135M 0.5B] [--bf16]

peft gets batches of 4, padded to the longest; we pack. Real tokens are counted, padding is not.
"""

from __future__ import annotations

import json
import sys

from side_by_side import (
    BF16_HELP, arguments, checkpoint, chosen, keep, machine, median, ours, peak, peaks, real_samples, table, take_turns, theirs, train_flops,
)


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, help="samples (80; of the larger shape 32, quick 40)")
    parser.add_argument("--bf16", action="store_true", help=BF16_HELP)
    given = parser.parse_args()
    shapes, runs = chosen(given)
    rows, kept, n = [], {}, given.threads
    for shape in shapes:
        model, data = checkpoint(shape), real_samples(shape)
        samples = given.samples or (40 if given.quick else 80 if shape == "135M" else 32)
        common = ["--model", model, "--data", data, "--limit", samples, "--batch", 4]
        figures = take_turns(
            {
                "ours": lambda: ours("train", *common, threads=n),
                "peft f32": lambda: theirs("train", *common, threads=n),
                **({"peft bf16": lambda: theirs("train", *common, "--dtype", "bfloat16", threads=n)} if given.bf16 else {}),
            },
            runs,
        )
        kept[shape] = figures
        lines = [json.loads(line) for line in data.read_text().splitlines()][:samples]
        tokens = sum(len(line["input_ids"]) for line in lines)
        supervised = sum(sum(label >= 0 for label in line["labels"]) for line in lines)
        floor = tokens / (train_flops(shape, tokens, supervised) / peaks(n)[0])
        mine = figures["ours"]
        speed = median(mine, "tokens_per_second")
        for other in [side for side in figures if side != "ours"]:
            speed_other = median(figures[other], "tokens_per_second")
            rows.append(
                [
                    f"{shape}, {samples} samples, {other}", f"{speed:.0f}", f"{speed_other:.0f}", f"{speed / speed_other:.2f}",
                    f"{floor:.0f}", f"{100 * speed / floor:.0f} %",
                    f"{peak(mine):.2f}", f"{peak(figures[other]):.2f}", f"{peak(mine) / peak(figures[other]):.2f}",
                ]
            )
            print(rows[-1], file=sys.stderr, flush=True)
    print(machine(n))
    print(f"f32 matrix products on this machine now: {peaks(n)[0] / 1e9:.0f} GFLOP/s")
    headers = ["work", "hotplate tok/s", "peft tok/s", "ratio", "limit tok/s", "of the limit", "hotplate GB", "peft GB", "ratio"]
    print(table(headers, rows))
    keep(given, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
