"""An exported GGUF adapter loads in llama.cpp, beside its base, and answers as the adapter does in PEFT."""

from __future__ import annotations

from pathlib import Path

import gguf_files
import llama_cpp
import pytest
import torch
from checkpoints import load, randomise, write_checkpoint, write_tokenizer
from test_logits import peer_logits, token_ids
from test_peft import ALL, made_by_peft, with_peft

FORMS = {
    "all-linear": {"r": 4, "lora_alpha": 12, "target_modules": ALL},
    # llama.cpp knows one alpha: other scales must have gone into the factors.
    "other scales": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ALL,
        "use_rslora": True,
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {"down_proj": 20, "k_proj": 3},
    },
    "embedding and head": {"r": 4, "lora_alpha": 8, "target_modules": ["embed_tokens", "lm_head", "v_proj"]},
}


def write_qwen2(folder: Path) -> Path:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder.mkdir(parents=True)
    tokenizer = write_tokenizer(folder)
    torch.manual_seed(0)
    config = Qwen2Config(
        hidden_size=64,
        intermediate_size=144,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        vocab_size=len(tokenizer),
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = Qwen2ForCausalLM(config)
    randomise(model, 3)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_gguf_adapter_answers_the_same_in_llama_cpp(shared_hotplate, tmp_path, family, form):
    base = write_qwen2(tmp_path / "base") if family == "qwen2" else write_checkpoint(tmp_path / "base", "plain")
    adapter = made_by_peft(base, tmp_path / "adapter", **FORMS[form])
    shared_hotplate.json("export", adapter, "--base", base, "--to", "gguf", "--out", tmp_path / "adapter.gguf")
    ids = token_ids(load(base).config.vocab_size, 24)
    wanted = peer_logits(with_peft(base, adapter), ids).log_softmax(-1)
    without = peer_logits(load(base), ids).log_softmax(-1)
    prompts = [ids[: at + 1] for at in range(len(ids))]
    gguf = tmp_path / "base.gguf"
    gguf_files.write(base, gguf)
    compared = changed = 0
    for at, found in enumerate(llama_cpp.ask(gguf, prompts, tmp_path / "adapter.gguf")):
        if found is None:
            continue
        token, log_probability = found
        assert abs(wanted[at, token].item() - log_probability) < 0.02, f"after {at + 1} tokens"
        assert wanted[at].max().item() - log_probability < 0.02, "it is not the likeliest"
        compared += 1
        changed += abs(without[at, token].item() - log_probability) > 0.1
    assert compared >= 8 and changed >= compared // 2, f"{compared} compared, {changed} told by the adapter"
