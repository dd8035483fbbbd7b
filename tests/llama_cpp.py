"""llama.cpp as a peer: a checkpoint as GGUF, and what it says next."""

from __future__ import annotations

import json
from pathlib import Path

ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2"}


def write_gguf(base: Path, out: Path) -> Path:
    """The base in float32, laid out as llama.cpp's own converter does it."""
    import gguf
    from checkpoints import load

    model = load(base)
    config = model.config
    architecture = ARCHITECTURES[config.architectures[0]]
    writer = gguf.GGUFWriter(str(out), architecture)
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // heads)
    writer.add_vocab_size(config.vocab_size)
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    names = {number: name for name, number in tokenizer["model"]["vocab"].items()}
    special = {token["id"] for token in tokenizer["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([names.get(i, f"<unused{i}>") for i in range(config.vocab_size)])
    writer.add_token_types([3 if i in special else 1 for i in range(config.vocab_size)])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)

    def permuted(weight, count):
        return weight.reshape(count, 2, weight.shape[0] // count // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)

    names = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    for name, tensor in model.state_dict().items():
        values = tensor.float().numpy()
        module, kind = name.rsplit(".", 1)
        if name == "lm_head.weight":
            if config.tie_word_embeddings:
                continue
            place = "output"
        elif module == "model.embed_tokens":
            place = "token_embd"
        elif module == "model.norm":
            place = "output_norm"
        else:
            _, _, layer, inner = module.split(".", 3)
            if architecture == "llama" and inner in ("self_attn.q_proj", "self_attn.k_proj"):
                values = permuted(values, heads if "q_proj" in inner else kv_heads)
            place = f"blk.{layer}.{names[inner]}"
        writer.add_tensor(f"{place}.{kind}", values.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def ask(base: Path, prompts: list[list[int]], adapter: Path | None = None) -> list[tuple[int, float] | None]:
    """The likeliest next token after each prompt, and its log-probability; none where that token is only a part of a character,
    which llama.cpp's server keeps to itself."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(base)
    params.n_ctx = 256
    params.n_gpu_layers = 0
    params.warmup = False
    params.cpuparams.n_threads = 2
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    if adapter is not None:
        info = xllamacpp.CommonAdapterLoraInfo()
        info.path, info.scale = str(adapter), 1.0
        params.lora_adapters = [info]
    server = xllamacpp.Server(params)
    found = []
    for prompt in prompts:
        asked = {"prompt": prompt, "n_predict": 1, "temperature": 0.0, "n_probs": 1, "cache_prompt": False}
        logprobs = server.handle_completions(asked)["choices"][0]["logprobs"]
        entries = logprobs["content"] if logprobs else []
        found.append((entries[0]["id"], entries[0]["logprob"]) if entries else None)
    return found
