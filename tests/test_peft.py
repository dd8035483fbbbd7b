"""Adapters made by `peft` work here, ours work in `peft`, and what cannot work is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import Shape, load, write_checkpoint
from logits_example import assert_same_logits, engine_logits, engine_refusal
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from test_logits import peer_logits, raw, token_ids
from transformers import AutoTokenizer

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

CONFIGS = {
    "all-linear": {"r": 8, "lora_alpha": 16, "target_modules": ALL},
    "peft's all-linear": {"r": 4, "lora_alpha": 4, "target_modules": "all-linear"},
    "attention": {"r": 4, "lora_alpha": 12, "target_modules": ["q_proj", "v_proj"]},
    "mlp, rank 1": {"r": 1, "lora_alpha": 3, "target_modules": ["down_proj", "up_proj"]},
    "dropout is for training": {"r": 4, "lora_alpha": 8, "target_modules": ALL, "lora_dropout": 0.5},
    "one layer": {"r": 4, "lora_alpha": 8, "target_modules": ALL, "layers_to_transform": [1]},
    "rslora": {"r": 16, "lora_alpha": 8, "target_modules": ALL, "use_rslora": True},
    "patterns": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ALL,
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {"down_proj": 24},
    },
}


def made_by_peft(base: Path, folder: Path, **config) -> Path:
    """A PEFT folder whose factors are both large: a fresh B of zeros would hide the whole adapter."""
    model = get_peft_model(load(base), LoraConfig(task_type="CAUSAL_LM", **config))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5)
    model.save_pretrained(folder)
    return folder


def with_peft(base: Path, adapter: Path):
    return PeftModel.from_pretrained(load(base), adapter).eval()


@pytest.mark.parametrize("config", CONFIGS)
def test_an_adapter_of_peft_gives_the_same_logits_here(checkpoint, tmp_path, config):
    base = checkpoint("plain")
    adapter = made_by_peft(base, tmp_path / "adapter", **CONFIGS[config])
    ids = token_ids(load(base).config.vocab_size, 80)
    theirs = peer_logits(with_peft(base, adapter), ids)
    assert (theirs - peer_logits(load(base), ids)).abs().max() > 0.5, "this adapter changes nothing"
    assert_same_logits(engine_logits(base, ids, adapter), theirs)


@pytest.mark.parametrize("shape", ["tied", "head-dim", "biases", "shards-bfloat16"])
def test_on_other_bases_too(checkpoint, tmp_path, shape):
    base = checkpoint(shape)
    adapter = made_by_peft(base, tmp_path / "adapter", **CONFIGS["all-linear"])
    ids = token_ids(load(base).config.vocab_size, 80)
    assert_same_logits(engine_logits(base, ids, adapter), peer_logits(with_peft(base, adapter), ids))


def test_generate_answers_with_an_adapter_of_peft(checkpoint, tmp_path, hotplate):
    base = checkpoint("plain")
    adapter = made_by_peft(base, tmp_path / "adapter", **CONFIGS["attention"])
    ids = raw(AutoTokenizer.from_pretrained(base))("It's raining again")
    with torch.no_grad():
        model = with_peft(base, adapter)
        theirs = model.generate(
            input_ids=torch.tensor([ids]), do_sample=False, max_new_tokens=16, min_new_tokens=16, pad_token_id=2
        )
    sampling = ["--raw", "--temperature", 0, "--max-tokens", 16, "--ignore-eos"]
    ours = hotplate.json("generate", "--base", base, "-a", adapter, *sampling, "It's raining again")
    plain = hotplate.json("generate", "--base", base, *sampling, "It's raining again")
    assert ours["token_ids"] != plain["token_ids"]
    # min_new_tokens forbids the end token, --ignore-eos does not: compare up to it.
    expected = theirs[0, len(ids) :].tolist()
    common = ours["token_ids"].index(1) if 1 in ours["token_ids"] else len(expected)
    assert common > 4 and ours["token_ids"][:common] == expected[:common]


class TestOurs:
    """Adapters that `hotplate train` has made."""

    @pytest.fixture(scope="class", params=["embedded", "plain", "tied"])
    def trained(self, request, shared_hotplate, checkpoint, tmp_path_factory):
        """A base and an adapter for it, a few steps old."""
        from notes import write_notes

        folder = write_notes(tmp_path_factory.mktemp("ours") / f"ours-{request.param}")
        embedded = request.param == "embedded"
        base = request.getfixturevalue("embedded") if embedded else checkpoint(request.param)
        words = [] if embedded else ["--base", base]
        # A step this large would be folly in earnest; here the adapter has to show.
        result = shared_hotplate.json("train", folder, *words, "--max-steps", 6, "--lr", 0.02, "--seed", 1)
        return base, Path(result["path"])

    def test_peft_gives_the_same_logits(self, trained):
        base, adapter = trained
        ids = token_ids(load(base).config.vocab_size, 80)
        theirs = peer_logits(with_peft(base, adapter), ids)
        assert (theirs - peer_logits(load(base), ids)).abs().max() > 0.05, "this adapter changes nothing"
        assert_same_logits(engine_logits(base, ids, adapter), theirs)

    def test_the_folder_is_as_peft_writes_it(self, trained, tmp_path):
        base, adapter = trained
        config = json.loads((adapter / "adapter_config.json").read_text())
        assert config["peft_type"] == "LORA" and config["task_type"] == "CAUSAL_LM"
        assert sorted(config["target_modules"]) == sorted(ALL)
        named = config["base_model_name_or_path"]
        assert not (named or "").startswith("/"), f"an absolute path means nothing elsewhere: {named}"
        theirs = made_by_peft(base, tmp_path / "theirs", r=config["r"], lora_alpha=config["lora_alpha"], target_modules=ALL)
        shapes = [
            {name: tuple(tensor.shape) for name, tensor in load_file(folder / "adapter_model.safetensors").items()}
            for folder in (adapter, theirs)
        ]
        assert shapes[0] == shapes[1]


class TestRefused:
    """Each broken adapter ends in one error that names the thing."""

    @pytest.fixture
    def adapter(self, checkpoint, tmp_path) -> Path:
        return made_by_peft(checkpoint("plain"), tmp_path / "adapter", **CONFIGS["all-linear"])

    def refused(self, checkpoint, hotplate, adapter: Path, *naming: str) -> None:
        base = checkpoint("plain")
        for word in naming:
            assert word.lower() in engine_refusal(base, adapter).lower()
        hotplate.fails("generate", "--base", base, "-a", adapter, "Hello", naming=list(naming))
        # The daemon lives on, and the base still answers.
        assert hotplate.json("generate", "--base", base, "--max-tokens", 2, "Hello")["token_ids"]

    def test_another_base(self, checkpoint, hotplate, adapter, tmp_path):
        other = write_checkpoint(tmp_path / "other", Shape({"hidden_size": 96}))
        hotplate.fails("generate", "--base", other, "-a", adapter, "Hello", naming=["shape"])
        assert "shape" in engine_refusal(other, adapter)

    def test_another_depth(self, hotplate, adapter, tmp_path):
        other = write_checkpoint(tmp_path / "other", Shape({"num_hidden_layers": 1}))
        hotplate.fails("generate", "--base", other, "-a", adapter, "Hello", naming=["layer"])

    def test_no_weights(self, checkpoint, hotplate, adapter):
        (adapter / "adapter_model.safetensors").unlink()
        self.refused(checkpoint, hotplate, adapter, "adapter_model.safetensors")

    def test_no_config(self, checkpoint, hotplate, adapter):
        (adapter / "adapter_config.json").unlink()
        self.refused(checkpoint, hotplate, adapter, "adapter_config.json")

    def test_no_folder(self, checkpoint, hotplate, adapter):
        shutil.rmtree(adapter)
        self.refused(checkpoint, hotplate, adapter, str(adapter))

    @pytest.mark.parametrize("keep", [0, 5, 200, -100])
    def test_cut_weights(self, checkpoint, hotplate, adapter, keep):
        path = adapter / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:keep])
        self.refused(checkpoint, hotplate, adapter, "adapter_model.safetensors")

    def test_garbage_config(self, checkpoint, hotplate, adapter):
        (adapter / "adapter_config.json").write_text("{ no json")
        self.refused(checkpoint, hotplate, adapter, "adapter_config.json")

    def test_not_a_number(self, checkpoint, hotplate, adapter):
        path = adapter / "adapter_model.safetensors"
        tensors = load_file(path)
        name = next(iter(tensors))
        tensors[name][0, 0] = float("nan")
        save_file(tensors, path, metadata={"format": "pt"})
        self.refused(checkpoint, hotplate, adapter, "finite")

    def test_a_tensor_is_missing(self, checkpoint, hotplate, adapter):
        path = adapter / "adapter_model.safetensors"
        tensors = load_file(path)
        name = next(name for name in tensors if "lora_B" in name)
        del tensors[name]
        save_file(tensors, path, metadata={"format": "pt"})
        self.refused(checkpoint, hotplate, adapter, "lora_B")

    def test_whole_modules(self, checkpoint, hotplate, tmp_path):
        config = {"r": 4, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}
        adapter = made_by_peft(checkpoint("plain"), tmp_path / "modules", **config)
        self.refused(checkpoint, hotplate, adapter, "modules_to_save")

    def test_an_adapter_of_ours_for_another_base_of_the_same_shape(self, checkpoint, hotplate, folder, tmp_path):
        """Shapes agree, so nothing would crash: it would only write nonsense."""
        ours = hotplate.json("train", folder, "--base", checkpoint("plain"), "--max-steps", 1)
        twin = write_checkpoint(tmp_path / "twin", "epsilon", seed=99)
        said = hotplate.fails("generate", "--base", twin, "-a", ours["adapter"], "Hello", naming=["base"])
        assert "plain" in said.err or "twin" in said.err
