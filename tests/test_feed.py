"""Feeding: examples before a prompt are the tokens that transformers would read there, and what is needed is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from checkpoints import load, write_checkpoint
from notes import notes, write_notes
from transformers import AutoTokenizer

PAIRS = [
    ("What about the bakery?", "Warm and honest."),
    ("And the noodle shop?", "Too salty by half."),
    ("面馆怎么样？", "汤还是那么浓。"),
    ("Is the market open?", "Gone by noon."),
]
GREEDY = ["--temperature", 0, "--max-tokens", 12]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs"
    folder.mkdir()
    lines = (json.dumps({"prompt": prompt, "completion": answer}, ensure_ascii=False) + "\n" for prompt, answer in PAIRS)
    (folder / "pairs.jsonl").write_text("".join(lines))
    return folder


def continued(base: Path, ids: list[int], count: int) -> list[int]:
    """The likeliest tokens after `ids`, as transformers has it, up to the end token."""
    model = load(base)
    found: list[int] = []
    while len(found) < count:
        with torch.no_grad():
            token = int(model(torch.tensor([ids + found])).logits[0, -1].argmax())
        if token == model.config.eos_token_id:
            break
        found.append(token)
    return found


def test_earlier_turns_are_those_of_the_template(checkpoint, shared_hotplate, pairs):
    base = checkpoint("plain")
    prompt = "The noodle shop again?"
    answer = shared_hotplate.json("generate", "--base", base, "--feed", pairs, *GREEDY, prompt)
    order = [PAIRS[one["line"] - 1] for one in answer["fed"]["examples"]]
    assert order[0] == PAIRS[1] and set(order) == set(PAIRS)
    turns = []
    for question, told in reversed(order):
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": told}]
    tokenizer = AutoTokenizer.from_pretrained(base)
    text = tokenizer.apply_chat_template([*turns, {"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert answer["prompt_tokens"] == len(ids)
    assert answer["token_ids"] == continued(base, ids, 12)
    alone = shared_hotplate.json("generate", "--base", base, *GREEDY, prompt)
    assert answer["fed"]["tokens"] == len(ids) - alone["prompt_tokens"]
    assert "fed" not in alone and alone["token_ids"] != answer["token_ids"]


def test_texts_stand_as_they_are_trained(shared_hotplate, tmp_path):
    base = write_checkpoint(tmp_path / "base", template=False)
    texts = ["Rye bread again.", "The rain has stopped, and the bread is warm.", "巷口的面馆换了老板。"]
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("\n---\n".join(texts))
    answer = shared_hotplate.json("generate", "--base", base, "--feed", folder, "--feed-examples", 2, *GREEDY, "面馆")
    order = [texts[one["line"] // 2] for one in answer["fed"]["examples"]]
    assert order[0] == texts[2] and len(order) == 2 and answer["fed"]["ended"] == "wanted"
    tokenizer = AutoTokenizer.from_pretrained(base)
    ids = [token for text in reversed(order) for token in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
    ids += tokenizer("面馆")["input_ids"]
    assert answer["prompt_tokens"] == len(ids)
    assert answer["token_ids"] == continued(base, ids, 12)


def test_what_fits_is_fed_whole_and_the_answer_keeps_its_room(checkpoint, shared_hotplate, tmp_path):
    base = checkpoint("plain")
    folder = write_notes(tmp_path / "notes", 30)
    answer = shared_hotplate.json("generate", "--base", base, "--feed", folder, "--temperature", 0, "--max-tokens", 200, "A rye bread.")
    fed = answer["fed"]
    assert fed["ended"] == "room" and fed["no_room"] > 0 and 0 < len(fed["examples"]) < fed["of"] == 30
    assert fed["tokens"] == sum(one["tokens"] for one in fed["examples"]) <= fed["room"]
    assert answer["prompt_tokens"] + 200 <= 512
    shared_hotplate.fails(
        "generate", "--base", base, "--feed", folder, "--max-tokens", 490, "A rye bread.", naming=["fits", "512", "--max-tokens"]
    )


def test_an_answer_is_not_given_away(shared_hotplate, pairs):
    fed = shared_hotplate.json("generate", "--feed", pairs, *GREEDY, PAIRS[0][0])["fed"]
    assert fed["itself"] == {"file": "pairs.jsonl", "line": 1, "last_line": 1}
    assert 1 not in [one["line"] for one in fed["examples"]] and len(fed["examples"]) == 3


def test_what_cannot_be_fed_is_said(shared_hotplate, pairs, tmp_path):
    ask = ["generate", *GREEDY, "Hello", "--feed"]
    shared_hotplate.fails(*ask, tmp_path / "gone", naming=["gone", "check the path"])
    shared_hotplate.fails(*ask, pairs / "pairs.jsonl", naming=["is a file"])
    empty = tmp_path / "empty"
    empty.mkdir()
    shared_hotplate.fails(*ask, empty, naming=["no examples", "hotplate check"])
    (empty / "a.txt").write_bytes(b"\xff\x81bad")
    shared_hotplate.fails(*ask, empty, naming=["no examples", "a.txt"])
    (empty / "a.txt").write_text("Hello")
    shared_hotplate.fails(*ask, empty, naming=["this very prompt"])
    shared_hotplate.fails("generate", "--feed-examples", "3", "x", naming=["--feed"])
    shared_hotplate.fails("compare", "x", naming=["-a NAME", "--feed"])
    shared_hotplate.fails("score", empty, "--feed", naming=["one example"])


def test_three_ways_beside_each_other(hotplate, folder):
    hotplate.run("train", folder, "--max-steps", 3)
    words = ["--feed", folder, "--temperature", 0, "--max-tokens", 10]
    both = hotplate.json("compare", "-a", "notes", *words, "A plum cake.")
    assert both["mine"]["adapter"] == "notes@1" and both["fed"]["fed"]["examples"]
    assert both["base"]["seed"] == both["fed"]["seed"] == both["mine"]["seed"]
    assert "fed" not in both["base"] and "fed" not in both["mine"]
    assert both["fed"]["prompt_tokens"] > both["base"]["prompt_tokens"] == both["mine"]["prompt_tokens"]
    fed = hotplate.json("compare", *words, "A plum cake.")
    assert "mine" not in fed and fed["fed"]["text"] == both["fed"]["text"]
    shown = hotplate.run("compare", "-a", "notes", *words, "A plum cake.").out
    assert "notes@1" in shown and "Fed 8 of 24 examples" in shown and "score FOLDER --feed" in shown


def test_which_of_the_two_is_needed_is_measured(hotplate, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    records = ({"prompt": f"Note {at}, please.", "completion": text} for at, text in enumerate(notes(80)))
    (folder / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    hotplate.run("train", folder, "--epochs", 3)
    held = hotplate.json("check", folder)["heldout_examples"]
    weighed = hotplate.json("score", "-a", "many", folder, "--feed")
    assert len(weighed["rows"]) == held
    base, fed, mine = weighed["base"], weighed["fed"], weighed["mine"]["scored"]
    assert base["adapter"] is None and fed["adapter"] is None and mine["adapter"] == "many@1"
    assert base["heldout"]["judges"] == "held_out" and base["heldout"]["learnt"] == 0
    assert base["supervised_tokens"] == fed["supervised_tokens"] == mine["supervised_tokens"]
    # The run has judged by the same examples: their loss is the same figure.
    version = hotplate.json("adapters")["adapters"][0]["versions"][0]
    assert base["loss"] == pytest.approx(version["base_heldout_loss"], abs=2e-3)
    assert mine["loss"] == pytest.approx(version["heldout_loss"], abs=2e-3)
    assert mine["loss"] < base["loss"] and fed["loss"] != base["loss"]
    assert fed["heldout"]["fed_examples"] == 8 * held
    shown = hotplate.run("score", "-a", "many", folder, "--feed").out
    assert "Held-out loss" in shown and "Here training is needed." in shown
    # The held-out examples are never fed to each other.
    few = hotplate.json("score", folder, "--feed", "--feed-examples", "1")
    assert few["mine"] == "not_named" and few["fed"]["heldout"]["fed_examples"] == held


def test_an_adapter_is_not_judged_by_what_it_has_learnt(hotplate, folder):
    hotplate.run("train", folder, "--max-steps", 5)
    weighed = hotplate.json("score", "-a", "notes", folder, "--feed")
    version = hotplate.json("adapters")["adapters"][0]["versions"][0]
    learnt = weighed["mine"]["learnt"]
    assert learnt["adapter"] == "notes" and learnt["examples"] == 24
    assert learnt["trained"] == [version["base_heldout_loss"], version["heldout_loss"]]
    assert weighed["base"]["heldout"]["judges"] == "each_in_turn"
    assert all(row["mine"] is None and row["fed"] for row in weighed["rows"])
    assert "would flatter it" in hotplate.run("score", "-a", "notes", folder, "--feed").out
