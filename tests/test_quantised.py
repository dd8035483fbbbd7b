"""A quantised base says, trains and scores what one with the values of its blocks does; `--quantize` holds for the adapter from then on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import gguf_files
import pytest
import torch
from checkpoints import Shape, load, write_checkpoint
from hotplate_process import Hotplate, wait_until
from logits_example import engine_logits
from notes import write_notes
from test_logits import peer_logits, token_ids
from test_training_parity import ADAPTERS, SETTINGS, check

#: Rows of whole blocks of 32, and none of 256.
SMALL = {"hidden_size": 96, "intermediate_size": 160, "num_attention_heads": 4}


def widened(model, kinds):
    """The model with its matrices as gguf's own quantisers make them: `kinds` says which."""
    import gguf

    state = {}
    for name, tensor in model.state_dict().items():
        kind = kinds(name) if tensor.ndim == 2 else None
        if kind is None:
            state[name] = tensor
            continue
        number = gguf.GGMLQuantizationType[kind]
        packed = gguf.quants.quantize(tensor.float().numpy(), number)
        state[name] = torch.tensor(gguf.quants.dequantize(packed, number)).reshape(tensor.shape)
    model.load_state_dict(state)
    return model


def of_q4(name: str) -> str:
    return "Q8_0" if "embed" in name or "lm_head" in name else "Q4_0"


@pytest.mark.parametrize("word, kinds", [("q8", lambda _: "Q8_0"), ("q4", of_q4)], ids=["q8", "q4"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_quantising_here_gives_the_blocks_of_gguf(tmp_path, word, kinds, tied):
    base = write_checkpoint(tmp_path / "base", Shape({**SMALL, "tie_word_embeddings": tied}))
    model = widened(load(base), kinds)
    ids = token_ids(model.config.vocab_size, 30)
    ours, theirs = engine_logits(base, ids, quantize=word), peer_logits(model, ids)
    # A value that lies in the middle of two numbers may be rounded either way.
    assert (ours - theirs).abs().max() < 2e-2 * theirs.std()
    assert (engine_logits(base, ids) - theirs).abs().max() > 1e-3 * theirs.std(), "quantising changes something"


def test_rows_that_fill_no_block_stay_as_they_are(tmp_path):
    base = write_checkpoint(tmp_path / "base", Shape({"hidden_size": 40, "intermediate_size": 58, "num_attention_heads": 4, "num_key_value_heads": 2}))
    ids = token_ids(load(base).config.vocab_size, 20)
    assert torch.equal(engine_logits(base, ids, quantize="q4"), engine_logits(base, ids))


def test_what_is_quantised_stays_as_it_is(tmp_path):
    base = write_checkpoint(tmp_path / "base", Shape(SMALL))
    file = tmp_path / "m.gguf"
    gguf_files.write(base, file, "Q8_0")
    ids = token_ids(load(base).config.vocab_size, 20)
    assert torch.equal(engine_logits(file, ids, quantize="q4"), engine_logits(file, ids))


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_training_on_blocks_is_peft_on_their_values(tmp_path, kind):
    base = write_checkpoint(tmp_path / "base", Shape(SMALL))
    held = gguf_files.write(base, tmp_path / "m.gguf", kind)
    model = load(base)
    model.load_state_dict(held)
    model.save_pretrained(base)
    check(tmp_path, base, ADAPTERS["all-linear"], SETTINGS, ours=tmp_path / "m.gguf")


def in_memory(hotplate: Hotplate) -> dict[str | None, int]:
    """Bytes of hotplate-tiny, by how it is quantised."""
    models = hotplate.json("models")["models"]
    return {model.get("quantize"): model["bytes"] for model in models if model["loaded"] and model["path"] is None}


def test_an_adapter_answers_as_it_learnt(hotplate, tmp_path):
    folder = write_notes(tmp_path / "notes")
    plan = hotplate.json("train", folder, "--quantize", "q4", "--dry-run")
    assert {"key": "quantize", "value": "q4", "from": "command_line"} in plan["settings"]
    hotplate.json("train", folder, "--quantize", "q4", "--max-steps", 6)
    asked = ("generate", "A note about a bakery", "--temperature", "0", "--max-tokens", "24")
    own = hotplate.json(*asked, "-a", "notes")["text"]
    memory = in_memory(hotplate)
    assert set(memory) == {"q4"}, "nothing else was loaded for it"
    assert hotplate.json(*asked, "-a", "notes", "--quantize", "q4")["text"] == own
    hotplate.json(*asked, "-a", "notes", "--quantize", "none")
    hotplate.json(*asked, "--quantize", "q8")
    memory = in_memory(hotplate)
    assert memory["q4"] < memory["q8"] < memory[None]
    # The next run of the adapter keeps it, and the recipe may change it.
    settings = {entry["key"]: entry for entry in hotplate.json("train", folder, "--dry-run")["settings"]}
    assert settings["quantize"]["value"] == "q4" and settings["quantize"]["from"] == "chosen"
    (folder / "hotplate.toml").write_text("quantize = 'none'\n")
    settings = {entry["key"]: entry for entry in hotplate.json("train", folder, "--dry-run")["settings"]}
    assert settings["quantize"]["value"] == "none" and settings["quantize"]["line"] == 1
    scored = hotplate.json("score", folder / "records.jsonl", "-a", "notes", "--quantize", "q8")
    assert scored["loss"] > 0
    hotplate.fails("train", folder, "--method", "full", "--quantize", "q8", naming=["method full", "quantize", "method lora"])
    hotplate.fails("generate", "x", "--quantize", "q5", naming=["q5", "q8", "q4", "none"])
    listed = hotplate.run("models").out
    assert "q4" in listed and "q8" in listed


def test_a_verified_adapter_keeps_its_promise(hotplate, tmp_path):
    folder = write_notes(tmp_path / "notes")
    hotplate.json("train", folder, "--quantize", "q8", "--max-steps", 6)
    assert hotplate.json("verify", "notes")["passed"]
    # Whoever gets the folder has its golden answers checked on the same blocks.
    hotplate.json("export", "notes", "--out", tmp_path / "out")
    assert hotplate.json("verify", tmp_path / "out")["passed"]
    hotplate.json("import", tmp_path / "out", "--name", "came-back")
    assert hotplate.json("verify", "came-back")["passed"]


def other_weights(file: Path) -> None:
    """Writes a weight anew in place, where the base's fingerprint does not look."""
    data = bytearray(file.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    tensors = json.loads(data[8:header])
    start, end = tensors["model.layers.0.mlp.down_proj.weight"]["data_offsets"]
    third = header + start + (end - start) // 3
    data[third : third + 400] = bytes(value ^ 1 for value in data[third : third + 400])
    with file.open("r+b") as opened:
        opened.write(data)


def test_weights_that_were_quantised_are_kept_and_never_trusted(hotplate, tmp_path):
    base = write_checkpoint(tmp_path / "base", Shape({"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2}))
    folder = hotplate.home / "packed"
    asked = ("generate", "--base", base, "--raw", "--temperature", 0, "--max-tokens", 16, "Hello", "--quantize")

    def answer(word: str) -> list[int]:
        """By a daemon that has nothing in memory."""
        hotplate.kill()
        return hotplate.json(*asked, word)["token_ids"]

    def kept(word: str) -> Path:
        """The file, once it is written as a whole."""
        return wait_until(lambda: next(folder.glob(f"*-{word}.packed"), None), "the weights to be kept", seconds=10)

    def is_written(file: Path, before: float) -> bool:
        return file.exists() and file.stat().st_mtime_ns != before

    first, whole = {}, {}
    for word in ("q8", "q4"):
        first[word] = answer(word)
        # They are kept behind the answer: the next one's kill must not come between.
        whole[word] = kept(word).read_bytes()
    assert "quantised weights are kept" in hotplate.log
    for word, wanted in first.items():
        file = kept(word)
        inode = file.stat().st_ino
        assert answer(word) == wanted
        assert kept(word).stat().st_ino == inode, "read, not made anew"
        middle = len(whole[word]) // 2
        flipped = whole[word][:middle] + bytes([whole[word][middle] ^ 1]) + whole[word][middle + 1 :]
        other = next(kind for kind in first if kind != word)
        for damaged in (b"", whole[word][:1000], whole[word][:-1], flipped, whole[other], os.urandom(5000)):
            file.write_bytes(damaged)
            before, said = file.stat().st_mtime_ns, hotplate.log.count("thrown away")
            assert answer(word) == wanted
            assert hotplate.log.count("thrown away") == said + 1
            wait_until(lambda: is_written(file, before), "the weights to be kept again", seconds=10)
    # The base itself is another one.
    other_weights(base / "model.safetensors")
    shutil.rmtree(folder)
    wanted = answer("q8")
    kept("q8")
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    (folder / file_name(whole["q8"], "q8")).write_bytes(whole["q8"])
    assert answer("q8") == wanted
    assert "the base's files have changed since" in hotplate.log


def file_name(packed: bytes, word: str) -> str:
    header = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])
    return f"{header['__metadata__']['base']}-{word}.packed"


def test_weights_that_cannot_be_kept_are_no_fault(hotplate, tmp_path):
    base = write_checkpoint(tmp_path / "base", Shape(SMALL))
    (hotplate.home / "packed").write_text("no folder")
    assert hotplate.json("generate", "--base", base, "--raw", "--max-tokens", 2, "--quantize", "q8", "Hello")["token_ids"]
    assert "cannot be kept" in hotplate.log
