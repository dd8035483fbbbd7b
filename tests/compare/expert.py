"""Does a default run reach what an expert gets from a sweep with `peft`, among those of its adapters that keep the assistant?

    .venv/bin/python tests/compare/expert.py --base MODEL.gguf [--texts diary] [--notes 80] [--only 1 4]

Both sides learn the same tokens of the same training examples and may look at the same held-out ones. The expert's runs differ in learning rate, rank, epochs, and in how
many answers of general chat are mixed in (the base's own greedy ones to the prompts that are rehearsed here, learnt by cross-entropy, drawn anew each epoch); each is judged after
every epoch and the best kept, as `load_best_model_at_end` does. Every adapter is then imported and judged from outside, as `assistant.py` judges: by texts that neither side has seen, by
the base's own answers to other prompts, and by short facts. It has kept the assistant where those answers cost at most 1.1 times what they cost the base, and nine facts of ten stay right.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from assistant import FACTS, PROMPTS, REHEARSED, ask, loops, score
from diary import diary
from hotplate_process import Hotplate, built, short_folder
from texts import KINDS

# Learning rate, rank, epochs, answers of general chat for one example.
SWEEP = [
    (2e-4, 16, 3, 0.0),
    (2e-4, 16, 6, 1.0),
    (5e-4, 16, 6, 1.0),
    (1.2e-3, 16, 3, 1.0),
    (1.2e-3, 16, 6, 1.0),
    (1.2e-3, 16, 6, 0.5),
    (1.2e-3, 16, 6, 0.0),
    (1.2e-3, 64, 6, 1.0),
    (2.5e-3, 16, 6, 1.0),
]
BATCH = 4


def encoded(base: str, folder: Path) -> list[dict]:
    out = subprocess.run([built("examples/encode"), "--base", base, folder], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


class Expert:
    def __init__(self, base: str):
        import torch
        from transformers import AutoModelForCausalLM

        path = Path(base)
        gguf = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
        self.base = AutoModelForCausalLM.from_pretrained(path.parent if gguf else path, dtype=torch.bfloat16, **gguf)
        self.torch = torch

    def loss(self, model, samples: list[dict]):
        """Summed over all supervised tokens, and how many these are."""
        torch = self.torch
        longest = max(len(sample["tokens"]) for sample in samples)
        ids = torch.zeros((len(samples), longest), dtype=torch.long)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for row, sample in enumerate(samples):
            tokens = torch.tensor(sample["tokens"])
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
            labels[row, : len(tokens)] = tokens.masked_fill(~torch.tensor(sample["supervised"]), -100)
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="sum")
        return loss, (labels[:, 1:] >= 0).sum()

    def learn(self, train: list[dict], heldout: list[dict], chat: list[dict], rate: float, rank: int, epochs: int, mix: float, into: Path) -> str:
        from peft import LoraConfig, get_peft_model
        from transformers import get_scheduler

        torch, draw = self.torch, random.Random(0)
        torch.manual_seed(0)
        model = get_peft_model(copy.deepcopy(self.base), LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear", task_type="CAUSAL_LM"))
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
        mixed = round(mix * len(train))
        steps = epochs * math.ceil((len(train) + mixed) / BATCH)
        scheduler = get_scheduler("linear", optimiser, num_warmup_steps=max(2, steps // 20), num_training_steps=steps)
        best, best_epoch = math.inf, 0
        for epoch in range(1, epochs + 1):
            model.train()
            rows = train + draw.sample(chat, mixed)
            draw.shuffle(rows)
            for at in range(0, len(rows), BATCH):
                loss, tokens = self.loss(model, rows[at : at + BATCH])
                (loss / tokens).backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimiser.step()
                scheduler.step()
                optimiser.zero_grad()
            model.eval()
            with torch.no_grad():
                sums = [self.loss(model, heldout[at : at + BATCH]) for at in range(0, len(heldout), BATCH)]
            judged = sum(loss.item() for loss, _ in sums) / sum(tokens.item() for _, tokens in sums)
            if judged < best:
                best, best_epoch = judged, epoch
                model.save_pretrained(into)
        return f"{best:.3f} in epoch {best_epoch}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--texts", default="diary", choices=["diary", "pairs"])
    parser.add_argument("--notes", type=int, default=80)
    parser.add_argument("--only", type=int, nargs="*", help="runs of the expert by their number, from 1; 0 is the default run of ours")
    parser.add_argument("--binary", type=Path)
    given = parser.parse_args()
    home = short_folder()
    hotplate = Hotplate(home, given.binary)
    # As a person has it; the tests compute in f32.
    hotplate.variables["HOTPLATE_ARITHMETIC"] = "fastest"
    try:
        hotplate.run("models")
        folder, fresh = home / "texts", home / "fresh.jsonl"
        folder.mkdir()
        if given.texts == "diary":
            for at, note in enumerate(diary(given.notes, 1)):
                (folder / f"note-{at:03}.md").write_text(note)
            unseen = (note.removeprefix("# ").split("\n", 1) for note in diary(40, 101))
            pairs = [{"prompt": f"Write a text titled “{title}”.", "completion": text.strip()} for title, text in unseen]
        else:
            drawn = random.Random(1).sample(KINDS["pairs"](), given.notes + 40)
            (folder / "texts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in drawn[: given.notes]))
            pairs = drawn[given.notes :]
        fresh.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in pairs))
        own = ask(hotplate, given.base, PROMPTS, None, 64)
        answers = home / "answers.jsonl"
        answers.write_text("".join(json.dumps({"prompt": p, "completion": a}) + "\n" for p, a in zip(PROMPTS, own) if a.strip()))
        chat = home / "chat"
        chat.mkdir()
        prompts = (REHEARSED / "en.txt").read_text().splitlines()
        said = ask(hotplate, given.base, prompts, None, 64)
        (chat / "chat.jsonl").write_text("".join(json.dumps({"prompt": p, "completion": a}) + "\n" for p, a in zip(prompts, said) if a.strip()))
        base_loss = score(hotplate, given.base, answers, None)
        right = [q for q, a in zip(FACTS, ask(hotplate, given.base, list(FACTS), None, 24)) if re.search(FACTS[q], a, re.IGNORECASE)]

        items = [item for item in encoded(given.base, folder) if "error" not in item]
        train = [item for item in items if not item["held_out"]]
        heldout = [item for item in items if item["held_out"]]
        general = [item for item in encoded(given.base, chat) if "error" not in item]
        print(f"{len(train)} items to learn, {len(heldout)} to judge, {len(general)} of general chat; the base: fresh {score(hotplate, given.base, fresh, None):.3f}, "
              f"own answers {base_loss:.3f}, {sum(map(loops, own))} loop, {len(right)} facts right", flush=True)
        print("run | held out, by itself | fresh texts | own answers | facts kept | loop | keeps the assistant | seconds", flush=True)

        def judged(said: str, itself: str, name: str, seconds: float) -> None:
            times = score(hotplate, given.base, answers, name) / base_loss
            now = ask(hotplate, given.base, PROMPTS, name, 64)
            facts = ask(hotplate, given.base, right, name, 24)
            kept = sum(bool(re.search(FACTS[q], a, re.IGNORECASE)) for q, a in zip(right, facts))
            keeps = times <= 1.1 and 10 * kept >= 9 * len(right)
            print(f"{said} | {itself} | {score(hotplate, given.base, fresh, name):.3f} | {times:.2f} × | {kept}/{len(right)} | {sum(map(loops, now))} | {'yes' if keeps else 'no'} | {seconds:.0f}", flush=True)

        if not given.only or 0 in given.only:
            begun = time.monotonic()
            result = hotplate.run("train", folder, "--base", given.base, "-a", "ours", "--json", timeout=3000).last
            judged("hotplate, defaults", f"{result['heldout_loss']:.3f}", "ours", time.monotonic() - begun)
        expert = None
        for number, (rate, rank, epochs, mix) in enumerate(SWEEP, 1):
            if given.only and number not in given.only:
                continue
            expert = expert or Expert(given.base)
            into, begun = home / f"peft-{number}", time.monotonic()
            itself = expert.learn(train, heldout, general, rate, rank, epochs, mix, into)
            took = time.monotonic() - begun
            hotplate.run("import", into, "--name", f"peft-{number}", "--base", given.base)
            judged(f"peft: rate {rate:g}, rank {rank}, {epochs} epochs, {mix:g} of chat", itself, f"peft-{number}", took)
    finally:
        hotplate.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
