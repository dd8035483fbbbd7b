"""Training on dense rows (2 x 256 tokens, every token supervised) beside peft, kept activations and recomputed ones.

    .venv/bin/python tests/compare/train_dense.py [--quick] [--runs 3] [--shapes 135M 0.5B] [--peers f32 bf16]
"""

from __future__ import annotations

import sys

from side_by_side import (
    PEFT, arguments, checkpoint, chosen, compared, keep, layer_weights, machine, median, ours, peak, peaks_said, product_peak, table, take_turns, theirs,
    train_flops, with_peers,
)


def main() -> int:
    given = with_peers(arguments(__doc__.splitlines()[0])).parse_args()
    shapes, runs = chosen(given)
    rows, kept, n = [], {}, given.threads
    for shape in shapes:
        model = checkpoint(shape)
        steps = 4 if shape == "135M" else 2
        common = ["--model", model, "--rows", 2, "--tokens", 256, "--steps", steps]
        sides = {}
        for name, recompute, more in (("kept", "never", []), ("recomputed", "always", ["--recompute"])):
            sides[f"ours {name}"] = lambda recompute=recompute: ours("train", *common, "--recompute", recompute, threads=n)
            for peer in given.peers:
                words = ["train", *common, "--dtype", PEFT[peer], *more]
                sides[f"{peer} {name}"] = lambda words=words: theirs(*words, threads=n)
        figures = take_turns(sides, runs)
        kept[shape] = figures
        weights = sum(layer_weights(shape)) / 1e9
        for name in ("kept", "recomputed"):
            mine = figures[f"ours {name}"]
            floor = 512 / (train_flops(shape, 512, 510, name == "recomputed") / product_peak(n))
            for peer in given.peers:
                other = figures[f"{peer} {name}"]
                speed, speed_other, ratio = compared(mine, other, "median_tokens_per_second")
                rows.append(
                    [
                        f"{shape}, {name}, peft {peer}", f"{speed:.0f}", f"{speed_other:.0f}", f"{ratio:.2f}", f"{floor:.0f}",
                        f"{100 * speed / floor:.0f} %", f"{peak(mine):.2f}", f"{peak(other):.2f}", f"{peak(mine) / peak(other):.2f}",
                        f"{2 * weights:.2f}",
                    ]
                )
                print(rows[-1], file=sys.stderr, flush=True)
    print(machine(n))
    print(peaks_said(n))
    headers = ["work", "hotplate tok/s", "peft tok/s", "ratio", "limit tok/s", "of the limit"]
    print(table([*headers, "hotplate GB", "peft GB", "ratio", "bf16 weights GB"], rows))
    keep(given, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
