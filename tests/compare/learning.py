"""Does the default recipe learn as well as the best of a sweep with `peft`, and do ten saves end where a full retrain does?

    .venv/bin/python tests/compare/learning.py [--languages en zh] [--part recipe] [--part saves]

On the embedded base and the demo's notes, with the same examples, split and tokens on both sides. Prints Markdown tables for RESULTS.md.

- recipe: `hotplate train` with its defaults, against PEFT runs with several learning rates, each with the held-out loss after every quarter
  of an epoch and its best one taken (what a person with a notebook would do by hand). Both are compared by the loss on the held-out examples.
- saves: a watched folder with a part of the notes, trained once, then ten saves of new notes, each learnt incrementally; against a full
  retrain of the whole folder, judged by the same held-out examples. Compute is counted in tokens that went through training.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hotplate_process import REPOSITORY, Hotplate, built, short_folder, wait_until  # noqa: E402

BASE = REPOSITORY / "daemon/engine/embedded"
DEMO = REPOSITORY / "daemon/server/src/demo"
SAVES = 10


def demo_notes(folder: Path, language: str) -> Path:
    """The demo's files and its later notes, without the prompts."""
    folder.mkdir(parents=True)
    for file in sorted((DEMO / language).iterdir()):
        if file.name != "prompts.txt":
            shutil.copy(file, folder / file.name)
    return folder


def encoded(folder: Path) -> list[dict]:
    out = subprocess.run([built("examples/encode"), folder], check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


# --- recipe -----------------------------------------------------------------------------------------------------------------------


def peft_run(data: list[dict], rate: float, epochs: int, batch: int, seed: int = 0) -> dict:
    """LoRA r 16 on all linear layers, AdamW, linear decay, as `transformers` and `peft` have it; the best held-out loss of all quarters."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, get_scheduler

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    train = [sample for sample in data if not sample["held_out"]]
    heldout = [sample for sample in data if sample["held_out"]]
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    per_epoch = -(-len(train) // batch)
    steps = epochs * per_epoch
    scheduler = get_scheduler("linear", optimiser, num_warmup_steps=max(2, steps // 20), num_training_steps=steps)

    def loss_of(samples: list[dict]):
        """Mean over all supervised tokens."""
        longest = max(len(sample["tokens"]) for sample in samples)
        ids = torch.zeros((len(samples), longest), dtype=torch.long)
        labels = torch.full((len(samples), longest), -100)
        mask = torch.zeros((len(samples), longest), dtype=torch.long)
        for row, sample in enumerate(samples):
            tokens = torch.tensor(sample["tokens"])
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
            labels[row, : len(tokens)] = tokens.masked_fill(~torch.tensor(sample["supervised"]), -100)
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
        return torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], ignore_index=-100)

    def judged() -> float:
        with torch.no_grad():
            model.eval()
            loss = loss_of(heldout).item()
            model.train()
        return loss

    base, best, best_step = judged(), float("inf"), 0
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    for step in range(1, steps + 1):
        if not order:
            order = torch.randperm(len(train), generator=generator).tolist()
        chosen, order = order[:batch], order[batch:]
        loss_of([train[index] for index in chosen]).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        scheduler.step()
        optimiser.zero_grad()
        if step % max(1, per_epoch // 4) == 0 or step == steps:
            loss = judged()
            if loss < best:
                best, best_step = loss, step
    return {"rate": rate, "epochs": epochs, "base": base, "best": best, "step": best_step, "steps": steps}


def recipe(language: str, rates: list[float], all_epochs: list[int]) -> tuple[float, float]:
    hotplate = Hotplate(short_folder())
    try:
        folder = demo_notes(hotplate.home / "notes", language)
        data = encoded(folder)
        ours = hotplate.json("train", folder, timeout=900)
        print(f"hotplate {language}: {ours}", file=sys.stderr, flush=True)
    finally:
        hotplate.close()
    runs = []
    for rate in rates:
        for epochs in all_epochs:
            runs.append(peft_run(data, rate, epochs, 4))
            print(f"peft {language}: {runs[-1]}", file=sys.stderr, flush=True)
    # The same tokens and the same split, or nothing here means anything.
    assert abs(runs[0]["base"] - ours["base_heldout_loss"]) < 2e-3 * runs[0]["base"], (runs[0], ours)
    best = min(run["best"] for run in runs)
    print(f"\n| {language}: run | learning rate | epochs at most | best step | held-out loss |\n|---|---|---|---|---|")
    print(f"| base | | | | {ours['base_heldout_loss']:.4f} |")
    print(f"| hotplate, defaults | | | {ours['best_step']} of {ours['steps']} | {ours['heldout_loss']:.4f} |")
    for run in runs:
        row = f"{run['rate']:g} | {run['epochs']} | {run['step']} of {run['steps']} | {run['best']:.4f}"
        print(f"| PEFT | {row}{' (best)' if run['best'] == best else ''} |")
    print(f"\nhotplate / best of PEFT: {ours['heldout_loss'] / best:.4f}", flush=True)
    return ours["heldout_loss"], best


# --- saves ------------------------------------------------------------------------------------------------------------------------


def all_notes(language: str) -> list[str]:
    """Every note of the demo as one text, in the order of its files."""
    folder = demo_notes(short_folder() / "notes", language)
    found: list[str] = []
    for file in sorted(folder.iterdir()):
        text = file.read_text()
        if file.suffix == ".jsonl":
            for line in text.splitlines():
                try:
                    found.append(json.dumps(json.loads(line), ensure_ascii=False))
                except json.JSONDecodeError:
                    pass
        else:
            found += [note.strip() for note in text.split("\n---\n") if note.strip()]
    shutil.rmtree(folder.parent)
    return sorted(set(found), key=found.index)


def write_note(path: Path, note: str) -> None:
    record = note.startswith("{")
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(note + "\n")
    draft.rename(path.with_suffix(".jsonl" if record else ".txt"))


def saves(language: str, per_save: int) -> tuple[float, float]:
    notes = all_notes(language)
    generator = __import__("random").Random(1)
    generator.shuffle(notes)
    first = len(notes) - SAVES * per_save
    hotplate = Hotplate(short_folder())
    try:
        folder = hotplate.home / "notes"
        folder.mkdir()
        for index, note in enumerate(notes[:first]):
            write_note(folder / f"note-{index:03}", note)
        start = hotplate.json("train", folder, "-a", "voice", timeout=900)
        hotplate.run("watch", folder, "-a", "voice")
        results = []
        for save in range(SAVES):
            known = finished(hotplate)
            for at in range(per_save):
                index = first + save * per_save + at
                write_note(folder / f"note-{index:03}", notes[index])
            ended = wait_until(lambda known=known: ended_since(hotplate, known), f"save {save + 1}", seconds=600, every=0.3)
            results += ended
            print(f"save {save + 1}: {ended}", file=sys.stderr, flush=True)
        hotplate.run("unwatch", folder)
        full = hotplate.json("train", folder, "-a", "voice", timeout=900)
        print(f"full: {full}", file=sys.stderr, flush=True)
    finally:
        hotplate.close()
    kept = [result for result in results if result["event"] == "finished"]
    # Also what was learnt in vain.
    tokens = sum(result["tokens"] for result in results)
    seconds = sum(result["seconds"] for result in results)
    last = kept[-1]["heldout_loss"] if kept else start["heldout_loss"]
    print(f"\n| {language}: {len(notes)} notes, {first} at first, {SAVES} saves of {per_save} | held-out loss | tokens |\n|---|---|---|")
    print(f"| base | {full['base_heldout_loss']:.4f} | |")
    print(f"| first run | {start['heldout_loss']:.4f} | {start['tokens']} |")
    print(f"| {len(kept)} of {SAVES} saves swapped in, all together | {last:.4f} | {tokens} |")
    print(f"| full retrain | {full['heldout_loss']:.4f} | {full['tokens']} |")
    print(
        f"\nloss {last / full['heldout_loss']:.3f}, compute {tokens / full['tokens']:.2f} of a full retrain, time with evaluations and samples"
        f" {seconds / full['seconds']:.2f} of its",
        flush=True,
    )
    return last / full["heldout_loss"], tokens / full["tokens"]


def finished(hotplate: Hotplate) -> int:
    status = hotplate.status()
    return -1 if status["runs"] else max((run["run"] for run in runs_ended(hotplate)), default=0)


def runs_ended(hotplate: Hotplate) -> list[dict]:
    """Runs that have ended, with their last event, from the daemon's own store."""
    import sqlite3

    store = sqlite3.connect(f"file:{hotplate.home / 'store.sqlite'}?mode=ro", uri=True)
    try:
        rows = store.execute("SELECT id, outcome FROM runs WHERE outcome IS NOT NULL ORDER BY id").fetchall()
    finally:
        store.close()
    events = [(run, json.loads(last)) for run, last in rows]
    return [{"run": run} | event | event.get("result", {}) for run, event in events]


def ended_since(hotplate: Hotplate, known: int) -> list[dict]:
    if hotplate.status()["runs"]:
        return []
    return [run for run in runs_ended(hotplate) if run["run"] > known]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--languages", nargs="+", default=["en", "zh"])
    arguments.add_argument("--part", action="append", choices=["recipe", "saves"])
    arguments.add_argument("--rates", nargs="+", type=float, default=[1e-3, 2e-3, 4e-3])
    arguments.add_argument("--epochs", nargs="+", type=int, default=[6, 12])
    arguments.add_argument("--per-save", type=int, default=1)
    given = arguments.parse_args()
    parts = given.part or ["recipe", "saves"]
    for language in given.languages:
        if "recipe" in parts:
            recipe(language, given.rates, given.epochs)
        if "saves" in parts:
            saves(language, given.per_save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
