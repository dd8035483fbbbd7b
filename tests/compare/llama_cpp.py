"""Answering beside llama.cpp, each format beside the same: prefill of 1,024 tokens and what follows.

    .venv/bin/python tests/compare/llama_cpp.py [--quick] [--runs 3] [--shapes 135M 0.5B] [--formats bf16 q8 q4]
    .venv/bin/python tests/compare/llama_cpp.py --batch 8 --prompt-tokens 64 --new-tokens 64

llama.cpp reads a GGUF file of the format (BF16, Q8_0, Q4_0), ours too: both read the same bytes. The safetensors checkpoint with `--quantize`
is measured beside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from side_by_side import (  # noqa: E402
    CACHE, SHAPES, arguments, checkpoint, chosen, compared, keep, layer_weights, machine, median, ours, peak, peaks, peaks_said, run, table, take_turns,
)

PEER = Path(__file__).with_name("llama_peer.py")

#: Our word for a format, the type of the matrices in the GGUF file, and bits a value.
FORMATS = {"bf16": ("BF16", 16), "q8": ("Q8_0", 8.5), "q4": ("Q4_0", 4.5)}

about_llama = "a Python with llama-cpp-python, compiled for this processor (pip install --no-binary llama-cpp-python llama-cpp-python); else xllamacpp"


def gguf_file(shape: str, kind: str) -> Path:
    """The checkpoint with its matrices as `kind`, made once and kept."""
    file = CACHE / f"{shape}-{kind}.gguf"
    if not file.exists():
        import gguf_files

        vocab = SHAPES[shape][1]["vocab_size"]

        def words(writer) -> None:
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre("default")
            writer.add_token_list(["<bos>", "<eos>", "<unk>", "a", "b", "ab", *(f"w{number}" for number in range(6, vocab))])
            writer.add_token_types([3, 3, 3] + [1] * (vocab - 3))
            writer.add_token_merges(["a b"])
            writer.add_bos_token_id(0)
            writer.add_eos_token_id(1)

        half = file.with_suffix(".part")
        gguf_files.write(checkpoint(shape), half, kind, tokenizer=words)
        half.rename(file)
    return file


def theirs(python: str, file: Path, *words) -> dict:
    return run([python, "-P", PEER, file, *map(str, words)])


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--prompt-tokens", type=int, default=1024)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--batch", type=int, default=1, help="answers written together; each of ours with an adapter of its own, too")
    parser.add_argument("--llama-python", default=sys.executable, help=about_llama)
    given = parser.parse_args()
    shapes, runs = chosen(given)
    rows, kept, n = [], {}, given.threads
    lengths = ["--prompt-tokens", given.prompt_tokens, "--new-tokens", given.new_tokens, "--batch", given.batch]
    # The median of three in each process: the first one pays for memory that is there later, on both sides.
    lengths += ["--repeat", 3]
    for shape in shapes:
        blocks, head = layer_weights(shape)
        for word in given.formats:
            kind, bits = FORMATS[word]
            file = gguf_file(shape, kind)
            sides = {
                "ours": lambda file=file: ours("generate", "--model", file, *lengths, threads=n),
                "llama.cpp": lambda file=file: theirs(given.llama_python, file, *lengths, "--threads", n),
                "adapter": lambda file=file: ours("generate", "--model", file, *lengths, "--adapters", "distinct", threads=n),
            }
            if word != "bf16":
                quantise = ["--quantize", word]
                sides["quantised"] = lambda q=quantise: ours("generate", "--model", checkpoint(shape), *q, *lengths, threads=n)
            figures = take_turns(sides, runs)
            kept[f"{shape} {word}"] = figures
            limit = peaks(n).bandwidth / ((blocks + head) * bits / 8)
            cells = [f"{shape}, {word}"]
            for what in ("prefill", "decode"):
                key = f"{what}_tokens_per_second"
                mine, other, ratio = compared(figures["ours"], figures["llama.cpp"], key)
                cells += [f"{mine:.1f}", f"{other:.1f}", f"{ratio:.2f}"]
            _, _, adapted = compared(figures["adapter"], figures["ours"], "decode_tokens_per_second")
            _, _, against = compared(figures["adapter"], figures["llama.cpp"], "decode_tokens_per_second")
            own = median(figures["quantised"], "decode_tokens_per_second") if word != "bf16" else None
            cells += [f"{limit:.0f}", f"{adapted:.2f}", f"{against:.2f}", f"{own:.1f}" if own else "", f"{peak(figures['ours']):.2f}", f"{peak(figures['llama.cpp']):.2f}"]
            rows.append(cells)
            print(cells, file=sys.stderr, flush=True)
    print(machine(n))
    print(peaks_said(n))
    headers = ["work", "prefill tok/s", "llama.cpp", "ratio", "decode tok/s", "llama.cpp", "ratio", "limit by bytes", "with adapters, of without", "of llama.cpp"]
    print(table([*headers, "--quantize, decode", "GB at most", "llama.cpp"], rows))
    keep(given, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
