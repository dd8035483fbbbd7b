"""Each family of bases says here what it says in `transformers`: packed, behind a long context, past the window, through the cache."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from checkpoints import randomise, write_tokenizer
from hotplate_process import built
from logits_example import assert_same_logits, engine_logits, engine_refusal
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

#: In f32 the two differ by rounding only.
LIMIT = 1e-4
GREEDY = 64
WINDOW = 24
SIZES = {
    "hidden_size": 72,
    "intermediate_size": 100,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-5,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.3, 1.6, 1.8, 2.0],
    "long_factor": [1.2, 2.0, 5.0, 9.0, 14.0, 20.0],
}


@dataclass
class Family:
    model_type: str
    config: dict = field(default_factory=dict)
    #: The linear modules that adapters sit on.
    modules: str = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"


def rope(kind: str, **parameters) -> Family:
    return Family("llama", {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **parameters}})


SLIDING = ["sliding_attention", "full_attention", "sliding_attention"]
FAMILIES = {
    "llama": Family("llama", {"head_dim": 20, "attention_bias": True, "mlp_bias": True}),
    "mistral": Family("mistral", {"sliding_window": WINDOW, "head_dim": 20}),
    "qwen2": Family(
        "qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1, "tie_word_embeddings": True}
    ),
    "qwen3": Family("qwen3", {"head_dim": 20}),
    "qwen3-sliding": Family(
        "qwen3", {"head_dim": 8, "use_sliding_window": True, "sliding_window": WINDOW, "layer_types": SLIDING}
    ),
    "smollm3": Family("smollm3", {"no_rope_layer_interval": 2, "pad_token_id": 2}),
    "smollm3-sliding": Family(
        "smollm3",
        {"no_rope_layers": [1, 0, 1], "use_sliding_window": True, "sliding_window": WINDOW, "pad_token_id": 2},
    ),
    "gemma3": Family(
        "gemma3_text",
        {
            "head_dim": 20,
            "sliding_window": WINDOW,
            "layer_types": SLIDING,
            "query_pre_attn_scalar": 30,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        },
    ),
    "phi3": Family(
        "phi3",
        {
            "hidden_size": 96,
            "rope_parameters": {**LONG, "partial_rotary_factor": 0.75},
            "original_max_position_embeddings": 64,
            "pad_token_id": 2,
        },
        "qkv_proj o_proj gate_up_proj down_proj",
    ),
    "phi3-window": Family(
        "phi3", {"sliding_window": WINDOW, "pad_token_id": 2}, "qkv_proj o_proj gate_up_proj down_proj"
    ),
    "rope-dynamic": Family(
        "llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}, "max_position_embeddings": 64}
    ),
    "rope-yarn": rope("yarn", factor=8.0, original_max_position_embeddings=64),
    "rope-yarn-all": rope(
        "yarn",
        factor=8.0,
        original_max_position_embeddings=64,
        beta_fast=20.0,
        beta_slow=2.0,
        mscale=0.7,
        mscale_all_dim=1.2,
        truncate=False,
    ),
    "rope-llama3": rope(
        "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64
    ),
    "rope-linear": rope("linear", factor=4.0),
}


def write(folder: Path, family: Family, *, dtype: str = "float32", max_shard_size: str = "5GB", **config) -> Path:
    tokenizer = write_tokenizer(folder)
    settings = {
        **SIZES,
        "vocab_size": len(tokenizer) + 3,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **family.config,
        **config,
    }
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family.model_type, **settings))
    randomise(model, 1)
    if family.model_type == "gemma3_text":
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "norm" in name:
                    parameter.sub_(1)  # it stores the factor less 1
                elif "embed" in name:
                    parameter.div_(3)  # what it multiplies by sqrt(72)
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=max_shard_size)
    return folder


def load(folder: Path):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


@pytest.fixture(scope="module", params=FAMILIES)
def base(request, tmp_path_factory):
    """A checkpoint of each family."""
    return write(tmp_path_factory.mktemp("families") / request.param, FAMILIES[request.param])


def ids(count: int, seed: int = 7) -> list[int]:
    return torch.randint(3, 400, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


@torch.no_grad()
def peer(folder: Path, tokens: list[int]) -> torch.Tensor:
    # Made anew: some kinds of rotary positions remember the longest sequence that a model has seen.
    return load(folder)(torch.tensor([tokens]), use_cache=False).logits[0]


def asked(folder: Path, tokens: list[int], *words: object) -> dict:
    command = [built("examples/logits"), "--base", folder, "--ids", ",".join(map(str, tokens)), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    said["logits"] = torch.tensor(said["logits"])
    return said


def commas(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))


def test_same_logits_past_the_window_and_packed(base):
    lengths = [100, 1, 2, 63]
    parts = list(ids(sum(lengths)))
    theirs, start = [], 0
    for length in lengths:
        theirs.append(peer(base, parts[start : start + length]))
        start += length
    # One packed row holds them all, and each equals the example alone; the first goes far past the window.
    said = asked(base, parts, "--examples", commas(lengths))
    assert_same_logits(said["logits"], torch.cat(theirs), LIMIT)
    assert_same_logits(engine_logits(base, parts[:100]), theirs[0], LIMIT)


def test_a_long_left_context(base):
    tokens = ids(2001)
    # The rotary angles of late positions are f32 numbers in the thousands: their rounding is what differs.
    assert_same_logits(engine_logits(base, tokens)[-1:], peer(base, tokens)[-1:], 1e-3)
    assert_same_logits(engine_logits(base, tokens[:2])[-1:], peer(base, tokens[:2])[-1:], LIMIT)


def test_the_cache_gives_the_same_numbers(base):
    tokens = ids(101)
    chunks = [50, 1, 20, 1, 1, 28]
    said = asked(base, tokens, "--chunks", commas(chunks))
    assert_same_logits(said["logits"], peer(base, tokens), LIMIT)


def test_the_same_greedy_tokens(base):
    """From a prompt that is shorter than the window and than the original context, so that the answer crosses both."""
    for seed in range(20):
        prompt = ids(11, seed)
        # As `generate` writes it, with its cache; past such places the two may part for want of a digit.
        model = load(base)
        # Neither side ends before its time.
        model.generation_config.eos_token_id = None
        made = model.generate(
            torch.tensor([prompt]),
            do_sample=False,
            max_new_tokens=GREEDY,
            pad_token_id=2,
            return_dict_in_generate=True,
            output_logits=True,
        )
        best = torch.stack([logits[0] for logits in made.logits]).topk(2, dim=-1).values
        if (best[:, 0] - best[:, 1]).min() > 1e-3:
            break
    else:
        pytest.fail("no prompt has clear winners: choose other ones")
    assert asked(base, prompt, "--greedy", GREEDY)["greedy"] == made.sequences[0, len(prompt) :].tolist()


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "smollm3", "gemma3", "phi3"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_in_shards(tmp_path, name, dtype):
    folder = write(tmp_path, FAMILIES[name], dtype=dtype, max_shard_size="60KB")
    assert (folder / "model.safetensors.index.json").exists()
    tokens = ids(40)
    assert_same_logits(engine_logits(folder, tokens), peer(folder, tokens), LIMIT)


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gemma3", "phi3"])
def test_gradients_of_an_adapter(tmp_path, name):
    family = FAMILIES[name]
    folder = write(tmp_path / "base", family)
    modules = family.modules.split()
    model = get_peft_model(load(folder), LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=6, target_modules=modules))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in (p for n, p in model.named_parameters() if "lora_" in n):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5 / 2)
    model.save_pretrained(tmp_path / "adapter")
    examples = [ids(70, 1), ids(9, 2)]
    supervised = [[at > 3 for at in range(len(example))] for example in examples]
    total, losses = sum(map(sum, supervised)), 0
    model.eval()
    for example, mask in zip(examples, supervised, strict=True):
        logits = model(torch.tensor([example]), use_cache=False).logits[0, :-1]
        each = torch.nn.functional.cross_entropy(logits, torch.tensor(example[1:]), reduction="none")
        losses = losses + (each * torch.tensor(mask[1:])).sum()
    (losses / total).backward()
    samples = tmp_path / "samples.jsonl"
    lines = zip(examples, supervised, strict=True)
    samples.write_text("".join(json.dumps({"tokens": t, "supervised": s}) + "\n" for t, s in lines))
    out = tmp_path / "out.safetensors"
    command = [built("examples/train_steps"), "--base", folder, "--adapter", tmp_path / "adapter", "--samples", samples]
    settings = json.dumps({"max_steps": 1, "batch": 2})
    done = subprocess.run([*command, "--settings", settings, "--out", out], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ours = {n.removeprefix("gradient."): t for n, t in load_file(out).items() if n.startswith("gradient.")}
    theirs = {n.replace(".default", ""): p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys() and len(ours) == 2 * 3 * len(modules)
    for key, expected in theirs.items():
        assert expected.norm() > 1e-6, f"{key}: this gradient says nothing"
        distance = (ours[key] - expected).norm() / expected.norm()
        assert distance < 1e-3, f"{key}: {distance:.2e}"


def as_version_4(folder: Path, name: str) -> None:
    """Writes config.json as transformers 4 did."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    ropes = config.pop("rope_parameters")
    config["torch_dtype"] = config.pop("dtype")
    if name == "gemma3":
        config["rope_theta"] = ropes["full_attention"].pop("rope_theta")
        config["rope_local_base_freq"] = ropes["sliding_attention"]["rope_theta"]
        config["rope_scaling"] = ropes["full_attention"]
    else:
        for key in ("rope_theta", "partial_rotary_factor"):
            if key in ropes:
                config[key] = ropes.pop(key)
        ropes["type"] = ropes.pop("rope_type")
        config["rope_scaling"] = None if ropes["type"] == "default" else ropes
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("name", ["mistral", "qwen2", "qwen3", "smollm3", "gemma3", "phi3", "rope-yarn"])
def test_the_config_of_transformers_4(tmp_path, name):
    folder = write(tmp_path, FAMILIES[name])
    tokens = ids(90)
    theirs = peer(folder, tokens)
    as_version_4(folder, name)
    assert_same_logits(engine_logits(folder, tokens), theirs, LIMIT)


class TestTied:
    """What a file holds of a tied pair decides, as in `transformers`."""

    def changed(self, folder: Path, change, **config) -> Path:
        write(folder, FAMILIES["qwen3"], **config)
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    def same(self, folder: Path) -> None:
        tokens = ids(30)
        assert_same_logits(engine_logits(folder, tokens), peer(folder, tokens), LIMIT)

    def test_with_the_head_in_the_file(self, tmp_path):
        copy = lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"].clone()})  # noqa: E731
        self.same(self.changed(tmp_path, copy, tie_word_embeddings=True))

    def test_with_only_the_head_in_the_file(self, tmp_path):
        move = lambda t: t.update({"lm_head.weight": t.pop("model.embed_tokens.weight")})  # noqa: E731
        self.same(self.changed(tmp_path, move, tie_word_embeddings=True))

    def test_with_another_head_in_the_file(self, tmp_path):
        other = lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] * 0.5})  # noqa: E731
        self.same(self.changed(tmp_path, other, tie_word_embeddings=True))

    def test_untied_without_a_head(self, tmp_path):
        folder = self.changed(tmp_path, lambda t: t.pop("lm_head.weight"), tie_word_embeddings=False)
        assert "lm_head.weight" in engine_refusal(folder)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("llama", "sliding_window", 16),
        ("llama", "num_experts", 8),
        ("llama", "attention_multiplier", 0.1),
        ("llama", "some_new_factor", 0.1),
        ("llama", "hidden_act", "relu"),
        ("mistral", "attention_bias", True),
        ("mistral", "layer_types", ["full_attention", "sliding_attention", "full_attention"]),
        ("qwen2", "use_mrope", True),
        ("qwen3", "layer_types", ["full_attention", "chunked_attention", "full_attention"]),
        ("gemma3", "attn_logit_softcapping", 50.0),
        ("gemma3", "final_logit_softcapping", 30.0),
        ("gemma3", "use_bidirectional_attention", True),
        ("phi3", "partial_rotary_factor", "half"),
        ("qwen3", "quantization_config", {"bits": 4}),
        ("qwen3", "model_type", "qwen3_moe"),
    ],
)
def test_what_would_change_the_numbers_is_refused(tmp_path, name, key, value):
    folder = write(tmp_path, FAMILIES[name])
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config[key] = value
    if key == "partial_rotary_factor":
        config["rope_parameters"].pop(key, None)
    path.write_text(json.dumps(config))
    said = engine_refusal(folder)
    assert key in said or str(value) in said, said
    assert "config.json" in said


@pytest.mark.parametrize(
    ("name", "tensor"),
    [("llama", "model.layers.0.self_attn.q_norm.weight"), ("qwen3", "model.layers.1.self_attn.q_proj.bias")],
)
def test_a_tensor_too_many_is_refused(tmp_path, name, tensor):
    folder = write(tmp_path, FAMILIES[name])
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)  # old files have it, and it is of no use
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    engine_logits(folder, [1, 2])
    tensors[tensor] = torch.ones(20)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert tensor in engine_refusal(folder)
