"""Every form of adapter against `peft`, and adapters on their way out and in: exports that peers load, imports, golden answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf_files
import pytest
import torch
from checkpoints import load
from logits_example import assert_same_logits, engine_logits, engine_refusal
from notes import write_notes
from safetensors.torch import load_file, save_file
from test_logits import peer_logits, token_ids
from test_peft import ALL, made_by_peft, with_peft

FORMS = {
    "embedding": {"r": 4, "lora_alpha": 8, "target_modules": ["embed_tokens", "q_proj"]},
    "head": {"r": 4, "lora_alpha": 8, "target_modules": ["lm_head", "v_proj"]},
    "embedding and head, rslora": {"r": 9, "lora_alpha": 6, "target_modules": ["embed_tokens", "lm_head"], "use_rslora": True},
    "dora": {"r": 4, "lora_alpha": 8, "target_modules": ALL, "use_dora": True},
    "dora on the embedding": {"r": 4, "lora_alpha": 8, "target_modules": ["embed_tokens", "o_proj"], "use_dora": True},
    "dora on the head": {"r": 4, "lora_alpha": 8, "target_modules": ["lm_head"], "use_dora": True},
    "a regular expression": {"r": 4, "lora_alpha": 8, "target_modules": r".*\.1\.(?!mlp).*(q|v)_proj"},
    "excluded": {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "exclude_modules": ["k_proj"]},
    "layers and their pattern": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ALL,
        "layers_to_transform": [0],
        "layers_pattern": "layers",
    },
    "patterns that overlap": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ALL,
        "use_rslora": True,
        # PEFT sorts the keys when it saves, and the first match counts: these come in order.
        "rank_pattern": {"0.self_attn.q_proj": 2, "q_proj|k_proj": 6},
        "alpha_pattern": {"1.mlp.down_proj": 24, "down_proj": 3},
    },
}


def move_magnitudes(adapter: Path) -> None:
    """A fresh magnitude is the weight's own length; another one shows whether it is used."""
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    for index, (name, tensor) in enumerate(sorted(tensors.items())):
        if "magnitude" in name:
            generator = torch.Generator().manual_seed(index)
            tensors[name] = tensor * (0.5 + torch.rand(tensor.shape, generator=generator))
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("shape", ["biases", "tied"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_logits_of_peft(checkpoint, tmp_path, form, shape):
    base = checkpoint(shape)
    adapter = made_by_peft(base, tmp_path / "adapter", **FORMS[form])
    # `made_by_peft` fills the factors of linear layers; those of the embedding are filled here.
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    for name, tensor in tensors.items():
        if "lora_embedding" in name:
            generator = torch.Generator().manual_seed(5)
            tensors[name] = torch.randn(tensor.shape, generator=generator) * 0.3
    save_file(tensors, path, metadata={"format": "pt"})
    move_magnitudes(adapter)
    ids = token_ids(load(base).config.vocab_size, 60)
    theirs = peer_logits(with_peft(base, adapter), ids)
    assert (theirs - peer_logits(load(base), ids)).abs().max() > 0.1, "this adapter changes nothing"
    assert_same_logits(engine_logits(base, ids, adapter), theirs)


#: PEFT 0.21: weights adapted by their own names, and extras that only training reads.
NEWER_FORMS = {
    "a weight by its name": {"target_modules": [], "target_parameters": ["layers.1.self_attn.q_proj.weight", "mlp.down_proj.weight"]},
    "weights beside modules": {
        "target_modules": ["k_proj"],
        "target_parameters": ["q_proj.weight"],
        # Patterns must match a weight's own name: the first of these says nothing about q_proj.weight.
        "rank_pattern": {"q_proj": 2, "k_proj": 3},
        "alpha_pattern": {"q_proj.weight": 5},
    },
    "an embedding's weight": {"target_modules": [], "target_parameters": ["embed_tokens.weight", "q_proj.weight"]},
    "a head's weight": {"target_modules": [], "target_parameters": ["lm_head.weight"]},
    "layers and exclusions do not count": {
        "target_modules": [],
        "target_parameters": ["q_proj.weight", "k_proj.weight"],
        "layers_to_transform": [1],
        "exclude_modules": ["k_proj"],
    },
    "velora": {"target_modules": ["q_proj", "down_proj"], "velora_config": {"num_groups": 4}},
    "monteclora": {"target_modules": ["q_proj", "down_proj"], "monteclora_config": {}},
}


@pytest.mark.parametrize("shape", ["biases", "tied"])
@pytest.mark.parametrize("form", NEWER_FORMS)
def test_newer_forms_give_the_logits_of_peft(checkpoint, tmp_path, form, shape):
    base = checkpoint(shape)
    adapter = made_by_peft(base, tmp_path / "adapter", r=4, lora_alpha=8, **NEWER_FORMS[form])
    ids = token_ids(load(base).config.vocab_size, 60)
    theirs = peer_logits(with_peft(base, adapter), ids)
    assert (theirs - peer_logits(load(base), ids)).abs().max() > 0.1, "this adapter changes nothing"
    assert_same_logits(engine_logits(base, ids, adapter), theirs)


def test_a_rank_pattern_that_lost_its_order_is_named_as_the_cause(checkpoint, tmp_path):
    """PEFT sorts the keys when it saves, and cannot load the folder itself afterwards."""
    base = checkpoint("plain")
    pattern = {"q_proj": 6, "0.self_attn.q_proj": 2}
    adapter = made_by_peft(base, tmp_path / "adapter", r=4, lora_alpha=8, target_modules=["q_proj"], rank_pattern=pattern)
    with pytest.raises(RuntimeError, match="size mismatch"):
        with_peft(base, adapter)
    said = engine_refusal(base, adapter)
    assert "rank_pattern lost its order" in said and "copy it again" not in said, said
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert list(config["rank_pattern"]) == sorted(pattern)
    # As the sentence advises.
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"rank_pattern": pattern}))
    ids = token_ids(load(base).config.vocab_size, 40)
    assert_same_logits(engine_logits(base, ids, adapter), peer_logits(with_peft(base, adapter), ids))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_factors_in_half_precision(checkpoint, tmp_path, dtype):
    base = checkpoint("plain")
    adapter = made_by_peft(base, tmp_path / "adapter", r=4, lora_alpha=8, target_modules=ALL)
    path = adapter / "adapter_model.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
    ids = token_ids(load(base).config.vocab_size, 40)
    assert_same_logits(engine_logits(base, ids, adapter), peer_logits(with_peft(base, adapter), ids))


@pytest.mark.parametrize(
    ("key", "value", "naming"),
    [
        ("init_lora_weights", "pissa", "path_initial_model_for_weight_conversion"),
        ("init_lora_weights", "olora", "path_initial_model_for_weight_conversion"),
        ("init_lora_weights", "loftq", "merge_and_unload"),
        ("alora_invocation_tokens", [1, 2], "invocation"),
        ("trainable_token_indices", [5], "single tokens"),
        ("layer_replication", [[0, 2]], "layer_replication"),
        ("bias", "all", "bias"),
        ("target_modules", ["q_proj", "c_attn"], "c_attn"),
    ],
)
def test_what_cannot_be_applied_is_refused_with_the_reason(checkpoint, tmp_path, key, value, naming):
    base = checkpoint("plain")
    adapter = made_by_peft(base, tmp_path / "adapter", r=4, lora_alpha=8, target_modules=["q_proj"])
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {key: value}))
    assert naming in engine_refusal(base, adapter)


@pytest.fixture(scope="module")
def trained(shared_hotplate, checkpoint, tmp_path_factory):
    """A base and the name of an adapter for it, a few steps old."""
    folder = write_notes(tmp_path_factory.mktemp("trained") / "voice", 36)
    base = checkpoint("tied")
    result = shared_hotplate.json("train", folder, "--base", base, "--max-steps", 8, "--lr", 0.02, "--seed", 1)
    return base, result["adapter"], Path(result["path"])


ANSWER = ["--raw", "--temperature", 0, "--max-tokens", 12, "--ignore-eos", "It's raining again"]


class TestOutAndIn:
    def test_a_peft_export_is_the_adapter_and_nothing_is_overwritten(self, shared_hotplate, trained, tmp_path):
        base, name, own = trained
        out = tmp_path / "out"
        assert shared_hotplate.json("export", name, "--to", "peft", "--out", out)["path"] == str(out)
        assert (out / "adapter_model.safetensors").read_bytes() == (own / "adapter_model.safetensors").read_bytes()
        config = json.loads((out / "adapter_config.json").read_text())
        assert list(config) == sorted(config) and str(base) not in json.dumps(config)
        ids = token_ids(load(base).config.vocab_size, 40)
        assert_same_logits(engine_logits(base, ids, out), peer_logits(with_peft(base, out), ids))
        shared_hotplate.fails("export", name, "--out", out, naming=["--force"])
        aside = shared_hotplate.json("export", name, "--out", out, "--force")["moved_aside"]
        # The mark is nothing to PEFT.
        assert_same_logits(engine_logits(base, ids, Path(aside)), peer_logits(with_peft(base, Path(aside)), ids))
        letters = tmp_path / "letters"
        letters.mkdir()
        (letters / "a.txt").write_text("Dear")
        shared_hotplate.fails("export", name, "--out", letters, "--force", naming=["no earlier export"])
        assert (letters / "a.txt").read_text() == "Dear"

    @pytest.mark.parametrize("shape", ["tied", "shards-bfloat16"])
    @pytest.mark.parametrize("form", ["embedding", "head", "dora", "patterns that overlap"])
    def test_a_merged_export_loads_in_transformers(self, shared_hotplate, checkpoint, tmp_path, shape, form):
        base = checkpoint(shape)
        adapter = made_by_peft(base, tmp_path / "adapter", **FORMS[form])
        shared_hotplate.json("export", adapter, "--base", base, "--to", "merged", "--out", tmp_path / "merged")
        ids = token_ids(load(base).config.vocab_size, 40)
        wanted = peer_logits(with_peft(base, adapter), ids)
        found = peer_logits(load(tmp_path / "merged"), ids)
        if shape == "tied":
            assert_same_logits(found, wanted)
        else:
            # Merged weights are rounded to bfloat16 as the base's are.
            effect = (wanted - peer_logits(load(base), ids)).abs().max()
            assert (found - wanted).abs().max() < 0.2 * effect + 0.1
        files = {path.name for path in base.iterdir()}
        assert {path.name for path in (tmp_path / "merged").iterdir()} == files | {"hotplate-export.json"}

    def test_an_import_answers_is_a_version_and_goes_out_again(self, shared_hotplate, checkpoint, tmp_path):
        base = checkpoint("plain")
        adapter = made_by_peft(base, tmp_path / "mine", r=4, lora_alpha=8, target_modules=ALL)
        info = shared_hotplate.json("import", adapter, "--name", "guest", "--base", base)
        assert info["name"] == "guest" and info["current"] == 1
        direct = shared_hotplate.json("generate", "--base", base, "-a", adapter, *ANSWER)["token_ids"]
        assert shared_hotplate.json("generate", "-a", "guest", *ANSWER)["token_ids"] == direct
        other = made_by_peft(base, tmp_path / "other", r=2, lora_alpha=9, target_modules=["q_proj"])
        assert shared_hotplate.json("import", other, "--name", "guest")["current"] == 2
        assert shared_hotplate.json("generate", "-a", "guest", *ANSWER)["token_ids"] != direct
        assert shared_hotplate.json("rollback", "guest")["current"] == 1
        assert shared_hotplate.json("generate", "-a", "guest", *ANSWER)["token_ids"] == direct
        shared_hotplate.json("export", "guest", "--version", 1, "--out", tmp_path / "again")
        ids = token_ids(load(base).config.vocab_size, 40)
        assert_same_logits(engine_logits(base, ids, tmp_path / "again"), peer_logits(with_peft(base, adapter), ids))
        # The base that it names is known here by now.
        assert shared_hotplate.json("import", adapter, "--name", "guest2")["base"] == info["base"]
        shared_hotplate.fails("verify", "guest", naming=["golden"])

    def test_an_adapter_of_mlx_lm(self, shared_hotplate, checkpoint, tmp_path):
        """The same factors in both layouts, the last block only, as `num_layers` 1 has it."""
        base = checkpoint("plain")
        config = {"r": 4, "lora_alpha": 2, "target_modules": ALL, "layers_to_transform": [1]}
        adapter = made_by_peft(base, tmp_path / "peft", **config)
        mlx = tmp_path / "mlx"
        mlx.mkdir()
        turned = {}
        for name, tensor in load_file(adapter / "adapter_model.safetensors").items():
            name = name.removeprefix("base_model.model.").replace(".lora_A.weight", ".lora_a")
            turned[name.replace(".lora_B.weight", ".lora_b")] = tensor.t().contiguous()
        save_file(turned, mlx / "adapters.safetensors")
        parameters = {"rank": 4, "scale": 0.5, "dropout": 0.0}
        (mlx / "adapter_config.json").write_text(
            json.dumps({"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": parameters})
        )
        ids = token_ids(load(base).config.vocab_size, 40)
        theirs = peer_logits(with_peft(base, adapter), ids)
        assert_same_logits(engine_logits(base, ids, mlx), theirs)
        assert shared_hotplate.json("import", mlx, "--name", "from-mlx", "--base", base)["current"] == 1
        shared_hotplate.json("export", "from-mlx", "--out", tmp_path / "out")
        assert_same_logits(peer_logits(with_peft(base, tmp_path / "out"), ids), theirs)


    @pytest.mark.parametrize("shape", ["tied", "plain"])
    def test_an_adapted_embedding_of_mlx_lm_changes_a_tied_head_too(self, shared_hotplate, checkpoint, tmp_path, shape):
        """`LoRAEmbedding.as_linear` adds the same product to the logits: as if the one weight had changed."""
        base = checkpoint(shape)
        model = load(base)
        vocab, hidden = model.get_input_embeddings().weight.shape
        generator = torch.Generator().manual_seed(4)
        a, b = torch.randn(vocab, 3, generator=generator) * 0.2, torch.randn(3, hidden, generator=generator) * 0.2
        mlx = tmp_path / "mlx"
        mlx.mkdir()
        save_file({"model.embed_tokens.lora_a": a, "model.embed_tokens.lora_b": b}, mlx / "adapters.safetensors")
        parameters = {"rank": 3, "scale": 2.0, "dropout": 0.0, "keys": ["model.embed_tokens"]}
        (mlx / "adapter_config.json").write_text(
            json.dumps({"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": parameters})
        )
        with torch.no_grad():
            model.get_input_embeddings().weight += 2.0 * a @ b
        ids = token_ids(vocab, 40)
        theirs = peer_logits(model, ids)
        assert_same_logits(engine_logits(base, ids, mlx), theirs)
        shared_hotplate.json("export", mlx, "--base", base, "--out", tmp_path / "peft")
        assert_same_logits(peer_logits(with_peft(base, tmp_path / "peft"), ids), theirs)
        shared_hotplate.json("export", mlx, "--base", base, "--to", "merged", "--out", tmp_path / "merged")
        merged = load(tmp_path / "merged")
        assert_same_logits(peer_logits(merged, ids), theirs)
        assert merged.config.tie_word_embeddings == (shape == "tied")
        if shape == "tied":
            out = tmp_path / "a.gguf"
            shared_hotplate.fails("export", mlx, "--base", base, "--to", "gguf", "--out", out, naming=["tied", "--merged"])


class TestWhatIsNamed:
    """A file of an adapter stands for its folder; what is no adapter is said, with what to name instead."""

    def ask(self, hotplate, base: Path, path, **named):
        return hotplate.json("generate", "--base", base, "-a", path, *ANSWER, **named)["token_ids"]

    def test_a_file_means_the_folder_around_it(self, shared_hotplate, checkpoint, tmp_path):
        base = checkpoint("plain")
        adapter = made_by_peft(base, tmp_path / "mine", r=4, lora_alpha=8, target_modules=["q_proj"])
        wanted = self.ask(shared_hotplate, base, adapter)
        for name in ["adapter_model.safetensors", "adapter_config.json"]:
            assert self.ask(shared_hotplate, base, adapter / name) == wanted
        info = shared_hotplate.json("import", adapter / "adapter_model.safetensors", "--name", "by-file", "--base", base)
        assert info["name"] == "by-file"
        torch.save({}, adapter / "adapter_model.bin")
        (adapter / "adapter_model.safetensors").unlink()
        said = ("generate", "--base", base, "-a", adapter / "adapter_model.bin", "hi")
        shared_hotplate.fails(*said, naming=["PyTorch", "safe_serialization=True"])

    def test_what_is_no_adapter(self, shared_hotplate, checkpoint, tmp_path):
        base = checkpoint("plain")
        adapter = made_by_peft(base, tmp_path / "out" / "checkpoint-60", r=4, target_modules=["q_proj"])
        shutil.copytree(adapter, tmp_path / "out" / "checkpoint-120")
        gguf = tmp_path / "adapter.gguf"
        shared_hotplate.json("export", adapter, "--base", base, "--to", "gguf", "--out", gguf)
        whole = tmp_path / "base.gguf"
        gguf_files.write(base, whole)
        cases = [
            (gguf, ["made for llama.cpp", "not read here"]),
            (whole, ["whole model", f"--base {whole}"]),
            (base, ["whole model", f"--base {base}"]),
            (base / "model.safetensors", ["whole model", f"--base {base}"]),
            (tmp_path / "out", ["checkpoint-120", str(tmp_path / "out" / "checkpoint-120")]),
            (adapter / "README.md", ["name the folder around it", str(adapter)]),
            (tmp_path / "nothing", ["does not exist"]),
        ]
        for path, naming in cases:
            shared_hotplate.fails("generate", "--base", base, "-a", path, "hi", naming=naming)
            shared_hotplate.fails("import", path, "--name", "q", "--base", base, naming=naming)
        # As a base, a GGUF adapter says what it is, too.
        shared_hotplate.fails("generate", "--base", gguf, "hi", naming=["adapter", "llama.cpp"])

    def test_a_shallower_adapter_is_another_bases(self, shared_hotplate, checkpoint, tmp_path):
        """The embedded base has five layers, this one two."""
        base = checkpoint("plain")
        adapter = made_by_peft(base, tmp_path / "mine", r=4, lora_alpha=8, target_modules=["q_proj"])
        config = json.loads((adapter / "adapter_config.json").read_text())
        wanted = self.ask(shared_hotplate, base, adapter)
        # The base that its settings name is there.
        assert config["base_model_name_or_path"] == str(base)
        assert shared_hotplate.json("generate", "-a", adapter, *ANSWER)["token_ids"] == wanted
        assert shared_hotplate.json("import", adapter, "--name", "named")["base"] == base.name
        (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "/not/here"}))
        said = shared_hotplate.fails("generate", "-a", adapter, "hi", naming=["another base than hotplate-tiny", "--base"])
        assert "damaged" not in said.out + said.err


class TestVerify:
    def test_goldens_come_out_again_also_after_an_export_and_a_merge(self, shared_hotplate, trained, tmp_path):
        base, name, _ = trained
        result = shared_hotplate.json("verify", name)
        assert result["passed"] and len(result["goldens"]) == 3 and result["changes"] == []
        out = tmp_path / "out"
        shared_hotplate.json("export", name, "--out", out)
        assert shared_hotplate.json("verify", out, "--base", base)["passed"]
        shared_hotplate.json("import", out, "--name", "came-back", "--base", base)
        assert shared_hotplate.json("verify", "came-back")["passed"]
        shared_hotplate.json("export", name, "--to", "merged", "--out", tmp_path / "merged")
        assert shared_hotplate.json("verify", name, "--merged", tmp_path / "merged")["passed"]
        # The bare base does not answer like its adapter.
        shared_hotplate.fails("verify", name, "--merged", base, naming=["no longer answers"])

    def test_what_changed_is_named(self, shared_hotplate, trained, tmp_path):
        base, name, _ = trained
        out = tmp_path / "out"
        shared_hotplate.json("export", name, "--out", out)
        path = out / "adapter_model.safetensors"
        tensors = load_file(path)
        save_file({key: -2 * tensor for key, tensor in tensors.items()}, path, metadata={"format": "pt"})
        said = shared_hotplate.fails("verify", out, "--base", base, naming=["no longer answers"])
        assert "factors" in said.out
        save_file(tensors, path, metadata={"format": "pt"})
        swapped = tmp_path / "base"
        shutil.copytree(base, swapped)
        template = swapped / "chat_template.jinja"
        template.write_text(template.read_text() + " ")
        said = shared_hotplate.fails("verify", out, "--base", swapped, naming=["no longer answers"])
        assert "template" in said.out

    def test_a_base_swapped_under_an_adapter(self, shared_hotplate, checkpoint, trained, tmp_path):
        """Other weights of the same shapes in the same folder: nothing would crash, it would only write nonsense."""
        base, name, _ = trained
        out, swapped = tmp_path / "out", tmp_path / "base"
        shared_hotplate.json("export", name, "--out", out)
        shutil.copytree(base, swapped)
        assert shared_hotplate.json("generate", "--base", swapped, "-a", out, *ANSWER)["token_ids"]
        weights = swapped / "model.safetensors"
        tensors = load_file(weights)
        new = swapped / "model.new"
        save_file({key: tensor.flip(0).contiguous() for key, tensor in tensors.items()}, new, metadata={"format": "pt"})
        new.rename(weights)
        shared_hotplate.fails("generate", "--base", swapped, "-a", out, *ANSWER, naming=["another base"])
        said = shared_hotplate.fails("verify", out, "--base", swapped, naming=["no longer answers"])
        assert "base" in said.out
