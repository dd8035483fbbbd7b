"""`hotplate.toml`: every mistake is one sentence with its line, and what is right holds, where the command line says nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from hotplate_process import Hotplate, short_folder, wait_until
from notes import notes, save_as_editor, write_notes
from raw_client import RawClient


def recipe(folder: Path, text: str | bytes) -> None:
    (folder / "hotplate.toml").write_bytes(text.encode() if isinstance(text, str) else text)


def settings(plan: dict) -> dict[str, dict]:
    return {entry["key"]: entry for entry in plan["settings"]}


MISTAKES = {
    "rnak = 8\n": ["hotplate.toml:1:", "no key rnak", "did you mean rank?"],
    "\n\nlr = 1e-4\n": ["hotplate.toml:3:", "learning_rate"],
    "epochs = 3\nrank = 'eight'\n": ["hotplate.toml:2:", "rank", "whole number from 1 to 4096"],
    "rank = 0\n": ["hotplate.toml:1:", "rank is 0"],
    "dropout = 1.5\n": ["hotplate.toml:1:", "dropout is 1.5", "0.95"],
    "learning_rate = nan\n": ["hotplate.toml:1:", "learning_rate", "above 0"],
    "learning_rate = -1e-4\n": ["hotplate.toml:1:", "learning_rate is -0.0001"],
    "schedule = 'linaer'\n": ["hotplate.toml:1:", "linaer", "linear", "cosine", "constant"],
    "train_on = 'prompts'\n": ["hotplate.toml:1:", '"completions", "last", "all" or "everything"'],
    "rank = 8\nrank = 9\n": ["hotplate.toml:2:", "rank", "second time"],
    "rank = \n": ["hotplate.toml:1:", "rank has no value"],
    "# a\nmethod = full\n": ["hotplate.toml:2:", 'method = "full"'],
    "rank 8\n": ["hotplate.toml:1:", "key = value"],
    b"rank = 8\n# caf\xe9\n": ["hotplate.toml:2:", "UTF-8"],
    b"# padding\n" * 200_000: ["hotplate.toml:1:", "too large"],
    "base = './no-such-base'\n": ["hotplate.toml:1:", "no-such-base"],
    "adapter = '../escape'\n": ["hotplate.toml:1:", "escape"],
    "[train]\nrank = 8\n": ["hotplate.toml:1:", "[train]"],
}


@pytest.mark.parametrize("text", MISTAKES, ids=[str(number) for number in range(len(MISTAKES))])
def test_a_mistake_is_named_with_its_line_and_nothing_is_trained(shared_hotplate, folder, text):
    recipe(folder, text)
    for command in (["train", folder, "--max-steps", 2], ["train", folder, "--dry-run"], ["watch", folder]):
        shared_hotplate.fails(*command, naming=MISTAKES[text])
    assert shared_hotplate.json("adapters")["adapters"] == []
    assert shared_hotplate.status()["watches"] == []


def test_check_finds_every_mistake_and_shows_the_examples_all_the_same(shared_hotplate, folder):
    recipe(folder, "rnak = 8\nrank = 0\n")
    refused = shared_hotplate.run("check", folder, "--json", check=False)
    assert refused.code == 1 and "nothing is trained: hotplate.toml:1" in refused.err
    checked = refused.lines[0]
    assert [(finding["file"], finding["lines"][0]) for finding in checked["findings"]] == [
        ("hotplate.toml", 1),
        ("hotplate.toml", 2),
    ]
    assert checked["examples"] == 24 and checked["settings"] == []
    shown = shared_hotplate.run("check", folder, check=False).out
    assert "hotplate.toml:1" in shown and "did you mean rank?" in shown


def test_check_shows_what_holds(shared_hotplate, folder):
    recipe(folder, "# mine\nrank = 8\nschedule = 'cosine'\n")
    holds = settings(shared_hotplate.json("check", folder))
    assert holds["rank"] == {"key": "rank", "value": 8, "from": "recipe", "line": 2}
    assert holds["schedule"]["value"] == "cosine" and holds["schedule"]["line"] == 3
    assert holds["epochs"]["from"] == "chosen" and holds["epochs"]["value"] >= 3
    shown = shared_hotplate.run("check", folder).out
    assert "hotplate.toml:2" in shown and "chosen for 24 examples" in shown


def test_the_command_line_goes_first_then_the_recipe_then_what_is_chosen(shared_hotplate, folder):
    recipe(folder, "rank = 8\nalpha = 4\nadapter = 'by-recipe'\nmax_steps = 3\nseed = 5\n")
    plan = shared_hotplate.json("train", folder, "--dry-run", "--rank", 2, "--dropout", 0.1)
    holds = settings(plan)
    assert (holds["rank"]["value"], holds["rank"]["from"]) == (2, "command_line")
    assert (holds["alpha"]["value"], holds["alpha"]["line"]) == (4.0, 2)
    assert (holds["dropout"]["value"], holds["dropout"]["from"]) == (0.1, "command_line")
    assert holds["batch"]["from"] == "chosen"
    assert plan["adapter"] == "by-recipe" and holds["adapter"]["line"] == 3
    assert plan["rank"] == 2 and plan["steps"] == 3
    other = shared_hotplate.json("train", folder, "--dry-run", "-a", "by-hand")
    assert other["adapter"] == "by-hand" and settings(other)["adapter"]["from"] == "command_line"
    shown = shared_hotplate.run("train", folder, "--dry-run", "--rank", 2).out
    assert "command line" in shown and "hotplate.toml:2" in shown


def test_the_recipe_reaches_the_adapter(hotplate, folder):
    recipe(
        folder,
        "rank = 4\nalpha = 8\ntargets = ['q_proj', 'v_proj']\nrank_pattern = { v_proj = 2 }\nrslora = true\nmax_steps = 3\n"
        "prompts = ['Write a short note.']\n",
    )
    result = hotplate.run("train", folder, "--json")
    config = json.loads((Path(result.last["path"]) / "adapter_config.json").read_text())
    assert config["r"] == 4 and config["lora_alpha"] == 8 and config["use_rslora"] is True
    assert sorted(config["target_modules"]) == ["q_proj", "v_proj"]
    assert set(config["rank_pattern"].values()) == {2}
    assert all(module.endswith(".v_proj") for module in config["rank_pattern"])
    sampled = [line for line in result.lines if line["event"] == "sampled"]
    assert sampled and sampled[-1]["samples"][0]["prompt"] == "Write a short note."
    assert set(sampled[-1]["samples"][0]) == {"prompt", "base", "mine"}


def test_the_same_knobs_on_the_command_line_make_the_same_adapter(folder):
    """A recipe is nothing but the command line written down."""

    def made(words: list, text: str) -> bytes:
        hotplate = Hotplate(short_folder())
        try:
            recipe(folder, text)
            result = hotplate.json("train", folder, *words)
            return (Path(result["path"]) / "adapter_model.safetensors").read_bytes()
        finally:
            hotplate.close()

    knobs = {"rank": 2, "schedule": "cosine", "lora_plus": 4.0, "batch": 2, "accumulate": 2, "dropout": 0.1, "seed": 9, "max_steps": 4}
    by_recipe = made([], "".join(f"{key} = {json.dumps(value)}\n" for key, value in knobs.items()))
    by_hand = made([word for key, value in knobs.items() for word in (f"--{key.replace('_', '-')}", value)], "")
    assert by_recipe == by_hand
    assert by_recipe != made([], 'rank = 2\nmax_steps = 4\nseed = 9\n')


def test_help_names_every_key(shared_hotplate, folder):
    page = (Path(__file__).parent.parent / "daemon/dataset/src/recipe/README.md").read_text()
    keys = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert len(keys) > 25
    for command in ("train", "watch"):
        text = shared_hotplate.run("help", command).out
        for key in keys:
            assert f"--{key.replace('_', '-')} " in text or f"--{key.replace('_', '-')}[" in text, (command, key)


def test_knobs_of_another_program_are_held_to_the_same_ranges(shared_hotplate, folder):
    shared_hotplate.run("models")
    with RawClient(shared_hotplate.socket) as client:
        client.session()
        for knobs, word in [({"rank": 0}, "rank is 0"), ({"dropout": 2}, "dropout is 2"), ({"rnak": 8}, "rnak")]:
            reply = client.reply(client.send("train/plan", {"folder": str(folder), "knobs": knobs}))
            assert word in reply["error"]["message"], reply


class TestWatched:
    @pytest.fixture
    def watched(self, hotplate, folder):
        hotplate.run("train", folder, "--max-steps", 3)
        hotplate.run("watch", folder, "--max-steps", 3)
        wait_until(lambda: not hotplate.status()["runs"], "the runs to end", every=0.1)
        return hotplate

    def problem(self, hotplate) -> str:
        return hotplate.status()["watches"][0]["problem"] or ""

    def versions(self, hotplate) -> list[dict]:
        return hotplate.json("adapters")["adapters"][0]["versions"]

    def test_a_changed_recipe_trains_nothing_and_holds_next_time(self, watched, folder):
        save_as_editor(folder / "hotplate.toml", "seed = 4\nreplay = 0.5\n")
        time.sleep(2)
        assert len(self.versions(watched)) == 1 and self.problem(watched) == ""
        following = watched.start("watch", folder, "--follow", "--json")
        try:
            following.stdout.readline()
            save_as_editor(folder / "new.md", "\n---\n".join(notes(4, 90)))
            while (event := json.loads(following.stdout.readline()))["event"] != "started":
                pass
        finally:
            following.kill()
            following.communicate()
        holds = settings(event["plan"])
        assert (holds["seed"]["value"], holds["seed"]["line"]) == (4, 1)
        assert (holds["replay"]["value"], holds["replay"]["line"]) == (0.5, 2)
        assert holds["rank"]["from"] == "version"

    def test_a_broken_recipe_is_said_and_stops_learning_until_it_is_mended(self, watched, folder):
        save_as_editor(folder / "hotplate.toml", "rnak = 8\n")
        wait_until(lambda: "did you mean rank" in self.problem(watched), "the mistake to be shown")
        assert "hotplate.toml:1" in watched.run("status").out
        following = watched.start("watch", folder, "--follow", "--json", "--max-steps", 3)
        following.kill()
        following.communicate()
        save_as_editor(folder / "new.md", "\n---\n".join(notes(4, 90)))
        time.sleep(2.5)
        assert len(self.versions(watched)) == 1, "half a recipe was used"
        save_as_editor(folder / "hotplate.toml", "seed = 3\n")
        wait_until(lambda: len(self.versions(watched)) == 2, "the notes to be learnt after all", every=0.2)
        assert self.problem(watched) == ""

    def test_another_adapter_in_the_recipe_asks_for_another_watch(self, watched, folder):
        save_as_editor(folder / "hotplate.toml", "adapter = 'elsewhere'\n")
        wait_until(lambda: "elsewhere" in self.problem(watched), "the new name to be noticed")
        assert "hotplate watch" in self.problem(watched)


class TestMemory:
    def test_what_does_not_fit_is_refused_with_what_would(self, hotplate, folder):
        hotplate.variables["HOTPLATE_MEMORY_LIMIT"] = "400 MB"
        words = ["train", folder, "--rank", 2048, "--max-steps", 2]
        refused = hotplate.fails(*words, naming=["this run needs", "are free", "--rank 4"])
        options = refused.err.split("hotplate train ")[-1].split()
        assert Path(options[0]) == folder
        # What is suggested can be typed as it stands.
        hotplate.json("train", *options, "--max-steps", 2)
        assert "cannot start" in hotplate.run(*words[:4], "--dry-run").out

    def test_a_base_that_does_not_fit_is_not_loaded(self, hotplate, folder):
        hotplate.variables["HOTPLATE_MEMORY_LIMIT"] = "1 MB"
        hotplate.fails("generate", "Hello", naming=["hotplate-tiny", "of memory", "are free"])
        hotplate.fails("train", folder, naming=["less than the base alone"])
        assert hotplate.status()["models"] == []


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="priorities of threads are Linux's")
def test_training_stands_back_and_answers_do_not(hotplate, tmp_path):
    folder = write_notes(tmp_path / "many", 60)
    recipe(folder, "nice = 9\n")
    training = hotplate.start("train", folder, "--epochs", 50, "--json")
    try:
        wait_until(lambda: any(run["step"] for run in hotplate.status().get("runs", [])), "a first step")
        (daemon,) = hotplate.daemons()
        nices: dict[str, set[int]] = {}
        for task in Path(f"/proc/{daemon}/task").iterdir():
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            name = (task / "comm").read_text().strip().rstrip("0123456789 ")
            nices.setdefault(name, set()).add(int(fields[16]))
        assert nices["training"] == {max(9, os.nice(0))}, nices
        assert nices["worker"] == {os.nice(0)}, nices
        assert hotplate.json("generate", "--max-tokens", 3, "Hello")["token_ids"]
    finally:
        training.kill()
        training.communicate()


def test_a_rate_that_breaks_everything_stops_with_a_reason(hotplate, folder):
    recipe(folder, "learning_rate = 100\nclip = 0\nwarmup_steps = 0\nschedule = 'constant'\nmax_steps = 40\n")
    result = hotplate.run("train", folder, "--json", check=False)
    last = result.last
    if last["event"] == "finished":
        assert "learning rate" in last["reason"] and "stopped at step" in last["reason"], last
        assert last["heldout_loss"] <= last["base_heldout_loss"] + 1e-6
    else:
        assert last["event"] == "failed" and "learning rate" in last["error"], last
    assert hotplate.json("generate", "--max-tokens", 3, "Hello")["token_ids"]


def test_the_grammar_refuses_words_and_ranges_itself(shared_hotplate, folder):
    for words, naming in [
        (["--schedule", "linaer"], ["linear", "cosine"]),
        (["--dropout", "1"], ["from 0 to 0.95"]),
        (["--nice", "20"], ["from 0 to 19"]),
        (["--rank-pattern", "q_proj"], ["q_proj=32"]),
    ]:
        shared_hotplate.fails("train", folder, *words, naming=naming)


def test_a_fifo_is_no_recipe(shared_hotplate, folder):
    """Reading one would wait for ever."""
    subprocess.run(["mkfifo", folder / "hotplate.toml"], check=True)
    shared_hotplate.fails("train", folder, naming=["hotplate.toml:1", "a pipe"], timeout=20)
