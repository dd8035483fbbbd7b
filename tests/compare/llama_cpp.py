"""Answering beside llama.cpp, each format beside the same: prefill of 1,024 tokens and what follows.

    .venv/bin/python tests/compare/llama_cpp.py [--quick] [--runs 3] [--shapes 135M 0.5B] [--formats bf16 q8 q4]
    .venv/bin/python tests/compare/llama_cpp.py --batch 8 --prompt-tokens 64 --new-tokens 64

llama.cpp reads a GGUF file of the format (BF16, Q8_0, Q4_0), ours too: both read the same bytes. The safetensors checkpoint with `--quantize`
is measured beside them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from side_by_side import CACHE, SHAPES, arguments, checkpoint, chosen, keep, layer_weights, machine, median, ours, peak, peaks, run, table, take_turns  # noqa: E402

#: Our word for a format, the type of the matrices in the GGUF file, and bits a value.
FORMATS = {"bf16": ("BF16", 16), "q8": ("Q8_0", 8.5), "q4": ("Q4_0", 4.5)}


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


def theirs(file: Path, prompt: int, new: int, batch: int, threads: int) -> dict:
    command = [sys.executable, __file__, "--answer", file, "--prompt-tokens", prompt, "--new-tokens", new]
    command += ["--batch", batch, "--threads", threads]
    return run([str(word) for word in command])


def peak_of_this_process() -> int:
    """Bytes. `getrusage` would also count what the parent had before this program was loaded."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the system does not tell a process's peak")


def answer(file: Path, prompt: int, new: int, batch: int, threads: int) -> None:
    """In a process of its own: what llama.cpp says of its own speed, and the process's peak of resident memory."""
    import time
    from concurrent.futures import ThreadPoolExecutor

    began = time.monotonic()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx = batch * (prompt + new + 64)
    params.n_parallel = batch
    params.n_gpu_layers = 0
    params.warmup = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    loaded = time.monotonic() - began

    def ask(number: int) -> dict:
        tokens = [3 + (number * 31 + place) % 97 for place in range(prompt)]
        asked = {"prompt": tokens, "n_predict": new, "temperature": 0.0, "ignore_eos": True, "cache_prompt": False}
        return server.handle_completions(asked)["timings"]

    with ThreadPoolExecutor(batch) as pool:
        timings = list(pool.map(ask, range(batch)))
    # Those that are ready first wait while the others are read; the fastest one's pace is that of all together.
    decode = batch * max(timing["predicted_per_second"] for timing in timings)
    print(
        json.dumps(
            {
                "prefill_tokens_per_second": timings[0]["prompt_per_second"],
                "decode_tokens_per_second": decode,
                "load_seconds": loaded,
                "peak_memory": peak_of_this_process(),
            }
        ),
        flush=True,
    )
    # The server's threads have nothing to clean up.
    os._exit(0)


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--prompt-tokens", type=int, default=1024)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--batch", type=int, default=1, help="answers written together; each of ours with an adapter of its own, too")
    parser.add_argument("--answer", type=Path, help="answer with llama.cpp and say how fast it was")
    given = parser.parse_args()
    if given.answer:
        answer(given.answer, given.prompt_tokens, given.new_tokens, given.batch, given.threads)
    shapes, runs = chosen(given)
    rows, kept, n = [], {}, given.threads
    lengths = ["--prompt-tokens", given.prompt_tokens, "--new-tokens", given.new_tokens, "--batch", given.batch]
    for shape in shapes:
        blocks, head = layer_weights(shape)
        for word in given.formats:
            kind, bits = FORMATS[word]
            file = gguf_file(shape, kind)
            sides = {
                "ours": lambda file=file: ours("generate", "--model", file, *lengths, threads=n),
                "llama.cpp": lambda file=file: theirs(file, given.prompt_tokens, given.new_tokens, given.batch, n),
                "adapter": lambda file=file: ours("generate", "--model", file, *lengths, "--adapters", "distinct", threads=n),
            }
            if word != "bf16":
                quantise = ["--quantize", word]
                sides["quantised"] = lambda q=quantise: ours("generate", "--model", checkpoint(shape), *q, *lengths, threads=n)
            figures = take_turns(sides, runs)
            kept[f"{shape} {word}"] = figures
            limit = peaks(n)[1] / ((blocks + head) * bits / 8)
            cells = [f"{shape}, {word}"]
            for what in ("prefill", "decode"):
                key = f"{what}_tokens_per_second"
                mine, other = median(figures["ours"], key), median(figures["llama.cpp"], key)
                pairs = sorted(one[key] / two[key] for one, two in zip(figures["ours"], figures["llama.cpp"]))
                cells += [f"{mine:.1f}", f"{other:.1f}", f"{pairs[len(pairs) // 2]:.2f}"]
            adapted = median(figures["adapter"], "decode_tokens_per_second") / median(figures["ours"], "decode_tokens_per_second")
            own = median(figures["quantised"], "decode_tokens_per_second") if word != "bf16" else None
            cells += [f"{limit:.0f}", f"{adapted:.2f}", f"{own:.1f}" if own else "", f"{peak(figures['ours']):.2f}", f"{peak(figures['llama.cpp']):.2f}"]
            rows.append(cells)
            print(cells, file=sys.stderr, flush=True)
    print(machine(n))
    headers = ["work", "prefill tok/s", "llama.cpp", "ratio", "decode tok/s", "llama.cpp", "ratio", "limit by bytes", "unmerged adapter"]
    print(table([*headers, "--quantize, decode", "GB at most", "llama.cpp"], rows))
    keep(given, kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
