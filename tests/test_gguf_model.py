"""`export --to gguf --merged` and `--to ollama`: a whole model that llama.cpp runs as the base with its adapter, from a folder and from a GGUF base."""

from __future__ import annotations

import json
from pathlib import Path

import gguf_files
import llama_cpp
import pytest
import torch
from checkpoints import CHAT_TEMPLATE, Shape, load, write_checkpoint
from logits_example import assert_same_logits, engine_logits
from test_gguf_base import base_of
from test_logits import peer_logits, token_ids
from test_peft import ALL, made_by_peft, with_peft

FAMILIES = ["plain", "tied", "rope-llama3", "rope-linear", "biases-of-attention", "Qwen2", "Qwen3", "SmolLM3", "Gemma3", "Phi3"]

#: llama.cpp looks GELU up in a table of f16.
LIMITS = {"Gemma3": 0.08}


def modules_of(name: str) -> list[str]:
    return ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"] if name == "Phi3" else ALL


def read_keys(file: Path) -> dict:
    import gguf

    fields = gguf.GGUFReader(file).fields.items()
    return {key: field.contents() for key, field in fields if not key.startswith(("GGUF.", "hotplate."))}


def assert_llama_cpp_says(file: Path, ids: list[int], wanted, without, limit: float = 0.02) -> None:
    wanted, without = wanted.log_softmax(-1), without.log_softmax(-1)
    compared = changed = 0
    for at, found in enumerate(llama_cpp.ask(file, [ids[: at + 1] for at in range(len(ids))])):
        if found is None:
            continue
        token, log_probability = found
        assert abs(wanted[at, token].item() - log_probability) < limit, f"after {at + 1} tokens"
        assert wanted[at].max().item() - log_probability < limit, "it is not the likeliest"
        compared += 1
        changed += abs(without[at, token].item() - log_probability) > 0.1
    assert compared >= 8 and changed >= compared // 2, f"{compared} compared, {changed} told by the adapter"


@pytest.mark.parametrize("name", FAMILIES)
def test_from_a_folder(shared_hotplate, tmp_path, name):
    base = base_of(tmp_path / "base", name)
    adapter = made_by_peft(base, tmp_path / "adapter", r=4, lora_alpha=4, target_modules=modules_of(name))
    out = tmp_path / "m.gguf"
    said = shared_hotplate.json("export", adapter, "--base", base, "--to", "gguf", "--merged", "--out", out)
    assert said["form"] == "gguf_merged" and "remarks" not in said
    ids = token_ids(load(base).config.vocab_size, 24)
    wanted = peer_logits(with_peft(base, adapter), ids)
    assert_same_logits(engine_logits(out, ids), wanted, 2e-3)
    assert_llama_cpp_says(out, ids, wanted, peer_logits(load(base), ids), LIMITS.get(name, 0.02))


def test_a_window_that_llama_cpp_does_not_keep_is_said(shared_hotplate, tmp_path):
    base = base_of(tmp_path / "base", "Phi3")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"sliding_window": 8}))
    adapter = made_by_peft(base, tmp_path / "adapter", r=4, lora_alpha=4, target_modules=modules_of("Phi3"))
    said = shared_hotplate.json("export", adapter, "--base", base, "--to", "gguf", "--merged", "--out", tmp_path / "m.gguf")
    assert "sliding window" in said["remarks"][0] and "more than 8 tokens" in said["remarks"][0]


@pytest.mark.parametrize("form", ["embedding", "head", "both"])
def test_a_tied_head_gets_a_weight_of_its_own_where_it_must(shared_hotplate, tmp_path, form):
    base = write_checkpoint(tmp_path / "base", "tied")
    modules = {"embedding": ["embed_tokens", "q_proj"], "head": ["lm_head"], "both": ["embed_tokens", "lm_head"]}[form]
    adapter = made_by_peft(base, tmp_path / "adapter", r=4, lora_alpha=4, target_modules=modules)
    ids = token_ids(load(base).config.vocab_size, 24)
    wanted, without = peer_logits(with_peft(base, adapter), ids), peer_logits(load(base), ids)
    of_gguf = tmp_path / "base.gguf"
    gguf_files.write(base, of_gguf)
    for source in (base, of_gguf):
        out = tmp_path / f"{source.name}-merged.gguf"
        shared_hotplate.json("export", adapter, "--base", source, "--to", "gguf", "--merged", "--out", out)
        assert_same_logits(engine_logits(out, ids), wanted, 2e-3)
        if form != "embedding":
            # The factors of an embedding are random only where `made_by_peft` fills them, which it does for linear ones.
            assert_llama_cpp_says(out, ids, wanted, without)


@pytest.mark.parametrize("name", ["plain", "SmolLM3", "Gemma3", "Phi3"])
def test_from_a_gguf_base_all_else_is_copied(shared_hotplate, tmp_path, name):
    base = base_of(tmp_path / "base", name)
    source, out = tmp_path / "base.gguf", tmp_path / "m.gguf"
    gguf_files.write(base, source, change=lambda writer: writer.add_string("general.author", "somebody"))
    adapter = made_by_peft(base, tmp_path / "adapter", r=4, lora_alpha=4, target_modules=["o_proj", modules_of(name)[0]])
    shared_hotplate.json("export", adapter, "--base", source, "--to", "gguf", "--merged", "--out", out)
    assert read_keys(out) == read_keys(source) and read_keys(out)["general.author"] == "somebody"
    ids = token_ids(load(base).config.vocab_size, 24)
    wanted = peer_logits(with_peft(base, adapter), ids)
    assert_same_logits(engine_logits(out, ids), wanted, 2e-3)
    assert_llama_cpp_says(out, ids, wanted, peer_logits(load(base), ids), LIMITS.get(name, 0.02))


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q4_K", "Q6_K"])
@pytest.mark.parametrize("size", ["small", "large"])
def test_a_quantised_base_never_loses_the_adapter(shared_hotplate, tmp_path, kind, size):
    """What an adapter adds is mostly less than a step of the base's grid."""
    import gguf

    shape = Shape({"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 8})
    base = write_checkpoint(tmp_path / "base", shape)
    source, out = tmp_path / "base.gguf", tmp_path / "m.gguf"
    held = gguf_files.write(base, source, kind)
    alpha = {"small": 0.02, "large": 8}[size]
    adapter = made_by_peft(base, tmp_path / "adapter", r=4, lora_alpha=alpha, target_modules=["q_proj", "down_proj"])
    said = shared_hotplate.json("export", adapter, "--base", source, "--to", "gguf", "--merged", "--out", out)
    types = [{t.name: t.tensor_type.name for t in gguf.GGUFReader(file).tensors} for file in (source, out)]
    changed = {name for name in types[0] if types[0][name] != types[1][name]}
    assert all("attn_q" in name or "ffn_down" in name for name in changed)
    assert bool(changed) == bool(said.get("remarks"))
    if kind in ("F16", "BF16"):
        assert not changed
    if kind in ("Q4_0", "Q4_1", "Q5_0") and size == "small":
        assert len(changed) == 4 and kind in said["remarks"][0]
    # The change of the merged weights is the adapter's, up to a quarter.
    tensors = {t.name: t for t in gguf.GGUFReader(out).tensors}
    factors = {n: p for n, p in with_peft(base, adapter).named_parameters() if "lora_" in n}
    module = "base_model.model.model.layers.0.mlp.down_proj"
    delta = alpha / 4 * factors[f"{module}.lora_B.default.weight"] @ factors[f"{module}.lora_A.default.weight"]
    found = tensors["blk.0.ffn_down.weight"]
    values = torch.tensor(gguf.quants.dequantize(found.data, found.tensor_type)).reshape(delta.shape)
    before = held["model.layers.0.mlp.down_proj.weight"].reshape(delta.shape)
    if kind not in ("F16", "BF16"):
        assert (values - before - delta).norm() < 0.26 * delta.norm()


def test_what_llama_cpp_needs_is_there(shared_hotplate, tmp_path):
    base = write_checkpoint(tmp_path / "base", Shape(dtype="bfloat16"))
    adapter = made_by_peft(base, tmp_path / "adapter", r=4, target_modules=["q_proj"])
    out = tmp_path / "for-ollama"
    said = shared_hotplate.json("export", adapter, "--base", base, "--to", "ollama", "--out", out)
    assert {path.name for path in out.iterdir()} >= {"model.gguf", "Modelfile"} and "TEMPLATE" in said["remarks"][0]
    modelfile = (out / "Modelfile").read_text()
    assert modelfile.startswith("FROM ./model.gguf\n") and 'PARAMETER stop "</s>"' in modelfile
    keys = read_keys(out / "model.gguf")
    assert keys["tokenizer.chat_template"] == CHAT_TEMPLATE and keys["tokenizer.ggml.pre"] == "gpt-2"
    assert keys["tokenizer.ggml.add_bos_token"] is True and keys["general.file_type"] == 32
    assert keys["tokenizer.ggml.bos_token_id"] == 0 and keys["tokenizer.ggml.eos_token_id"] == 1
    shared_hotplate.json("generate", "--base", out / "model.gguf", "hi", "--max-tokens", 2)
    shared_hotplate.fails("export", adapter, "--base", base, "--merged", "--out", tmp_path / "x", naming=["--to gguf"])


def test_what_it_cannot_say_is_refused(shared_hotplate, tmp_path):
    import json

    base = write_checkpoint(tmp_path / "base", "plain")
    adapter = made_by_peft(base, tmp_path / "adapter", r=4, target_modules=["q_proj"])
    tokenizer = base / "tokenizer.json"
    told = json.loads(tokenizer.read_text())
    split = {"type": "Split", "pattern": {"Regex": "[aeiou]+|\\s+"}, "behavior": "Isolated", "invert": False}
    bytes_only = told["pre_tokenizer"] | {"use_regex": False}
    told["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, bytes_only]}
    tokenizer.write_text(json.dumps(told))
    words = ("export", adapter, "--base", base, "--to", "gguf", "--merged", "--out", tmp_path / "m.gguf")
    shared_hotplate.fails(*words, naming=["pre_tokenizer", "convert_hf_to_gguf.py"])
    assert not (tmp_path / "m.gguf").exists()
