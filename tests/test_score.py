"""`hotplate score` says what transformers says: a log-probability for each token, training's loss for each example."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from checkpoints import load
from test_peft import made_by_peft, with_peft
from transformers import AutoTokenizer

TEXTS = ["It's raining again, so the market was empty.", "巷口的面馆换了老板，汤还是那么浓。😀", "café — crème brûlée"]
PAIRS = [("What is open?", "The bakery on the corner."), ("面馆呢？", "换了老板，汤还是那么浓。")]
CHAT = [
    {"role": "system", "content": "You are short."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "It's raining."},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": "The rain has stopped."},
]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("\n---\n".join(TEXTS) + "\n")
    pairs = ({"prompt": prompt, "completion": completion} for prompt, completion in PAIRS)
    (folder / "b.jsonl").write_text("".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs))
    (folder / "c.jsonl").write_text(json.dumps({"messages": CHAT}) + "\n")
    return folder


def expected(base: Path) -> list[tuple[list[int], list[bool]]]:
    """Tokens and supervised positions, from transformers' own rendering of the same conversations."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    items = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"] + [tokenizer.eos_token_id]
        items.append((ids, [False] + [True] * (len(ids) - 1)))
    conversations = [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}] for prompt, completion in PAIRS
    ]
    for conversation in [*conversations, CHAT]:
        ids: list[int] = []
        supervised: list[bool] = []

        def add(text: str, learnt: bool) -> None:
            new = tokenizer(text, add_special_tokens=False)["input_ids"]
            ids.extend(new)
            supervised.extend([learnt] * len(new))

        done = ""
        for at, message in enumerate(conversation):
            if message["role"] != "assistant":
                continue
            prompt = tokenizer.apply_chat_template(conversation[:at], tokenize=False, add_generation_prompt=True)
            add(prompt[len(done) :], False)
            add(message["content"] + tokenizer.eos_token, True)
            done = prompt + message["content"] + tokenizer.eos_token
        items.append((ids, supervised))
    return items


def check(model, lines: list[dict], base: Path) -> None:
    examples, summary = lines[:-1], lines[-1]
    items = expected(base)
    assert len(examples) == len(items)
    loss_sum, count = 0.0, 0
    for example, (ids, supervised) in zip(examples, items):
        assert [token["id"] for token in example["tokens"]] == ids
        assert [token["supervised"] for token in example["tokens"]] == supervised
        with torch.no_grad():
            logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), dim=-1)
        theirs = [logprobs[at, token].item() for at, token in enumerate(ids[1:])]
        ours = [token["logprob"] for token in example["tokens"]]
        assert ours[0] is None
        assert ours[1:] == pytest.approx(theirs, abs=1e-4)
        losses = [-theirs[at - 1] for at, learnt in enumerate(supervised) if learnt and at]
        assert example["loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-4)
        assert example["supervised_tokens"] == len(losses)
        loss_sum, count = loss_sum + sum(losses), count + len(losses)
    assert summary["examples"] == len(items)
    assert summary["supervised_tokens"] == count
    assert summary["loss"] == pytest.approx(loss_sum / count, abs=1e-4)
    assert summary["perplexity"] == pytest.approx(math.exp(loss_sum / count), rel=1e-3)


def test_scores_are_those_of_transformers(checkpoint, shared_hotplate, texts):
    base = checkpoint("plain")
    lines = shared_hotplate.run("score", "--base", base, texts, "--json").lines
    check(load(base), lines, base)
    places = [(line["file"], line["line"]) for line in lines[:-1]]
    assert places == [("a.txt", 1), ("a.txt", 3), ("a.txt", 5), ("b.jsonl", 1), ("b.jsonl", 2), ("c.jsonl", 1)]
    text = "".join(token["text"] for token in lines[1]["tokens"])
    assert text == "<s>" + TEXTS[1] + "</s>"


def test_with_an_adapter_of_peft(checkpoint, shared_hotplate, texts, tmp_path):
    base = checkpoint("tied")
    adapter = made_by_peft(base, tmp_path / "adapter", r=8, lora_alpha=16, target_modules="all-linear")
    lines = shared_hotplate.run("score", "--base", base, "-a", adapter, texts, "--json").lines
    check(with_peft(base, adapter), lines, base)
    assert lines[-1]["adapter"] == str(adapter)


def test_one_file_and_words_for_people(shared_hotplate, texts):
    lines = shared_hotplate.run("score", texts / "b.jsonl", "--json").lines
    assert [line["file"] for line in lines[:-1]] == ["b.jsonl", "b.jsonl"]
    shown = shared_hotplate.run("score", texts).out
    assert "a.txt:3" in shown and "nats a token" in shown and "perplexity" in shown
    losses = [float(row.split()[0]) for row in shown.splitlines()[1:7]]
    assert losses == sorted(losses, reverse=True)


def test_the_loss_is_what_a_run_says_of_its_base(hotplate, folder):
    result = hotplate.json("train", folder, "--max-steps", "1")
    lines = hotplate.run("score", folder, "--json").lines
    scored = [line["loss"] for line in lines[:-1]]
    assert min(scored) <= result["base_heldout_loss"] <= max(scored)
    adapted = hotplate.json("score", folder, "-a", result["adapter"])
    assert adapted["adapter"] == f"{result['adapter']}@1" and adapted["loss"] != lines[-1]["loss"]


def test_what_cannot_be_scored_is_named(shared_hotplate, texts, tmp_path):
    shared_hotplate.fails("score", texts / "gone.txt", naming=["gone.txt", "check the path"])
    (tmp_path / "program.exe").write_bytes(b"MZ")
    shared_hotplate.fails("score", tmp_path / "program.exe", naming=["program.exe", "ending"])
    (tmp_path / "empty.txt").write_text("")
    shared_hotplate.fails("score", tmp_path / "empty.txt", naming=["empty.txt", "no examples"])
    shared_hotplate.fails("score", texts, "-a", "nobody", naming=["nobody"])
