"""Answering beside transformers in f32: prefill of 1,024 tokens and what follows, with an unmerged adapter and without.

    .venv/bin/python tests/compare/decode.py [--quick] [--runs 3] [--shapes 135M 0.5B]
"""

from __future__ import annotations

import sys

from side_by_side import (
    arguments, checkpoint, chosen, keep, layer_weights, lora_weights, machine, median, ours, peak, peaks, table, take_turns, theirs,
)


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--prompt-tokens", type=int, default=1024)
    parser.add_argument("--new-tokens", type=int, default=24)
    given = parser.parse_args()
    shapes, runs = chosen(given)
    rows, kept, n = [], {}, given.threads
    for shape in shapes:
        common = ["--model", checkpoint(shape), "--prompt-tokens", given.prompt_tokens, "--new-tokens", given.new_tokens]
        figures = take_turns(
            {
                "ours": lambda: ours("generate", *common, threads=n),
                "transformers": lambda: theirs("generate", *common, threads=n),
                "ours adapter": lambda: ours("generate", *common, "--adapter", "fresh", threads=n),
                "transformers adapter": lambda: theirs("generate", *common, "--adapter", threads=n),
            },
            runs,
        )
        kept[shape] = figures
        flops, bandwidth = peaks(n)
        blocks, head = layer_weights(shape)
        for name, suffix, extra in (("no adapter", "", 0), ("adapter unmerged", " adapter", lora_weights(shape))):
            mine, other = figures["ours" + suffix], figures["transformers" + suffix]
            limits = {
                "prefill": flops / (2 * (blocks + extra)),
                "decode": bandwidth / (4 * (blocks + head + extra)),
            }
            for what, limit in limits.items():
                key = f"{what}_tokens_per_second"
                speed, speed_other = median(mine, key), median(other, key)
                rows.append(
                    [
                        f"{shape}, {what}, {name}", f"{speed:.1f}", f"{speed_other:.1f}", f"{speed / speed_other:.2f}",
                        f"{limit:.0f}", f"{100 * speed / limit:.0f} %",
                        f"{peak(mine):.2f}", f"{peak(other):.2f}", f"{peak(mine) / peak(other):.2f}",
                    ]
                )
                print(rows[-1], file=sys.stderr, flush=True)
    print(machine(n))
    flops, bandwidth = peaks(n)
    print(f"This machine now: {flops / 1e9:.0f} GFLOP/s in f32 matrix products, {bandwidth / 1e9:.1f} GB/s read from memory")
    print("The decode limit is that of weights in f32; where ours are kept in bf16, we may go beyond it.")
    headers = ["work", "hotplate tok/s", "transformers tok/s", "ratio", "f32 limit tok/s", "of the limit"]
    print(table([*headers, "hotplate GB", "transformers GB", "ratio"], rows))
    keep(given, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
