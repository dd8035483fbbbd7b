"""Training on dense rows (2 x 256 tokens, every token supervised) beside peft in f32 and bf16, kept activations and recomputed ones.

    .venv/bin/python tests/compare/train_dense.py [--quick] [--runs 3] [--shapes 135M 0.5B] [--bf16]
"""

from __future__ import annotations

import sys

from side_by_side import (
    BF16_HELP, arguments, checkpoint, chosen, keep, layer_weights, machine, median, ours, peak, peaks, table, take_turns, theirs, train_flops,
)


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--bf16", action="store_true", help=BF16_HELP)
    given = parser.parse_args()
    shapes, runs = chosen(given)
    rows, kept, n = [], {}, given.threads
    for shape in shapes:
        model = checkpoint(shape)
        steps = 4 if shape == "135M" else 2
        common = ["--model", model, "--rows", 2, "--tokens", 256, "--steps", steps]
        figures = take_turns(
            {
                "ours": lambda: ours("train", *common, "--recompute", "never", threads=n),
                "peft": lambda: theirs("train", *common, threads=n),
                **({"peft bf16": lambda: theirs("train", *common, "--dtype", "bfloat16", threads=n)} if given.bf16 else {}),
                "ours again": lambda: ours("train", *common, "--recompute", "always", threads=n),
                "peft again": lambda: theirs("train", *common, "--recompute", threads=n),
            },
            runs,
        )
        kept[shape] = figures
        flops, _ = peaks(n)
        weights = 4 * sum(layer_weights(shape)) / 1e9
        for name, suffix, again in (("kept", "", False), ("recomputed", " again", True)):
            mine, other = figures["ours" + suffix], figures["peft" + suffix]
            speed, speed_other = median(mine, "median_tokens_per_second"), median(other, "median_tokens_per_second")
            bf16 = figures.get("peft bf16") if not again else None
            half = [f"{speed / median(bf16, 'median_tokens_per_second'):.2f}", f"{peak(mine) / peak(bf16):.2f}"] if bf16 else ["", ""]
            floor = 512 / (train_flops(shape, 512, 510, again) / flops)
            rows.append(
                [
                    f"{shape}, {name}", f"{speed:.0f}", f"{speed_other:.0f}", f"{speed / speed_other:.2f}",
                    f"{floor:.0f}", f"{100 * speed / floor:.0f} %",
                    f"{peak(mine):.2f}", f"{peak(other):.2f}", f"{peak(mine) / peak(other):.2f}", f"{weights:.2f}", *half,
                ]
            )
            print(rows[-1], file=sys.stderr, flush=True)
    print(machine(n))
    print(f"f32 matrix products on this machine now: {peaks(n)[0] / 1e9:.0f} GFLOP/s")
    headers = ["work", "hotplate tok/s", "peft f32 tok/s", "ratio", "limit tok/s", "of the limit"]
    print(table([*headers, "hotplate GB", "peft GB", "ratio", "f32 weights GB", "speed of peft bf16", "memory of peft bf16"], rows))
    keep(given, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
