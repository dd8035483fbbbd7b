"""The engine and `transformers` say the same of the same checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from checkpoints import SHAPES, load
from logits_example import assert_same_logits, engine_logits
from safetensors import safe_open
from transformers import AutoTokenizer

PROMPTS = [
    "The bakery on the corner, 面馆 and a café:",
    "It's raining again",
    "夜市的灯",
    "Small shop, large heart.",
    "20 % off, I don't know why",
]
GREEDY_TOKENS = 32


def token_ids(vocabulary: int, count: int = 200) -> list[int]:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(3, vocabulary, (count,), generator=generator).tolist()


@torch.no_grad()
def peer_logits(model, ids: list[int]) -> torch.Tensor:
    return model(torch.tensor([ids])).logits[0]


@torch.no_grad()
def peer_greedy(model, ids: list[int]) -> tuple[list[int], float]:
    """The likeliest tokens, one after the other, and the smallest lead that any of them had."""
    ids = list(ids)
    closest = float("inf")
    for _ in range(GREEDY_TOKENS):
        best = peer_logits(model, ids)[-1].topk(2)
        closest = min(closest, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
    return ids[-GREEDY_TOKENS:], closest


def check_greedy(hotplate, model, encode, *words: object) -> None:
    """`encode` gives the ids that a prompt must become."""
    for prompt in PROMPTS:
        ids = encode(prompt)
        expected, closest = peer_greedy(model, ids)
        # Two tokens within the allowed difference may change places; such a prompt proves nothing.
        if closest > 2e-3:
            break
    else:
        pytest.fail("no prompt has clear winners: choose other ones")
    sampling = ["--temperature", 0, "--repetition-penalty", 1, "--max-tokens", GREEDY_TOKENS, "--ignore-eos"]
    answer = hotplate.json("generate", *words, *sampling, prompt)
    assert answer["prompt_tokens"] == len(ids)
    assert answer["token_ids"] == expected
    assert answer["finish_reason"] == "length"


def raw(tokenizer):
    return lambda prompt: tokenizer(prompt).input_ids


def templated(tokenizer):
    return lambda prompt: tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=False
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_same_logits(checkpoint, shape):
    folder = checkpoint(shape)
    model = load(folder)
    ids = token_ids(model.config.vocab_size)
    assert_same_logits(engine_logits(folder, ids), peer_logits(model, ids))


@pytest.mark.parametrize("shape", SHAPES)
def test_same_greedy_tokens(checkpoint, shared_hotplate, shape):
    folder = checkpoint(shape)
    encode = raw(AutoTokenizer.from_pretrained(folder))
    check_greedy(shared_hotplate, load(folder), encode, "--base", folder, "--raw")


def test_the_shapes_are_what_they_say(checkpoint):
    """Otherwise the two tests above would prove less than they claim."""
    assert len(list(checkpoint("shards").glob("model-*-of-*.safetensors"))) > 3
    assert not (checkpoint("shards") / "model.safetensors").exists()
    with safe_open(checkpoint("tied") / "model.safetensors", "pt") as weights:
        assert "lm_head.weight" not in weights.keys()
    with safe_open(checkpoint("bfloat16") / "model.safetensors", "pt") as weights:
        assert weights.get_tensor("model.norm.weight").dtype == torch.bfloat16
    old = json.loads((checkpoint("rope-llama3-old-layout") / "config.json").read_text())
    assert old["rope_scaling"]["rope_type"] == "llama3" and old["rope_theta"] == 500000.0
    assert "rope_parameters" not in old


def test_the_chat_template_is_the_same(checkpoint, shared_hotplate):
    folder = checkpoint("plain")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # The template writes the start token and so does the tokenizer: it must not come twice.
    assert templated(tokenizer)("x").count(tokenizer.bos_token_id) == 1
    check_greedy(shared_hotplate, load(folder), templated(tokenizer), "--base", folder)


class TestEmbedded:
    """`hotplate-tiny` is an ordinary Hugging Face folder."""

    def test_same_logits(self, embedded: Path):
        model = load(embedded)
        ids = token_ids(model.config.vocab_size)
        assert_same_logits(engine_logits(embedded, ids), peer_logits(model, ids))

    def test_it_is_small(self, embedded: Path):
        model = load(embedded)
        assert sum(parameter.numel() for parameter in model.parameters()) <= 6_000_000
        assert sum(path.stat().st_size for path in embedded.iterdir() if path.is_file()) <= 12 << 20
        assert 4096 <= model.config.vocab_size <= 8192

    @pytest.mark.parametrize(("encoding", "words"), [(raw, ["--raw"]), (templated, [])])
    def test_same_greedy_tokens(self, embedded: Path, shared_hotplate, encoding, words):
        check_greedy(shared_hotplate, load(embedded), encoding(AutoTokenizer.from_pretrained(embedded)), *words)

    @pytest.mark.parametrize("text", ["A plain line.", "两碗面，一杯茶。", " spaces  and\ttabs\n", "😀 naïve €", ""])
    def test_its_tokenizer_loses_nothing(self, embedded: Path, text):
        tokenizer = AutoTokenizer.from_pretrained(embedded)
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
