"""Answering beside transformers: prefill of 1,024 tokens and what follows, with an unmerged adapter and without.

    .venv/bin/python tests/compare/decode.py [--quick] [--runs 3] [--shapes 135M 0.5B] [--peers f32 bf16]
"""

from __future__ import annotations

import sys

from side_by_side import (
    PEFT, arguments, checkpoint, chosen, compared, keep, layer_weights, lora_weights, machine, ours, peak, peaks, peaks_said, product_peak, table,
    take_turns, theirs, with_peers,
)


def main() -> int:
    parser = with_peers(arguments(__doc__.splitlines()[0]))
    parser.add_argument("--prompt-tokens", type=int, default=1024)
    parser.add_argument("--new-tokens", type=int, default=24)
    given = parser.parse_args()
    shapes, runs = chosen(given)
    rows, kept, n = [], {}, given.threads
    for shape in shapes:
        # The median of three in each process: the first one pays for memory that is there later, on both sides.
        common = ["--model", checkpoint(shape), "--prompt-tokens", given.prompt_tokens, "--new-tokens", given.new_tokens, "--repeat", 3]
        sides = {}
        for name, mine, other in (("no adapter", [], []), ("adapter unmerged", ["--adapter", "fresh"], ["--adapter"])):
            sides[f"ours, {name}"] = lambda words=mine: ours("generate", *common, *words, threads=n)
            for peer in given.peers:
                words = ["generate", *common, "--dtype", PEFT[peer], *other]
                sides[f"{peer}, {name}"] = lambda words=words: theirs(*words, threads=n)
        figures = take_turns(sides, runs)
        kept[shape] = figures
        blocks, head = layer_weights(shape)
        for name, extra in (("no adapter", 0), ("adapter unmerged", lora_weights(shape))):
            limits = {
                "prefill": product_peak(n) / (2 * (blocks + extra)),
                "decode": peaks(n).bandwidth / (2 * (blocks + head) + 4 * extra),
            }
            for what, limit in limits.items():
                for peer in given.peers:
                    mine, other = figures[f"ours, {name}"], figures[f"{peer}, {name}"]
                    speed, speed_other, ratio = compared(mine, other, f"{what}_tokens_per_second")
                    rows.append(
                        [
                            f"{shape}, {what}, {name}, transformers {peer}", f"{speed:.1f}", f"{speed_other:.1f}", f"{ratio:.2f}",
                            f"{limit:.0f}", f"{100 * speed / limit:.0f} %",
                            f"{peak(mine):.2f}", f"{peak(other):.2f}", f"{peak(mine) / peak(other):.2f}",
                        ]
                    )
                    print(rows[-1], file=sys.stderr, flush=True)
    print(machine(n))
    print(peaks_said(n))
    print("The decode limit leaves out the cache of keys and values; weights are read in bf16, an adapter's factors in f32.")
    headers = ["work", "hotplate tok/s", "transformers tok/s", "ratio", "limit tok/s", "of the limit"]
    print(table([*headers, "hotplate GB", "transformers GB", "ratio"], rows))
    keep(given, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
