"""Every command: help with an example, JSON with the promised members, useful errors, and files only where they belong."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path

import pytest

COMMANDS = [
    "check", "train", "generate", "score", "watch", "unwatch", "adapters", "rollback", "models", "pull", "status", "logs", "stop", "demo",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(shared_hotplate, tmp_path_factory):
    """A home with one adapter, `notes`, of two versions."""
    from notes import notes, write_notes

    folder = write_notes(tmp_path_factory.mktemp("data") / "notes")
    shared_hotplate.run("train", folder, "--max-steps", 3)
    (folder / "later.md").write_text("\n---\n".join(notes(8, 80)))
    shared_hotplate.run("train", folder, "--max-steps", 3)
    return shared_hotplate, folder


class TestHelp:
    def test_the_first_page_names_every_command(self, hotplate):
        out = hotplate.run("--help").out
        for command in COMMANDS:
            assert re.search(rf"^\s+{command}\b", out, re.MULTILINE), command

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_command_shows_an_example(self, hotplate, command):
        out = hotplate.run(command, "--help").out
        assert f"hotplate {command}" in out.split("Usage:")[1].split("\n", 1)[1], out
        if command != "logs":
            assert "--json" in out

    def test_help_and_version_start_no_daemon(self, hotplate):
        assert re.fullmatch(r"hotplate \d+\.\d+\.\d+\n", hotplate.run("--version").out)
        hotplate.run("train", "--help")
        assert hotplate.daemons() == [] and not hotplate.socket.exists()

    @pytest.mark.parametrize(
        ("words", "naming"),
        [
            (["trian", "notes"], ["trian", "train"]),
            (["train"], ["FOLDER", "--help"]),
            (["train", "notes", "--epochs", "0"], ["--epochs", "0"]),
            (["train", "notes", "--lr", "much"], ["--learning-rate", "much"]),
            (["generate", "--temperature", "-1", "Hi"], ["temperature"]),
            (["generate"], ["PROMPT"]),
            (["train", "notes", "-a", "some/path"], ["some/path"]),
        ],
    )
    def test_wrong_words(self, hotplate, tmp_path, words, naming):
        (tmp_path / "notes").mkdir()
        hotplate.fails(*words, naming=naming, cwd=tmp_path)


class TestJson:
    def test_check(self, trained):
        hotplate, folder = trained
        result = hotplate.run("check", folder, "--json")
        assert len(result.lines) == 1
        checked = result.last
        assert (checked["files"], checked["examples"], checked["findings"]) == (11, 32, [])
        assert checked["train_examples"] + checked["heldout_examples"] == 32 and checked["heldout_examples"] >= 4
        assert 0 < checked["longest_tokens"] < checked["tokens"]

    def test_plan(self, trained):
        hotplate, folder = trained
        plan = hotplate.json("train", folder, "--dry-run")
        assert plan["event"] == "planned" and plan["adapter"] == "notes"
        assert plan["train_examples"] > 0 and plan["tokens"] >= plan["supervised_tokens"] > 0
        assert plan["steps"] > 0 and plan["memory_bytes"] > 1 << 20
        # After the first run on this base the speed is known.
        assert plan["seconds"] > 0

    def test_generate(self, trained):
        hotplate, _ = trained
        result = hotplate.run("generate", "-a", "notes", "--max-tokens", 20, "--seed", 5, "--json", "Write.")
        *deltas, last = result.lines
        assert "".join(delta["delta"] for delta in deltas) == last["text"]
        assert len(deltas) > 1, "nothing streamed"
        assert last["finish_reason"] in ("stop", "length") and last["seed"] == 5
        assert 0 < last["first_token_ms"] < 5000 and last["tokens_per_second"] > 0
        assert 0 < len(last["token_ids"]) <= 20
        assert last["adapter"].startswith("notes@")

    def test_adapters_and_rollback(self, trained):
        hotplate, folder = trained
        (adapter,) = hotplate.json("adapters")["adapters"]
        assert adapter["name"] == "notes" and adapter["folder"] == str(folder)
        numbers = [version["version"] for version in adapter["versions"]]
        assert numbers == [1, 2]
        for version in adapter["versions"]:
            assert {path.name for path in Path(version["path"]).iterdir()} >= {
                "adapter_config.json",
                "adapter_model.safetensors",
            }
        ask = ["generate", "--temperature", 0, "--max-tokens", 8, "--json", "Write a note."]
        answers = {number: hotplate.run(*ask[:1], "-a", f"notes@{number}", *ask[1:]).last for number in numbers}

        back = hotplate.json("rollback", "notes")
        assert back["current"] == 1 and len(back["versions"]) == 2
        now = hotplate.run(*ask[:1], "-a", "notes", *ask[1:]).last
        assert now["adapter"] == "notes@1" and now["token_ids"] == answers[1]["token_ids"]
        assert hotplate.json("rollback", "notes", "--to", 2)["current"] == 2
        hotplate.fails("rollback", "notes", "--to", 9, naming=["notes", "9", "2"])
        hotplate.fails("rollback", "notse", naming=["notse", "notes"])

    def test_models(self, trained):
        hotplate, _ = trained
        tiny = next(model for model in hotplate.json("models")["models"] if model["name"] == "hotplate-tiny")
        assert tiny["path"] is None and tiny["adapters"] == 1 and 1_000_000 < tiny["parameters"] <= 6_000_000

    def test_status_and_logs(self, trained):
        hotplate, _ = trained
        status = hotplate.json("status")
        assert status["running"] and status["pid"] == hotplate.daemons()[0] and status["home"] == str(hotplate.home)
        assert status["rss_bytes"] > 0 and status["peak_rss_bytes"] >= status["rss_bytes"] // 2
        assert status["model_ttl_seconds"] > 0 and status["idle_exit_seconds"] > 0
        assert hotplate.run("logs").out.strip()

    @pytest.mark.parametrize("words", [["status"], ["adapters"], ["models"]])
    def test_for_people_it_is_not_json(self, trained, words):
        hotplate, _ = trained
        out = hotplate.run(*words).out
        assert out.strip() and "\x1b" not in out
        with pytest.raises(json.JSONDecodeError):
            json.loads(out)


class TestWords:
    @pytest.mark.parametrize(
        ("word", "ours"),
        [("run", "generate"), ("chat", "generate"), ("list", "adapters"), ("ps", "status"), ("rm", "delete"), ("serve", "every command starts it")],
    )  # fmt: skip
    def test_words_of_other_tools_lead_on(self, hotplate, word, ours):
        result = hotplate.fails(word, "x", naming=[word, ours])
        assert result.code == 2 and hotplate.daemons() == []

    def test_a_prompt_comes_through_a_pipe(self, trained):
        hotplate, _ = trained
        ask = ["generate", "-a", "notes", "--temperature", 0, "--max-tokens", 6, "--json"]
        assert hotplate.run(*ask, stdin="A rainy day\n").last["text"] == hotplate.run(*ask, "A rainy day").last["text"]
        hotplate.fails("generate", "-a", "notes", naming=["PROMPT"], stdin="")

    def test_completions_and_man_pages(self, hotplate, tmp_path):
        for shell in ("bash", "zsh", "fish"):
            assert "rollback" in hotplate.run("completions", shell).out
        hotplate.run("man", tmp_path / "man1")
        assert {"hotplate.1", "hotplate-train.1", "hotplate-delete.1"} <= {page.name for page in (tmp_path / "man1").iterdir()}
        assert hotplate.daemons() == []

    def test_a_name_goes_before_a_folder_of_that_name(self, trained, tmp_path):
        hotplate, _ = trained
        hotplate.run("export", "notes@1", "--out", tmp_path / "notes")
        ask = ["generate", "--max-tokens", 2, "--json", "Write."]
        assert hotplate.run(*ask, "-a", "notes", cwd=tmp_path).last["adapter"].startswith("notes@")
        assert hotplate.run(*ask, "-a", "./notes", cwd=tmp_path).last["adapter"] == str(tmp_path / "notes")
        (tmp_path / "notes").rename(tmp_path / "elsewhere")
        assert hotplate.run(*ask, "-a", "elsewhere", cwd=tmp_path).last["adapter"] == str(tmp_path / "elsewhere")

    def test_an_import_goes_on(self, trained, tmp_path):
        hotplate, folder = trained
        hotplate.run("export", "notes", "--out", tmp_path / "lora")
        came = hotplate.run("import", tmp_path / "lora", "--name", "came").out
        assert "hotplate train FOLDER -a came" in came
        listed = next(line for line in hotplate.run("adapters").out.splitlines() if line.startswith("came"))
        assert "0.00" not in listed and " - " in listed
        plan = hotplate.json("train", folder, "-a", "came", "--dry-run")
        assert plan["kind"] == "incremental"
        hotplate.run("delete", "came", "--yes")
        assert [adapter["name"] for adapter in hotplate.json("adapters")["adapters"]] == ["notes"]


class TestChosenBase:
    def test_it_holds_until_it_is_reset(self, hotplate, folder, tmp_path):
        from checkpoints import write_checkpoint

        base = write_checkpoint(tmp_path / "own-base")
        said = hotplate.run("generate", "--max-tokens", 2, "Hi")
        assert "hotplate-tiny" in said.err and "hotplate use" in said.err
        assert hotplate.run("generate", "--max-tokens", 2, "-q", "Hi").err == ""
        hotplate.run("use", base.name, cwd=tmp_path)
        assert hotplate.json("use")["base"] == str(base)
        said = hotplate.run("generate", "--max-tokens", 2, "--json", "Hi")
        assert said.last["base"] == "own-base" and said.err == ""
        settings = hotplate.json("check", folder)["settings"]
        assert next(entry for entry in settings if entry["key"] == "base")["value"] == "own-base"
        toy = hotplate.environment(HOTPLATE_BASE="hotplate-tiny")
        assert hotplate.run("generate", "--max-tokens", 2, "--json", "Hi", env=toy).last["base"] == "hotplate-tiny"
        hotplate.run("train", folder, "--max-steps", 1)
        hotplate.run("use", "--toy")
        assert hotplate.run("generate", "-a", folder.name, "--max-tokens", 2, "--json", "Hi").last["base"] == "own-base"
        assert hotplate.json("use")["chosen_by"] is None
        hotplate.fails("use", folder.name, naming=["adapter", "-a"])
        hotplate.fails("use", tmp_path / "none", naming=["none"])


class TestStop:
    def test_status_starts_nothing(self, hotplate):
        assert hotplate.json("status")["running"] is False
        assert hotplate.daemons() == []

    def test_stop_ends_the_daemon(self, hotplate):
        hotplate.run("models")
        assert len(hotplate.daemons()) == 1
        assert hotplate.json("stop")["stopped"] is True
        assert hotplate.daemons() == []
        # And once more, without one.
        result = hotplate.run("stop", check=False)
        assert "panicked" not in result.err and hotplate.daemons() == []


class TestPlaces:
    def test_hotplate_home_moves_everything(self, hotplate, folder, tmp_path):
        elsewhere = tmp_path / "user"
        elsewhere.mkdir()
        environment = hotplate.environment(HOME=str(elsewhere))
        hotplate.run("train", folder, "--max-steps", 1, env=environment)
        assert list(elsewhere.rglob("*")) == []
        assert {"daemon.sock", "daemon.log", "store.sqlite", "adapters"} <= {path.name for path in hotplate.home.iterdir()}
        assert sorted(folder.iterdir()) == sorted({*folder.glob("note-*.txt"), folder / "more.md", folder / "records.jsonl"})

    def test_the_xdg_folders_otherwise(self, hotplate):
        # The fixture's home serves as the user's: short, and removed afterwards.
        user = hotplate.home
        runtime = user / "run"
        runtime.mkdir(mode=0o700)
        environment = hotplate.environment(HOME=str(user), XDG_RUNTIME_DIR=str(runtime))
        del environment["HOTPLATE_HOME"]
        hotplate.run("models", env=environment)
        try:
            assert (runtime / "hotplate" / "daemon.sock").is_socket()
            assert (user / ".local/share/hotplate/store.sqlite").is_file()
            assert (user / ".local/state/hotplate/daemon.log").is_file()
        finally:
            hotplate.run("stop", env=environment)

    def test_nobody_else_may_look(self, hotplate):
        home = hotplate.home / "inner"
        environment = hotplate.environment(HOTPLATE_HOME=str(home))
        hotplate.run("models", env=environment)
        try:
            assert stat.S_IMODE(home.stat().st_mode) == 0o700
            assert stat.S_IMODE((home / "daemon.sock").stat().st_mode) & 0o077 == 0
        finally:
            hotplate.run("stop", env=environment)

    def test_relative_paths_start_here(self, hotplate, folder):
        checked = hotplate.json("check", folder.name, cwd=folder.parent)
        assert checked["folder"] == str(folder)

    def test_a_closed_pipe_is_no_crash(self, trained):
        hotplate, _ = trained
        command = f"{hotplate.binary} generate --max-tokens 200 --ignore-eos Write. | head -c 1"
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, timeout=60, env=hotplate.environment()
        )
        assert done.stdout and b"panicked" not in done.stderr
