"""A GGUF file is a base: it says what the Hugging Face folder says that it was made of, in logits, tokens, training and exports."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import gguf_files
import pytest
import torch
from checkpoints import SHAPES, TEXT, Shape, load, randomise, write_checkpoint, write_tokenizer
from logits_example import assert_same_logits, engine_logits, engine_refusal
from test_logits import peer_logits, token_ids
from test_templates import engine as chat_engine
from transformers import AutoTokenizer

TEXTS = ["  two  spaces ", "12345 3.14 1,000", "It's café, ÄÖ ß", "巷口的面馆换了老板。", "😀👩‍👩‍👧 x", "a\n\n b\r\n\tc", "<s>x</s> y<pad>", ""]

LLAMAS = ["plain", "tied", "head-dim", "rope-llama3", "rope-linear", "biases-of-attention", "one-kv-head"]


def other_family(folder: Path, name: str) -> Path:
    import transformers

    folder.mkdir(parents=True)
    vocab = len(write_tokenizer(folder))
    sizes = {"hidden_size": 64, "intermediate_size": 144, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
             "max_position_embeddings": 512, "vocab_size": vocab, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    own = {
        "Qwen2": {},
        "Qwen3": {"head_dim": 32},
        "SmolLM3": {},
        "Gemma3": {"head_dim": 32, "sliding_window": 8, "num_hidden_layers": 7, "query_pre_attn_scalar": 32},
        "Phi3": {},
    }[name]
    prefix = "Gemma3Text" if name == "Gemma3" else name
    config = getattr(transformers, f"{prefix}Config")(**{**sizes, **own})
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    randomise(model, 5)
    model.save_pretrained(folder)
    return folder


def base_of(folder: Path, name: str) -> Path:
    if name == "biases-of-attention":
        return write_checkpoint(folder, Shape({"attention_bias": True, "mlp_bias": True}))
    return write_checkpoint(folder, name) if name in SHAPES else other_family(folder, name)


@pytest.mark.parametrize("name", [*LLAMAS, "Qwen2", "Qwen3", "SmolLM3", "Gemma3", "Phi3"])
def test_logits_are_those_of_the_folder(tmp_path, name):
    base = base_of(tmp_path / "base", name)
    gguf_files.write(base, tmp_path / "m.gguf")
    model = load(base)
    ids = token_ids(model.config.vocab_size, 40)
    assert_same_logits(engine_logits(tmp_path / "m.gguf", ids), peer_logits(model, ids), 1e-3)
    difference = (engine_logits(tmp_path / "m.gguf", ids) - engine_logits(base, ids)).abs().max().item()
    assert difference < 1e-4


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"])
def test_types_of_values(tmp_path, kind):
    """Against the values that gguf's own reader finds in the file."""
    base = write_checkpoint(tmp_path / "base", Shape({"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 8}))
    held = gguf_files.write(base, tmp_path / "m.gguf", kind)
    model = load(base)
    model.load_state_dict(held)
    ids = token_ids(model.config.vocab_size, 24)
    ours, theirs = engine_logits(tmp_path / "m.gguf", ids), peer_logits(model, ids)
    assert theirs.std() > 1e-3
    assert (ours - theirs).abs().max() < 1e-3 * max(1, theirs.abs().max().item())


@pytest.mark.parametrize("pre", ["default", "gpt-2"])
def test_tokens_and_template_are_those_of_the_folder(tmp_path, pre):
    base = write_checkpoint(tmp_path / "base", "plain")
    gguf_files.write(base, tmp_path / "m.gguf", pre=pre)
    requests = [{"messages": [{"role": "user", "content": text}], "tools": None, "add_generation_prompt": True} for text in TEXTS]
    ours = chat_engine(tmp_path / "m.gguf", requests)
    assert ours == chat_engine(base, requests)
    tokenizer = AutoTokenizer.from_pretrained(base)
    wanted = [tokenizer.apply_chat_template(r["messages"], add_generation_prompt=True, return_dict=False) for r in requests]
    assert all(str(ids)[1:-1] in json.dumps(ours) for ids in wanted)


def test_tokens_are_those_of_sentencepiece(tmp_path):
    import sentencepiece

    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for text in TEXT if text.isascii()] * 20), model_writer=made, vocab_size=400, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
    base = write_checkpoint(tmp_path / "base", Shape({"vocab_size": pieces.vocab_size()}))
    gguf_files.write(base, tmp_path / "m.gguf", tokenizer=pieces)
    texts = [text for text in TEXTS if "<s>" not in text]
    found = chat_engine(tmp_path / "m.gguf", [{"messages": [{"role": "user", "content": text}]} for text in texts])["rendered"]
    assert [each["tokens"] for each in found] == [pieces.encode(text) for text in texts]


def test_a_gguf_base_trains_answers_and_exports(shared_hotplate, tmp_path):
    base = write_checkpoint(tmp_path / "base", "plain")
    model = tmp_path / "models" / "m.gguf"
    model.parent.mkdir()
    gguf_files.write(base, model)
    notes = tmp_path / "gguf-notes"
    notes.mkdir()
    (notes / "a.txt").write_text("\n---\n".join(f"The bakery on corner {n} opens at seven." for n in range(12)))
    shared_hotplate.json("train", notes, "--base", model, "--max-steps", "4")
    asked = ("generate", "The bakery", "--raw", "--max-tokens", "16", "--temperature", "0", "--base")
    said = [shared_hotplate.json(*asked, place)["text"] for place in (model, model.parent, base)]
    assert said[0] and said[0] == said[1] == said[2]
    shared_hotplate.json("generate", "-a", "gguf-notes", "The bakery", "--max-tokens", "4")
    shared_hotplate.json("export", "gguf-notes", "--to", "gguf", "--out", tmp_path / "a.gguf")
    assert (tmp_path / "a.gguf").read_bytes()[:4] == b"GGUF"


BAD_KEYS = {
    "architecture": (lambda w: w.add_string("general.architecture", "mamba"), "mamba"),
    "adapter": (lambda w: w.add_string("general.type", "adapter"), "LoRA adapter"),
    "mmproj": (lambda w: w.add_string("general.type", "mmproj"), "pictures"),
    "split": (lambda w: w.add_uint16("split.count", 3), "llama-gguf-split --merge"),
    "pre": (lambda w: w.add_string("tokenizer.ggml.pre", "martian"), "martian"),
    "tokenizer": (lambda w: w.add_string("tokenizer.ggml.model", "bert"), "tokenizer.ggml.model"),
    "experts": (lambda w: w.add_uint32("llama.expert_count", 8), "llama.expert_count"),
    "rope": (lambda w: w.add_string("llama.rope.scaling.type", "odd"), "llama.rope.scaling.type"),
    "bos": (lambda w: w.add_uint32("tokenizer.ggml.bos_token_id", 99999), "bos_token_id"),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_what_is_not_known_is_named(tmp_path, name):
    change, named = BAD_KEYS[name]

    def replaced(writer):
        for data in writer.kv_data:
            class Keys:
                def __getattr__(self, method):
                    def add(key, value):
                        data.pop(key, None)
                        getattr(writer, method)(key, value)
                    return add
            change(Keys())

    gguf_files.write(write_checkpoint(tmp_path / "base", "plain"), tmp_path / "m.gguf", change=replaced)
    refusal = engine_refusal(tmp_path / "m.gguf")
    assert named in refusal and "m.gguf" in refusal, refusal


def test_damage_is_said_and_never_a_crash(tmp_path):
    whole = tmp_path / "m.gguf"
    gguf_files.write(write_checkpoint(tmp_path / "base", "plain"), whole)
    good = whole.read_bytes()
    huge = struct.pack("<Q", 1 << 60)
    cases = [good[:n] for n in (1, 4, 7, 8, 20, 30, 100, 5000, len(good) // 2, len(good) - 1)]
    cases += [b"GGML" + good[4:], good[:4] + struct.pack("<I", 1) + good[8:], good[:4] + struct.pack(">I", 3) + good[8:]]
    cases += [good[:8] + huge + good[16:], good[:16] + huge + good[24:], good[:24] + huge + good[32:], good[:33] + b"\xff" + good[34:]]
    for number, case in enumerate(cases):
        bad = tmp_path / f"bad-{number}.gguf"
        bad.write_bytes(case)
        assert bad.name in engine_refusal(bad)
