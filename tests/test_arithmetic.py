"""Products of bf16 values, as processors with AVX512-BF16 do them and all others can be told to: close to f32's in all that counts."""

from __future__ import annotations

import json

import pytest
import torch
from hotplate_process import Hotplate, short_folder
from notes import write_notes
from transformers import AutoModelForCausalLM, AutoTokenizer


@pytest.fixture(scope="module")
def homes():
    """One that multiplies in f32 and one in bf16."""
    made = {word: Hotplate(short_folder()) for word in ("f32", "bf16")}
    for word, hotplate in made.items():
        hotplate.variables["HOTPLATE_ARITHMETIC"] = word
    yield made
    for hotplate in made.values():
        hotplate.close()


def test_status_says_which(homes):
    processors = {}
    for word, hotplate in homes.items():
        hotplate.json("generate", "x", "--max-tokens", 1)
        processors[word] = hotplate.json("status")["processor"]
        assert processors[word] in hotplate.run("status").out
    # Tiles multiply bf16 values alone: in f32 the same processor uses its other registers.
    assert processors["bf16"].replace("AMX", "AVX-512") == processors["f32"] + ", bf16 products"
    assert "thread" in processors["f32"]


def test_the_fastest_is_measured_once():
    """On a processor with one kind of kernels nothing is measured."""
    hotplate = Hotplate(short_folder())
    hotplate.variables["HOTPLATE_ARITHMETIC"] = "fastest"
    try:
        measured = json.loads(hotplate.run("bench", "machine", "--json").out)
        hotplate.json("generate", "x", "--max-tokens", 1)
        first = hotplate.json("status")["processor"]
        kept = hotplate.home / "processors.json"
        assert kept.exists() == (len(measured["kernels"]) > 1) == ("measured" in first)
        assert first == measured["used"]
        if not kept.exists():
            return
        noted = kept.read_bytes()
        for broken in (None, b"{", b'{"kernels": 99, "processors": 1}'):
            hotplate.run("stop")
            if broken is not None:
                kept.write_bytes(broken)
            hotplate.json("generate", "x", "--max-tokens", 1)
            again = hotplate.json("status")["processor"]
            assert (again == first and kept.read_bytes() == noted) if broken is None else again.split(", measured")[0] == first.split(", measured")[0]
            assert json.loads(kept.read_bytes())["processors"][0]["processor"] == measured["processor"]
    finally:
        hotplate.close()


def test_registers_are_a_persons_choice():
    hotplate = Hotplate(short_folder())
    hotplate.variables |= {"HOTPLATE_ARITHMETIC": "fastest", "HOTPLATE_REGISTERS": "portable"}
    try:
        hotplate.json("generate", "x", "--max-tokens", 1)
        assert "AVX" not in (status := hotplate.json("status"))["processor"].replace("without AVX2", "")
        assert not status["problems"]
        hotplate.run("stop")
        hotplate.variables["HOTPLATE_REGISTERS"] = "mmx"
        hotplate.json("generate", "x", "--max-tokens", 1)
        [problem] = hotplate.json("status")["problems"]
        assert problem.startswith('HOTPLATE_REGISTERS cannot be used: "mmx" is none of what this processor has: ')
        assert problem in hotplate.run("status").out
        refused = hotplate.run("bench", "machine", check=False)
        assert refused.code == 1 and "HOTPLATE_REGISTERS" in refused.err
    finally:
        hotplate.close()


def test_training_goes_the_same_way(homes, tmp_path):
    folder = write_notes(tmp_path / "notes", 60)
    # What the base answers, and so what is rehearsed, depends on the arithmetic, too.
    lines = {word: hotplate.run("train", folder, "--rehearsal", 0, "--json", timeout=300).lines for word, hotplate in homes.items()}
    losses = {word: [line["loss"] for line in told if line["event"] == "step"][:20] for word, told in lines.items()}
    assert len(losses["f32"]) == 20
    assert losses["f32"] != losses["bf16"], "it is another arithmetic"
    for one, other in zip(losses["f32"], losses["bf16"]):
        assert other == pytest.approx(one, rel=0.02)
    assert lines["bf16"][-1]["heldout_loss"] == pytest.approx(lines["f32"][-1]["heldout_loss"], rel=0.005)


def test_greedy_answers_are_as_near_to_transformers_in_bf16_as_it_is_to_itself(homes, embedded):
    """Most continuations of 64 tokens to the last token. The peer also rounds what lies between layers, each processor's library in its own
    way, so that nobody in f32 is closer to it. In bf16 we choose among logits of that type, as it does: of 42, with AVX512-BF16, 38 (in f32 34,
    by the peer in f32 as well)."""
    tokenizer = AutoTokenizer.from_pretrained(embedded)
    rounding, exact = (AutoModelForCausalLM.from_pretrained(embedded, dtype=dtype) for dtype in (torch.bfloat16, torch.float32))
    prompts = [
        f"{verb} {thing} {place}"
        for verb in ("Write a short note about", "Tell me of", "A line on")
        for thing in ("a bakery", "noodles", "the market", "coffee and cake", "soup", "a small shop", "tea")
        for place in ("by the river.", "near the old station, where people queue in the rain every morning before eight.")
    ]

    def told(model, ids) -> str:
        with torch.inference_mode():
            tokens = model.generate(ids, max_new_tokens=64, do_sample=False, repetition_penalty=1.0)
        return tokenizer.decode(tokens[0, ids.shape[1] :], skip_special_tokens=True).strip()

    same = {word: 0 for word in (*homes, "peer")}
    for prompt in prompts:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]
        wanted = told(rounding, ids)
        same["peer"] += told(exact, ids) == wanted
        for word, hotplate in homes.items():
            own = hotplate.json("generate", prompt, "--temperature", 0, "--max-tokens", 64)["text"]
            same[word] += own.strip() == wanted
    assert same["f32"] >= max(0.75 * len(prompts), same["peer"] - 2), same
    assert same["bf16"] >= max(0.8 * len(prompts), same["peer"] - 2), same
