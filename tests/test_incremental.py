"""A save is learnt on top of what was learnt: with replay of the least learnt, never worse than the margin, and every example knows its run."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from hotplate_process import wait_until
from notes import notes, save_as_editor, write_notes

GUARD = ["verdict", "gap", "copy_rate", "drift"]


class Watched:
    """40 notes, each in a file of its own, learnt and watched."""

    def __init__(self, hotplate, folder: Path, count: int = 40, recipe: str = "max_steps = 8\n"):
        self.hotplate, self.folder = hotplate, folder
        folder.mkdir()
        for number, text in enumerate(notes(count)):
            (folder / f"note-{number:03}.txt").write_text(text + "\n")
        (folder / "hotplate.toml").write_text(recipe)
        self.first = hotplate.json("train", folder)
        hotplate.run("watch", folder)
        self.wait_idle()

    def adapter(self) -> dict:
        return self.hotplate.json("adapters")["adapters"][0]

    def wait_idle(self) -> None:
        wait_until(lambda: not self.hotplate.status()["runs"], "the runs to end", seconds=60, every=0.1)

    def listed(self) -> dict[str, dict]:
        entries = self.hotplate.json("check", self.folder, "--examples")["listed"]
        return {f"{entry['file']}:{entry['lines'][0]}": entry for entry in entries}

    def rows(self, sql: str) -> list[tuple]:
        with sqlite3.connect(f"file:{self.hotplate.home / 'store.sqlite'}?mode=ro", uri=True) as store:
            return store.execute(sql).fetchall()

    def follow(self, save) -> list[dict]:
        """All events of the run that `save` causes."""
        following = self.hotplate.start("watch", self.folder, "--follow", "--json")
        try:
            assert json.loads(following.stdout.readline())["event"] == "watching"
            save()
            events = []
            while not events or events[-1]["event"] not in ("finished", "kept", "failed", "cancelled"):
                events.append(json.loads(following.stdout.readline()))
            return events
        finally:
            following.kill()
            following.communicate()


@pytest.fixture
def watched(hotplate, tmp_path) -> Watched:
    return Watched(hotplate, tmp_path / "notes")


def test_every_example_knows_its_run_and_its_loss(watched):
    listed = watched.listed()
    assert len(listed) == 40
    states = [entry["state"] for entry in listed.values()]
    assert set(states) == {"learnt", "held_out"} and states.count("held_out") >= 4
    for entry in listed.values():
        assert entry["run"] == watched.first["run"] and entry["version"] == 1
        assert (entry["loss"] is not None) == (entry["state"] == "learnt")
    events = watched.follow(lambda: save_as_editor(watched.folder / "new.md", "\n---\n".join(notes(3, 90))))
    assert events[-1]["event"] == "finished", events[-1]
    listed = watched.listed()
    assert {entry["run"] for place, entry in listed.items() if place.startswith("new.md")} == {events[-1]["run"]}
    assert listed["note-000.txt:1"]["run"] == watched.first["run"]
    shown = watched.hotplate.run("check", watched.folder, "--examples").out
    line = next(line for line in shown.splitlines() if line.strip().startswith("new.md:3"))
    assert f"run {events[-1]['run']}" in line and "version 2" in line


def test_the_least_learnt_are_replayed(watched):
    """The replayed ones are those with the highest losses that the store knows; a third of the tokens is theirs."""
    before = {entry["id"]: entry for entry in watched.listed().values()}
    events = watched.follow(lambda: save_as_editor(watched.folder / "new.md", "\n---\n".join(notes(6, 90))))
    plan = next(event for event in events if event["event"] == "started")["plan"]
    assert events[-1]["event"] == "finished" and plan["replay_examples"] > 0
    after = {entry["id"]: entry for entry in watched.listed().values()}
    moved = {id for id, entry in before.items() if entry["state"] == "learnt" and entry["loss"] != after[id]["loss"]}
    assert len(moved) == plan["replay_examples"]
    learnt = sorted((entry["loss"] for entry in before.values() if entry["state"] == "learnt"), reverse=True)
    assert sorted((before[id]["loss"] for id in moved), reverse=True) == learnt[: len(moved)]
    share = sum(before[id]["tokens"] for id in moved) / plan["tokens"]
    assert 0.25 < share < 0.5


def test_guard_figures_are_kept_and_said(watched):
    (version,) = watched.adapter()["versions"]
    for guard in (watched.first["guard"], version["guard"], watched.hotplate.status()["adapters"][0]["guard"]):
        assert all(name in guard for name in GUARD)
        assert guard["gap"] is not None and guard["drift"] >= 0
    assert watched.first["reason"]
    events = watched.hotplate.run("train", watched.folder, "-a", "again")
    assert "memoris" in events.out and "drift" in events.out
    assert "guard" in watched.hotplate.run("adapters").out
    assert "drift" in watched.hotplate.run("status").out
    # The base's own texts were drawn once, and are kept.
    assert watched.rows("SELECT count(*) FROM neutral_samples") == [(1,)]


def test_a_save_that_makes_it_worse_is_not_put_to_use(hotplate, tmp_path):
    """With a margin of nothing and a rate that breaks what was learnt, the old version stays, and the person is told."""
    watched = Watched(hotplate, tmp_path / "notes")
    save_as_editor(watched.folder / "hotplate.toml", "max_steps = 8\nlearning_rate = 0.5\nmargin = 0\n")
    before = watched.hotplate.json("generate", "-a", "notes", "--temperature", 0, "--max-tokens", 8, "Hello")
    events = watched.follow(lambda: save_as_editor(watched.folder / "new.md", "\n---\n".join(notes(3, 90))))
    assert events[-1]["event"] in ("kept", "failed"), events[-1]
    adapter = watched.adapter()
    assert adapter["current"] == 1 and len(adapter["versions"]) == 1
    after = watched.hotplate.json("generate", "-a", "notes", "--temperature", 0, "--max-tokens", 8, "Hello")
    assert after["token_ids"] == before["token_ids"]
    # Tried once: the same save starts no other run.
    states = {entry["state"] for place, entry in watched.listed().items() if place.startswith("new.md")}
    assert states <= {"tried", "held_out"}


def test_an_edit_is_learnt_and_makes_nothing_stale(watched):
    learnt = next(place for place, entry in watched.listed().items() if entry["state"] == "learnt")
    path = watched.folder / learnt.split(":")[0]
    events = watched.follow(lambda: save_as_editor(path, path.read_text().replace("Mind the step", "Mind the two steps")))
    assert events[-1]["event"] == "finished", events[-1]
    watched.wait_idle()
    assert watched.adapter()["stale"] is False
    assert watched.listed()[learnt]["run"] == events[-1]["run"]
    # Back at the version before the edit, the old text is what is known, and it is gone from the folder.
    watched.hotplate.run("rollback", "notes")
    save_as_editor(watched.folder / "touch.md", notes(1, 150)[0])
    wait_until(lambda: watched.adapter()["stale"], "the rolled-back text to be missed")


def test_an_edited_judge_still_judges(watched):
    judge = next(place for place, entry in watched.listed().items() if entry["state"] == "held_out")
    path = watched.folder / judge.split(":")[0]
    save_as_editor(path, path.read_text().replace("Mind the step", "Mind the two steps"))
    wait_until(lambda: watched.listed()[judge]["state"] == "held_out", "the edit to be noticed")
    watched.wait_idle()
    adapter = watched.adapter()
    assert len(adapter["versions"]) == 1 and not adapter["stale"]


def test_a_removed_text_makes_it_stale_and_is_forgotten_when_the_machine_is_idle(hotplate, tmp_path):
    hotplate.variables["HOTPLATE_STALE_RETRAIN_SECONDS"] = "1"
    watched = Watched(hotplate, tmp_path / "notes")
    learnt = [place for place, entry in watched.listed().items() if entry["state"] == "learnt"]
    (watched.folder / learnt[0].split(":")[0]).unlink()

    def forgotten() -> bool:
        adapter = watched.adapter()
        return not adapter["stale"] and len(adapter["versions"]) > 1

    wait_until(forgotten, "the full retrain", seconds=60, every=0.2)
    assert watched.adapter()["versions"][-1]["kind"] == "full"
    # The recipe holds for it too.
    assert watched.adapter()["versions"][-1]["steps"] <= 8
    assert watched.rows("SELECT count(*) FROM manifest") == [(39,)]


def test_few_examples_judge_each_other(hotplate, tmp_path):
    """Below 30 there are folds; all examples are learnt, a save is learnt on top, and a removal is noticed."""
    watched = Watched(hotplate, tmp_path / "few", count=12)
    assert watched.first["folds"] == 5
    assert (watched.first["train_examples"], watched.first["heldout_examples"]) == (12, 0)
    assert {entry["state"] for entry in watched.listed().values()} == {"learnt"}
    events = watched.follow(lambda: save_as_editor(watched.folder / "new.md", notes(1, 90)[0]))
    assert events[-1]["event"] in ("finished", "kept"), events[-1]
    (watched.folder / "note-003.txt").unlink()
    wait_until(lambda: watched.adapter()["stale"] or len(watched.adapter()["versions"]) > 2, "the loss to be noticed")


def test_folds_are_said(hotplate, folder):
    plan = hotplate.json("train", folder, "--dry-run")
    assert plan["folds"] == 5 and plan["heldout_examples"] == 0
    assert "5 parts" in hotplate.run("train", folder, "--dry-run").out
    result = hotplate.run("train", folder, "--max-steps", 4, "--json")
    folded = [line for line in result.lines if line["event"] == "folds_done"]
    assert len(folded) == 1 and folded[0]["folds"] == 5
    assert result.last["folds"] == 5


class TestOddData:
    def test_all_duplicates(self, hotplate, tmp_path):
        for number in range(20):
            (tmp_path / f"{number}.txt").write_text(notes(1)[0])
        hotplate.fails("train", tmp_path, naming=["one example", "at least 2"])
        assert len(hotplate.json("check", tmp_path)["findings"]) == 19

    def test_all_masked_out(self, hotplate, tmp_path):
        """Prompts so long that every completion is cut away: nothing carries loss."""
        with (tmp_path / "a.jsonl").open("w") as file:
            for number in range(12):
                file.write(json.dumps({"prompt": "word " * 200 + str(number), "completion": "A note."}) + "\n")
        hotplate.fails("train", tmp_path, "--max-tokens", 16, naming=["loss"])
        assert hotplate.json("generate", "--max-tokens", 2, "Hello")["token_ids"]

    def test_a_base_swapped_under_an_adapter(self, hotplate, folder, checkpoint, tmp_path):
        base = Path(shutil.copytree(checkpoint("plain"), tmp_path / "base"))
        (folder / "hotplate.toml").write_text("base = '../base'\nmax_steps = 2\n")
        hotplate.json("train", folder)
        config = json.loads((base / "config.json").read_text())
        config["rope_theta"] = 20_000.0
        (base / "config.json").write_text(json.dumps(config))
        hotplate.fails("train", folder, naming=["made for the base", "changed", "--adapter"])
        hotplate.fails("generate", "-a", "notes", "Hello", naming=["base"])


def test_a_store_of_the_first_release_opens_and_loses_nothing(hotplate, folder):
    """What an older daemon wrote is brought up to date: made here by taking the new columns away again."""
    hotplate.json("train", folder, "--max-steps", 3)
    hotplate.run("stop")
    path = hotplate.home / "store.sqlite"
    with sqlite3.connect(path) as store:
        if store.execute("PRAGMA user_version").fetchone()[0] < 3:
            pytest.fail("the schema has not moved")
        added = {
            "versions": ["guard", "method", "pruned", "judged_by"],
            "manifest": ["loss", "sketch", "replaced", "line"],
            "adapters": ["quantise", "newest"],
        }
        for table, columns in added.items():
            for column in columns:
                store.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for table in ["neutral_samples", "rehearsal", "preparations", "last_fault", "doomed", "prices"]:
            store.execute(f"DROP TABLE {table}")
        store.execute("CREATE TABLE speeds (fingerprint TEXT, device TEXT, tokens_per_second REAL)")
        store.execute("PRAGMA user_version = 1")
    adapter = hotplate.json("adapters")["adapters"][0]
    assert adapter["versions"][0]["guard"] is None and adapter["versions"][0]["method"] == "lora"
    listed = hotplate.json("check", folder, "--examples")["listed"]
    assert all(entry["version"] == 1 and entry["loss"] is None for entry in listed)
    assert hotplate.json("train", folder, "--max-steps", 3)["version"] == 2


def test_every_weight_of_a_small_base(hotplate, folder):
    """`method = "full"`: the version is a base of its own, answers under the adapter's name, and can be rolled back."""
    (folder / "hotplate.toml").write_text("method = 'full'\nmax_steps = 6\nlearning_rate = 1e-3\n")
    result = hotplate.json("train", folder)
    assert result["heldout_loss"] < result["base_heldout_loss"] and result["guard"]["drift"] > 0
    (version,) = hotplate.json("adapters")["adapters"][0]["versions"]
    assert version["method"] == "full"
    assert (Path(result["path"]) / "model.safetensors").is_file() and (Path(result["path"]) / "config.json").is_file()
    words = ["--temperature", 0, "--max-tokens", 12, "Write a short note."]
    answer, bare = hotplate.json("generate", "-a", "notes", *words), hotplate.json("generate", *words)
    assert answer["adapter"] == "notes@1" and answer["token_ids"] != bare["token_ids"]
    # It is an ordinary folder: named as a base, it says the same.
    assert hotplate.json("generate", "--base", result["path"], *words)["token_ids"] == answer["token_ids"]
    assert hotplate.json("train", folder)["version"] == 2
    hotplate.run("rollback", "notes")
    assert hotplate.json("generate", "-a", "notes", *words)["token_ids"] == answer["token_ids"]
