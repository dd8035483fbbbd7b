"""llama.cpp as a peer: what it says next."""

from __future__ import annotations

from pathlib import Path


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
