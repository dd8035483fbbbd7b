"""A training step is the one that `peft` and `torch` take: the same losses, gradients, updates and learning rates."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from checkpoints import load, write_checkpoint
from hotplate_process import built
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file
from transformers import get_scheduler

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
STEPS = 20
SETTINGS = {
    "learning_rate": 5e-3,
    "weight_decay": 0.1,
    "clip": 1.0,
    "batch": 4,
    "epochs": 50,
    "max_steps": STEPS,
    "dropout": 0.0,
    "warmup_steps": 3,
    "patience": 1000,
}
CASES = {
    "plain": {},
    "cosine, no clipping": {"schedule": "cosine", "clip": 0.0},
    "constant": {"schedule": "constant", "warmup_steps": 0},
    "accumulation": {"batch": 3, "accumulate": 2},
    "many short rows": {"row_tokens": 24},
    "recomputed": {"recompute": "always"},
    "LoRA+": {"lora_plus": 8.0, "learning_rate": 2e-3},
}
ADAPTERS = {
    "all-linear": {"r": 4, "lora_alpha": 8, "target_modules": ALL},
    "rslora": {"r": 8, "lora_alpha": 4, "target_modules": ALL, "use_rslora": True},
    "attention, rank 1": {"r": 1, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj"]},
}


def samples(vocabulary: int, count: int = 10) -> list[dict]:
    """Lengths of 3 to 40, the first half of each without loss: neither padding nor masks may matter."""
    generator = torch.Generator().manual_seed(11)
    made = []
    for index in range(count):
        length = 3 + (index * 17) % 38
        tokens = torch.randint(3, vocabulary, (length,), generator=generator).tolist()
        made.append({"tokens": tokens, "supervised": [at >= max(1, length // 2) for at in range(length)]})
    return made


def run_ours(folder: Path, base: Path, adapter: Path | None, data: list[dict], settings: dict):
    file, out = folder / "samples.jsonl", folder / "out.safetensors"
    file.write_text("\n".join(map(json.dumps, data)))
    command = [built("examples/train_steps"), "--base", base, "--samples", file, "--out", out]
    command += ["--settings", json.dumps(settings)]
    if adapter is not None:
        command += ["--adapter", adapter]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"train_steps: exit {done.returncode}\n{done.stderr}"
    return json.loads(done.stdout)["steps"], load_file(out)


def step_loss(model, chosen: list[dict]) -> torch.Tensor:
    """The mean over all supervised tokens of the step, each example alone: no padding that could hide a fault."""
    total, count = 0.0, 0
    for sample in chosen:
        ids = torch.tensor([sample["tokens"]])
        logits = model(ids).logits[0, :-1]
        wanted = torch.tensor(sample["supervised"][1:])
        targets = ids[0, 1:]
        total = total + torch.nn.functional.cross_entropy(logits[wanted], targets[wanted], reduction="sum")
        count += int(wanted.sum())
    return total / count


def optimiser_of(model, settings: dict):
    common = {"lr": settings["learning_rate"], "weight_decay": settings["weight_decay"]}
    if settings.get("lora_plus", 1.0) != 1.0:
        return create_loraplus_optimizer(
            model,
            optimizer_cls=torch.optim.AdamW,
            loraplus_lr_ratio=settings["lora_plus"],
            loraplus_weight_decay=settings["weight_decay"],
            **common,
        )
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], **common)


def run_theirs(model, data: list[dict], steps: list[dict], settings: dict) -> list[tuple[float, float]]:
    """Loss and learning rate of each step on the same examples."""
    optimiser = optimiser_of(model, settings)
    warmup = settings["warmup_steps"]
    names = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
    name = names[settings.get("schedule", "linear")]
    scheduler = get_scheduler(name, optimiser, num_warmup_steps=warmup, num_training_steps=len(steps))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    seen = []
    for step in steps:
        loss = step_loss(model, [data[index] for index in step["examples"]])
        seen.append((loss.item(), optimiser.param_groups[0]["lr"]))
        loss.backward()
        if settings["clip"] > 0:
            torch.nn.utils.clip_grad_norm_(trained, settings["clip"])
        optimiser.step()
        scheduler.step()
        optimiser.zero_grad()
    return seen


def peft_model(base: Path, **config):
    model = get_peft_model(load(base), LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **config))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                # A B of zeros would leave A without a gradient.
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4 / parameter.shape[1] ** 0.5)
    return model


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm().clamp_min(1e-12)).item()


def check(folder: Path, base: Path, config: dict, settings: dict, ours: Path | None = None) -> None:
    """`ours`: where the same base lies in another form."""
    model = peft_model(base, **config)
    model.save_pretrained(folder / "adapter")
    data = samples(model.config.vocab_size)
    steps, tensors = run_ours(folder, ours or base, folder / "adapter", data, settings)
    assert len(steps) == STEPS

    step_loss(model, data).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert len(gradients) == sum(name.startswith("gradient.") for name in tensors) > 0
    for name, theirs in gradients.items():
        ours = tensors["gradient." + name.replace(".default", "")]
        assert theirs.norm() > 1e-6, f"the gradient of {name} says nothing"
        assert distance(ours, theirs) < 1e-3, f"the gradient of {name} differs by {distance(ours, theirs):.1e}"
    model.zero_grad()

    theirs = run_theirs(model, data, steps, settings)
    for number, (ours, (loss, rate)) in enumerate(zip(steps, theirs, strict=True), 1):
        assert abs(ours["rate"] - rate) < 1e-12, f"step {number}: rate {ours['rate']}, theirs {rate}"
        assert abs(ours["loss"] - loss) < 1e-4 * loss, f"step {number}: loss {ours['loss']}, theirs {loss}"
    assert theirs[-1][0] < 0.9 * theirs[0][0] or settings["learning_rate"] < 1e-3, "nothing was learnt: this says little"
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            ours = tensors["value." + name.replace(".default", "")]
            assert distance(ours, parameter.detach()) < 5e-3, f"{name} differs after {STEPS} steps"


@pytest.mark.parametrize("case", CASES)
def test_the_first_steps_are_those_of_peft(checkpoint, tmp_path, case):
    check(tmp_path, checkpoint("plain"), ADAPTERS["all-linear"], SETTINGS | CASES[case])


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_so_they_are_for_other_adapters(checkpoint, tmp_path, adapter):
    check(tmp_path, checkpoint("biases"), ADAPTERS[adapter], SETTINGS)


@pytest.mark.parametrize("shape", ["one-kv-head", "tied", "head-dim", "rope-llama3"])
def test_so_they_are_on_other_shapes(checkpoint, tmp_path, shape):
    check(tmp_path, checkpoint(shape), ADAPTERS["all-linear"], SETTINGS)


@pytest.mark.parametrize("shape", ["plain", "biases", "tied"])
def test_full_training_moves_every_weight_as_torch_does(checkpoint, tmp_path, shape):
    base = checkpoint(shape)
    model = load(base).train()
    # Norms and biases are not decayed, here as in most trainers; without decay there is nothing to tell apart.
    settings = SETTINGS | {"learning_rate": 1e-3, "weight_decay": 0.0}
    data = samples(model.config.vocab_size)
    steps, tensors = run_ours(tmp_path, base, None, data, settings)
    theirs = run_theirs(model, data, steps, settings)
    for number, (ours, (loss, rate)) in enumerate(zip(steps, theirs, strict=True), 1):
        assert abs(ours["rate"] - rate) < 1e-12
        assert abs(ours["loss"] - loss) < 1e-4 * loss, f"step {number}: loss {ours['loss']}, theirs {loss}"
    for name, parameter in model.named_parameters():
        assert distance(tensors[f"value.{name}"], parameter.detach()) < 5e-3, f"{name} differs"
