"""Training speed beside transformers + peft: the same base, examples, batch and number of steps, one after the other, several times.

    .venv/bin/python tests/compare/train_speed.py [--runs 3] [--steps 24]

Prints tokens per second (real tokens, padding not counted) of both, and the ratio of the medians. Both use all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "daemon/engine/embedded"
HOTPLATE = ROOT / "target/release/hotplate"
BATCH = 4


def notes() -> list[str]:
    """The demo's notes as plain texts, so that both sides learn exactly the same tokens."""
    texts = (ROOT / "daemon/server/src/demo/en/market.md").read_text().split("\n---\n")
    for line in (ROOT / "daemon/server/src/demo/en/shop-notes.jsonl").read_text().splitlines():
        try:
            texts.append(json.loads(line)["completion"])
        except json.JSONDecodeError:
            pass
    return sorted({text.strip() for text in texts})


def hotplate(texts: list[str], steps: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        home, dataset = Path(folder, "h"), Path(folder, "notes")
        home.mkdir(mode=0o700)
        dataset.mkdir()
        (dataset / "notes.md").write_text("\n---\n".join(texts))
        environment = os.environ | {"HOTPLATE_HOME": str(home)}
        command = [HOTPLATE, "train", dataset, "--max-steps", str(steps), "--batch", str(BATCH), "--json"]
        out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        subprocess.run([HOTPLATE, "stop"], env=environment, check=True, capture_output=True)
        return json.loads(out.splitlines()[-1])["tokens_per_second"]


def peft(texts: list[str], steps: int) -> float:
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=2e-3, weight_decay=0.01)
    encoded = [tokenizer(text + tokenizer.eos_token)["input_ids"] for text in texts]
    tokens, began = 0, time.perf_counter()
    for step in range(steps):
        batch = [encoded[(step * BATCH + at) % len(encoded)] for at in range(BATCH)]
        padded = tokenizer.pad({"input_ids": batch}, return_tensors="pt")
        labels = padded["input_ids"].masked_fill(padded["attention_mask"] == 0, -100)
        model(**padded, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        tokens += sum(map(len, batch))
    return tokens / (time.perf_counter() - began)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=24)
    given = arguments.parse_args()
    texts = notes()
    ours, theirs = [], []
    for run in range(given.runs):
        ours.append(hotplate(texts, given.steps))
        theirs.append(peft(texts, given.steps))
        print(f"run {run + 1}: hotplate {ours[-1]:.0f}, peft {theirs[-1]:.0f} tokens/s", flush=True)
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"median: hotplate {a:.0f}, peft {b:.0f} tokens/s, ratio {a / b:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
