"""What the comparisons share: random checkpoints in real shapes, runs of both sides in processes of their own, medians and tables.

Both sides get the same checkpoint, the same tokens and the same number of threads. Runs take turns, so that a busy moment of the machine
meets both; each runs in its own process, so that its peak of resident memory is its own.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

ROOT = Path(__file__).resolve().parents[2]
HOTPLATE = Path(os.environ.get("HOTPLATE_BINARY", ROOT / "target/release/hotplate"))
CACHE = Path(os.environ.get("HOTPLATE_COMPARE_CACHE", Path(tempfile.gettempdir()) / "hotplate-compare"))
PEER = Path(__file__).with_name("peer.py")

#: The shapes of well-known small bases, as keyword arguments of the configuration of their family.
SHAPES = {
    "135M": (
        "llama",
        {
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "vocab_size": 49152,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
            "rms_norm_eps": 1e-5,
        },
    ),
    "0.5B": (
        "qwen2",
        {
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "vocab_size": 151936,
            "max_position_embeddings": 32768,
            "tie_word_embeddings": True,
            "rms_norm_eps": 1e-6,
        },
    ),
}


def arguments(description: str, **extra) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="the 135M shape only, and fewer runs: to see that it works")
    parser.add_argument("--runs", type=int, help="measurements of each side (3)")
    parser.add_argument("--shapes", nargs="+", choices=sorted(SHAPES), help="shapes to measure (all)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of both sides (all cores)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser


PEFT = {"f32": "float32", "bf16": "bfloat16"}


def with_peers(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    about = "types of peft's base (f32); bf16 takes minutes a step where the processor does not multiply such values"
    parser.add_argument("--peers", nargs="+", choices=list(PEFT), default=["f32"], help=about)
    return parser


def chosen(given: argparse.Namespace) -> tuple[list[str], int]:
    """Shapes and number of runs."""
    shapes = given.shapes or (["135M"] if given.quick else list(SHAPES))
    return shapes, given.runs or (1 if given.quick else 3)


def checkpoint(shape: str, dtype: str = "bfloat16", **changes) -> Path:
    """A checkpoint with random weights as training would draw them, made once and kept. `changes` replace settings of the shape."""
    family, settings = SHAPES[shape]
    settings = settings | changes
    name = "-".join([shape, dtype, *(f"{key}{value}" for key, value in sorted(changes.items()))])
    folder = CACHE / name
    if (folder / "complete").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    code = (
        "import json, sys, torch, transformers\n"
        "family, settings, dtype, folder = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]\n"
        "kind = {'llama': transformers.LlamaConfig, 'qwen2': transformers.Qwen2Config}[family]\n"
        "torch.manual_seed(0)\n"
        "model = transformers.AutoModelForCausalLM.from_config(kind(**settings), dtype=torch.float32)\n"
        "model.to(getattr(torch, dtype)).save_pretrained(folder)\n"
    )
    settings = settings | {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    subprocess.run([sys.executable, "-c", code, family, json.dumps(settings), dtype, str(folder)], check=True)
    write_tokenizer(folder, settings["vocab_size"])
    (folder / "complete").touch()
    return folder


def write_tokenizer(folder: Path, vocab: int) -> None:
    """The smallest tokenizer with so many tokens: one word for each number."""
    words = {"<bos>": 0, "<eos>": 1, "<unk>": 2} | {f"w{index}": index for index in range(3, vocab)}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for index, content in enumerate(["<bos>", "<eos>", "<unk>"])
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def real_samples(shape: str, samples: int = 200, seed: int = 0) -> Path:
    """A file of tokens with the lengths that real data has: log-normal, median 90, sigma 0.7, longest 512; the first half is the prompt."""
    vocab = SHAPES[shape][1]["vocab_size"]
    file = CACHE / f"real-{vocab}-{samples}-{seed}.jsonl"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draw = random.Random(seed)
        lines = []
        for _ in range(samples):
            length = max(8, min(512, round(draw.lognormvariate(4.4998, 0.7))))
            tokens = [draw.randrange(3, vocab) for _ in range(length)]
            labels = [-100] * (length // 2) + tokens[length // 2 :]
            lines.append(json.dumps({"input_ids": tokens, "labels": labels}))
        file.write_text("\n".join(lines) + "\n")
    return file


def ours(*words, threads: int | None = None) -> dict:
    """One `hotplate bench`."""
    command = [HOTPLATE, "bench", *map(str, words), "--json"]
    if threads:
        command += ["--threads", str(threads)]
    return run(command)


def theirs(*words, threads: int | None = None) -> dict:
    """One run of `peer.py`."""
    command = [sys.executable, PEER, *map(str, words)]
    if threads:
        command += ["--threads", str(threads)]
    return run(command)


def run(command: list) -> dict:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"failed: {' '.join(map(str, command))}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def take_turns(sides: dict, runs: int) -> dict[str, list[dict]]:
    """Each side once per round. `sides`: name to a function that measures."""
    figures: dict[str, list[dict]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, measure in sides.items():
            figures[name].append(measure())
    return figures


def median(figures: list[dict], key: str) -> float:
    return statistics.median(figure[key] for figure in figures)


def compared(ones: list[dict], others: list[dict], key: str) -> tuple[float, float, float]:
    """The medians of both, and that of the ratios of each turn: the machine's pace changes between turns."""
    ratios = [one[key] / other[key] for one, other in zip(ones, others)]
    return median(ones, key), median(others, key), statistics.median(ratios)


def peak(figures: list[dict]) -> float:
    """In GB."""
    return median(figures, "peak_memory") / 1e9


def table(headers: list[str], rows: list[list]) -> str:
    """Markdown, so that it can be kept as it is."""
    lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(headers)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def versions() -> str:
    from importlib.metadata import version

    return ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))


def machine(threads: int) -> str:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    simd = "AVX512-BF16" if "avx512_bf16" in flags else "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else platform.machine()
    return f"{date.today()}, {os.cpu_count()} cores, {simd}, {threads} threads; {versions()}"


class Peaks(NamedTuple):
    """What this machine can do now: operations a second in torch's matrix products, and bytes a second read from memory."""

    f32: float
    bf16: float
    bandwidth: float


@functools.cache
def peaks(threads: int) -> Peaks:
    found = [theirs("peaks", threads=threads) for _ in range(2)]
    return Peaks(*(max(one[key] for one in found) for key in Peaks._fields))


def product_peak(threads: int) -> float:
    """Operations a second of the values that `hotplate` multiplies here: weights in bf16 are multiplied so where the processor does that."""
    found = peaks(threads)
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    word = os.environ.get("HOTPLATE_ARITHMETIC", "fastest")
    return found.bf16 if word != "f32" and "avx512_bf16" in flags else found.f32


def peaks_said(threads: int) -> str:
    found = peaks(threads)
    return (
        f"Matrix products on this machine now: {found.f32 / 1e9:.0f} GFLOP/s in f32, {found.bf16 / 1e9:.0f} in bf16; "
        f"{found.bandwidth / 1e9:.1f} GB/s read from memory"
    )


def layer_weights(shape: str) -> tuple[int, int]:
    """Weights of all linear layers in blocks, and of the head."""
    s = SHAPES[shape][1]
    width = s["hidden_size"] // s["num_attention_heads"]
    keys = s["num_key_value_heads"] * width
    block = s["hidden_size"] * (2 * s["hidden_size"] + 2 * keys + 3 * s["intermediate_size"])
    return block * s["num_hidden_layers"], s["hidden_size"] * s["vocab_size"]


def lora_weights(shape: str, rank: int = 16) -> int:
    s = SHAPES[shape][1]
    width = s["hidden_size"] // s["num_attention_heads"]
    keys = s["num_key_value_heads"] * width
    hidden, middle = s["hidden_size"], s["intermediate_size"]
    sides = 2 * (hidden + hidden) + 2 * (hidden + keys) + 3 * (hidden + middle)
    return rank * sides * s["num_hidden_layers"]


def train_flops(shape: str, tokens: int, supervised: int, recompute: bool = False) -> float:
    """Of a LoRA step: frozen weights forward and back to the input, factors forward and back to both, the head on supervised rows only."""
    blocks, head = layer_weights(shape)
    passes = 3 if recompute else 2
    return 2.0 * (blocks * passes * tokens + head * 2 * supervised + lora_weights(shape) * (passes + 1) * tokens)


def keep(given: argparse.Namespace, figures) -> None:
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1))
