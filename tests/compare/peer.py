"""The other side, one process a measurement: transformers and peft doing what `hotplate bench` does. Prints one JSON object.

Called by the comparisons; by hand: `.venv/bin/python tests/compare/peer.py train --model DIR`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def peak_memory() -> int:
    # Of this process alone; `ru_maxrss` starts with what the parent had at the fork.
    try:
        for line in open("/proc/self/status"):
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def load(given, torch):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(given.model, dtype=getattr(torch, given.dtype))


def with_adapter(model, rank: int):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear", task_type="CAUSAL_LM"))


def batches(given, torch, vocab):
    """Tensors with the number of real tokens of each step."""
    if given.data is None:
        generator = torch.Generator().manual_seed(given.seed)
        rows = torch.randint(0, vocab, (given.rows, given.tokens), generator=generator)
        for _ in range(given.steps + given.warm_up):
            yield {"input_ids": rows, "attention_mask": torch.ones_like(rows), "labels": rows}, rows.numel()
        return
    samples = [json.loads(line) for line in open(given.data)]
    samples = samples[: given.limit] if given.limit else samples
    order = list(range(len(samples)))
    total = given.steps + given.warm_up if given.steps else len(samples) // given.batch + given.warm_up
    at = 0
    for _ in range(total):
        picked = [samples[order[(at + offset) % len(order)]] for offset in range(given.batch)]
        at += given.batch
        longest = max(len(sample["input_ids"]) for sample in picked)
        pad = lambda values, fill: values + [fill] * (longest - len(values))
        yield {
            "input_ids": torch.tensor([pad(sample["input_ids"], 0) for sample in picked]),
            "attention_mask": torch.tensor([pad([1] * len(sample["input_ids"]), 0) for sample in picked]),
            "labels": torch.tensor([pad(sample["labels"], -100) for sample in picked]),
        }, sum(len(sample["input_ids"]) for sample in picked)


def train(given, torch) -> dict:
    model = load(given, torch)
    if given.recompute:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    model.config.use_cache = False
    model = with_adapter(model, given.rank)
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01)
    rates, losses, all_tokens, all_seconds = [], [], 0, 0.0
    for step, (batch, tokens) in enumerate(batches(given, torch, model.config.vocab_size)):
        began = time.perf_counter()
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - began
        losses.append(loss.item())
        if step >= given.warm_up:
            rates.append(tokens / seconds)
            all_tokens += tokens
            all_seconds += seconds
    return {
        "tokens_per_second": all_tokens / all_seconds,
        "median_tokens_per_second": statistics.median(rates),
        "losses": losses,
    }


def generate(given, torch) -> dict:
    model = load(given, torch)
    if given.adapter:
        model = with_adapter(model, given.rank)
    model.eval()
    generator = torch.Generator().manual_seed(given.seed)
    vocab = model.config.vocab_size
    firsts, decodes = [], []
    with torch.inference_mode():
        for _ in range(given.repeat):
            prompt = torch.randint(0, vocab, (given.batch, given.prompt_tokens), generator=generator)
            began = time.perf_counter()
            out = model(input_ids=prompt, use_cache=True, logits_to_keep=1)
            token = out.logits[:, -1].argmax(-1, keepdim=True)
            firsts.append(time.perf_counter() - began)
            began = time.perf_counter()
            for _ in range(given.new_tokens - 1):
                out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
                token = out.logits[:, -1].argmax(-1, keepdim=True)
            decodes.append(time.perf_counter() - began)
    first, decode = statistics.median(firsts), statistics.median(decodes)
    return {
        "first_token_ms": first * 1e3,
        "prefill_tokens_per_second": given.batch * given.prompt_tokens / first,
        "decode_tokens_per_second": given.batch * (given.new_tokens - 1) / decode if given.new_tokens > 1 else 0.0,
    }


def switch(given, torch) -> dict:
    """Named adapters in one model, chosen with `set_adapter`; and the same adapter again without choosing."""
    from peft import LoraConfig

    model = with_adapter(load(given, torch), given.rank)
    names = ["default"]
    for index in range(1, given.adapters):
        config = LoraConfig(r=given.rank, lora_alpha=given.rank, target_modules="all-linear", task_type="CAUSAL_LM")
        model.add_adapter(f"a{index}", config)
        names.append(f"a{index}")
    model.eval()
    generator = torch.Generator().manual_seed(given.seed)
    same, switched = [], []

    def first(name):
        prompt = torch.randint(0, model.config.vocab_size, (1, given.prompt_tokens), generator=generator)
        began = time.perf_counter()
        if name is not None:
            model.set_adapter(name)
        with torch.inference_mode():
            model(input_ids=prompt, use_cache=True, logits_to_keep=1).logits[:, -1].argmax(-1)
        return (time.perf_counter() - began) * 1e3

    first("default")
    for turn in range(1, given.repeat + 1):
        switched.append(first(names[turn % len(names)]))
        same.append(first(None))
    return {
        "same_median_ms": statistics.median(same),
        "switch_median_ms": statistics.median(switched),
        "ratio": statistics.median(switched) / statistics.median(same),
    }


def peaks(given, torch) -> dict:
    """The best of several products of large matrices, and of several passes over memory."""
    found = {}
    for name, dtype, side, times in (("f32", torch.float32, 1536, 12), ("bf16", torch.bfloat16, 1024, 6)):
        left, right = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
        found[name] = 2 * side**3 / min(timed(lambda: left @ right) for _ in range(times))
    big = torch.ones(64 << 20)
    read = min(timed(lambda: big.sum()) for _ in range(6))
    return found | {"bandwidth": big.numel() * 4 / read}


def timed(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train", "generate", "switch", "peaks"])
    parser.add_argument("--model")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--warm-up", type=int, default=1)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--prompt-tokens", type=int, default=1024)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--adapter", action="store_true")
    parser.add_argument("--adapters", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "train" and given.data is None and given.steps is None:
        given.steps = 6
    if given.batch is None:
        given.batch = 4 if given.what == "train" else 1
    import torch

    if given.threads:
        torch.set_num_threads(given.threads)
    work = {"train": train, "generate": generate, "switch": switch, "peaks": peaks}[given.what]
    began = time.perf_counter()
    report = work(given, torch)
    print(json.dumps(report | {"peak_memory": peak_memory(), "wall_seconds": time.perf_counter() - began}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
