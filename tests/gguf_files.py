"""Writes checkpoints as GGUF files, as llama.cpp's own converter lays them out, in any type of values."""

from __future__ import annotations

import json
from pathlib import Path

#: `general.architecture`, and whether query and key rows go side by side.
FAMILIES = {
    "LlamaForCausalLM": ("llama", True),
    "Qwen2ForCausalLM": ("qwen2", False),
    "Qwen3ForCausalLM": ("qwen3", False),
    "SmolLM3ForCausalLM": ("smollm3", True),
    "Gemma3ForCausalLM": ("gemma3", False),
    "Phi3ForCausalLM": ("phi3", False),
}

NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
SANDWICH = NAMES | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


def write(base: Path, out: Path, kind: str = "F32", *, pre: str = "default", tokenizer=None, change=None) -> dict:
    """Writes `base` with its matrices as `kind`. `tokenizer`: a SentencePiece model, or what writes another one; `change` may add to the writer's keys or tensors. The answer is the state dict with the values
    that the file really holds."""
    import gguf
    import torch
    from checkpoints import load

    model = load(base)
    config = model.config
    architecture, permuted = FAMILIES[config.architectures[0]]
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer = gguf.GGUFWriter(str(out), architecture)
    writer.add_type("model")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    if architecture != "gemma3":
        writer.add_rope_dimension_count(head_dim)
    if architecture == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope.get("rope_type") == "llama3":
        plain = rope["rope_theta"] ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        writer.add_tensor("rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq).numpy())
    if callable(tokenizer):
        tokenizer(writer)
    elif tokenizer:
        write_sentence_piece(writer, tokenizer)
    else:
        write_byte_level(writer, base, config.vocab_size, pre)
    held = {}
    for name, tensor in model.state_dict().items():
        values = tensor.float().numpy()
        module, part = name.rsplit(".", 1)
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if architecture == "gemma3" and "norm" in name:
            values = values + 1
        rows = None
        if permuted and ("q_proj" in name or "k_proj" in name):
            rows = heads if "q_proj" in name else kv_heads
        if rows:
            values = turned(values, rows)
        outer = {"lm_head": "output", "model.embed_tokens": "token_embd", "model.norm": "output_norm"}
        if module in outer:
            place = outer[module]
        else:
            _, _, layer, inner = module.split(".", 3)
            place = f"blk.{layer}.{(SANDWICH if architecture == 'gemma3' else NAMES)[inner]}"
        values = values.copy()
        if values.ndim == 1 or kind == "F32":
            writer.add_tensor(f"{place}.{part}", values)
        else:
            number = gguf.GGMLQuantizationType[kind]
            packed = quantised(values, number)
            writer.add_tensor(f"{place}.{part}", packed, raw_dtype=number)
            values = gguf.quants.dequantize(packed, number).reshape(values.shape)
        if rows:
            values = turned(values, rows, back=True)
        if architecture == "gemma3" and "norm" in name:
            values = values - 1
        held[name] = torch.tensor(values)
    if change:
        change(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def turned(values, heads: int, back: bool = False):
    width = values.shape[0] // heads
    shape = (heads, width // 2, 2) if back else (heads, 2, width // 2)
    return values.reshape(*shape, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def quantised(values, number):
    """By gguf's own quantisers; it has none for most of the K types, whose blocks are drawn at random then, with small scales."""
    import gguf
    import numpy as np

    try:
        return gguf.quants.quantize(values, number)
    except NotImplementedError:
        block, size = gguf.GGML_QUANT_SIZES[number]
        drawn = np.random.default_rng(values.size).integers(0, 256, (values.size // block, size), dtype=np.uint8)
        scales = {"Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (size - 2,), "Q2_K": (size - 4, size - 2), "Q3_K": (size - 2,)}
        scale = np.frombuffer(np.float16(0.0002).tobytes(), dtype=np.uint8)
        for at in scales[number.name]:
            drawn[:, at : at + 2] = scale
        return drawn.reshape(values.shape[0], -1)


def write_byte_level(writer, base: Path, vocab: int, pre: str) -> None:
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    settings = json.loads((base / "tokenizer_config.json").read_text())
    names = {number: name for name, number in tokenizer["model"]["vocab"].items()}
    special = {token["id"] for token in tokenizer["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([names.get(i, f"<unused{i}>") for i in range(vocab)])
    writer.add_token_types([3 if i in special else 1 if i in names else 5 for i in range(vocab)])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(tokenizer["post_processor"] is not None)
    template = base / "chat_template.jinja"
    if template.exists():
        writer.add_chat_template(template.read_text())
    elif settings.get("chat_template"):
        writer.add_chat_template(settings["chat_template"])


def write_sentence_piece(writer, pieces) -> None:
    numbers = range(pieces.vocab_size())
    writer.add_tokenizer_model("llama")
    writer.add_token_list([pieces.id_to_piece(i) for i in numbers])
    writer.add_token_scores([pieces.get_score(i) for i in numbers])
    kinds = [(pieces.is_unknown, 2), (pieces.is_control, 3), (pieces.is_byte, 6)]
    writer.add_token_types([next((kind for holds, kind in kinds if holds(i)), 1) for i in numbers])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{{ messages[0]['content'] }}")
