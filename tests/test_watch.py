"""A saved file is learnt in seconds, however it is saved and whenever."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from hotplate_process import wait_until
from notes import notes, save_as_editor

SETTLED_SECONDS = 60


class Watched:
    """A folder that is watched, with its first version made."""

    def __init__(self, hotplate, folder: Path):
        self.hotplate, self.folder = hotplate, folder
        hotplate.run("train", folder, "--max-steps", 6)
        hotplate.run("watch", folder, "--max-steps", 6)
        self.wait_idle()

    def adapter(self) -> dict:
        return self.hotplate.json("adapters")["adapters"][0]

    def versions(self) -> int:
        return len(self.adapter()["versions"])

    def examples(self) -> int:
        (watch,) = self.hotplate.status()["watches"]
        return watch["examples"]

    def wait_idle(self) -> None:
        wait_until(lambda: not self.hotplate.status()["runs"], "the runs to end", seconds=SETTLED_SECONDS, every=0.1)

    def wait_examples(self, count: int) -> None:
        wait_until(lambda: self.examples() == count, f"{count} examples, not {self.examples()}", seconds=SETTLED_SECONDS)
        self.wait_idle()


@pytest.fixture
def watched(hotplate, folder) -> Watched:
    return Watched(hotplate, folder)


def write_plainly(path: Path, text: str) -> None:
    path.write_text(text)


def write_slowly(path: Path, text: str) -> None:
    """A program that writes in pieces: nothing is learnt from half a file."""
    with path.open("w") as file:
        for start in range(0, len(text), 200):
            file.write(text[start : start + 200])
            file.flush()
            time.sleep(0.02)


def backup_and_write(path: Path, text: str) -> None:
    """Vim with `backupcopy=no`: a probe file, the old file moved away, a new one in its place."""
    probe = path.parent / "4913"
    probe.write_text("")
    probe.unlink()
    if path.exists():
        path.rename(path.with_name(path.name + "~"))
    path.write_text(text)
    path.with_name(path.name + "~").unlink(missing_ok=True)


def copy_into_place(path: Path, text: str) -> None:
    """A file manager: a file from elsewhere, with an old time."""
    source = path.parent.parent / "elsewhere.tmp"
    source.write_text(text)
    os.utime(source, (1_000_000_000, 1_000_000_000))
    shutil.move(source, path)


SAVES = {
    "write": write_plainly,
    "slowly": write_slowly,
    "rename": save_as_editor,
    "backup": backup_and_write,
    "copy": copy_into_place,
}


@pytest.mark.parametrize("save", SAVES)
def test_each_way_of_saving(watched, save):
    """One save, one run: it brings the new notes and nothing that an editor left beside them."""
    SAVES[save](watched.folder / "new.md", "\n---\n".join(notes(8, 90)))
    watched.wait_examples(32)
    assert watched.versions() <= 2
    assert watched.hotplate.json("check", watched.folder)["findings"] == []


def test_a_save_is_learnt_and_measured(hotplate, folder):
    watched = Watched(hotplate, folder)
    following = hotplate.start("watch", folder, "--follow", "--json")
    try:
        assert json.loads(following.stdout.readline())["event"] == "watching"
        saved = time.monotonic()
        save_as_editor(folder / "new.md", "\n---\n".join(notes(12, 90)))
        while True:
            event = json.loads(following.stdout.readline())
            if event["event"] == "started":
                assert event["plan"]["kind"] == "incremental"
                assert event["cause"] == {"kind": "saved", "files": ["new.md"]}
            if event["event"] in ("finished", "kept", "failed", "cancelled"):
                break
        seconds = time.monotonic() - saved
    finally:
        following.kill()
        following.communicate()
    assert event["event"] == "finished", event
    assert seconds < 15
    assert event["kind"] == "incremental" and event["version"] == 2
    assert 0 < event["save_to_swap_seconds"] <= min(10, seconds + 0.1)
    assert event["new_heldout_loss_after"] < event["new_heldout_loss_before"]
    assert watched.adapter()["current"] == 2


def test_an_edited_note_replaces_the_old_one(watched):
    path = watched.folder / "note-000.txt"
    path.write_text(notes(1, 120)[0])
    wait_until(lambda: watched.versions() == 2 or "kept" in watched.hotplate.log.lower(), "the edit to be learnt")
    assert watched.examples() == 24


def test_saving_without_a_change_learns_nothing(watched):
    path = watched.folder / "note-000.txt"
    save_as_editor(path, path.read_text())
    path.touch()
    time.sleep(3)
    watched.wait_idle()
    assert watched.versions() == 1


def test_other_files_are_none_of_our_business(watched):
    for name in (".hidden.txt", "note.txt~", "picture.png", "4913", "#note.txt#", "draft.txt.tmp"):
        (watched.folder / name).write_text("not a note")
    time.sleep(3)
    watched.wait_idle()
    assert (watched.versions(), watched.examples()) == (1, 24)


def test_a_broken_file_is_a_finding_and_the_rest_is_learnt(watched):
    (watched.folder / "new.jsonl").write_text('{"text": "broken\n' + "".join(json.dumps({"text": t}) + "\n" for t in notes(6, 90)))
    watched.wait_examples(30)
    (watch,) = watched.hotplate.status()["watches"]
    assert watch["findings"] == 1


def test_what_was_saved_while_the_daemon_was_down(watched):
    watched.hotplate.run("stop")
    (watched.folder / "new.md").write_text("\n---\n".join(notes(8, 90)))
    # Any command brings the daemon back; the watch is not forgotten.
    watched.hotplate.run("models")
    watched.wait_examples(32)


def test_a_new_folder_inside(watched):
    inside = watched.folder / "winter" / "january"
    inside.mkdir(parents=True)
    (inside / "a.md").write_text("\n---\n".join(notes(5, 90)))
    watched.wait_examples(29)
    # And what comes into it later.
    (inside / "b.md").write_text("\n---\n".join(notes(5, 100)))
    watched.wait_examples(34)


def test_removed_notes_make_the_adapter_stale(watched):
    (watched.folder / "more.md").unlink()
    watched.wait_examples(16)
    # Stale until it was trained anew, which happens when the machine is idle.
    wait_until(
        lambda: watched.adapter()["stale"] or watched.adapter()["versions"][-1]["kind"] == "full" and watched.versions() > 1,
        "the loss to be noticed",
    )
    answer = watched.hotplate.json("generate", "-a", watched.folder.name, "--max-tokens", 3, "Write.")
    assert answer["token_ids"]


def test_a_stale_adapter_is_trained_anew_when_the_machine_is_idle(hotplate, folder):
    hotplate.variables["HOTPLATE_STALE_RETRAIN_SECONDS"] = "1"
    watched = Watched(hotplate, folder)
    (folder / "more.md").unlink()

    def fresh() -> bool:
        adapter = watched.adapter()
        return not adapter["stale"] and len(adapter["versions"]) > 1 and adapter["versions"][-1]["kind"] == "full"

    wait_until(fresh, "the full retrain", seconds=60, every=0.2)


def test_a_folder_that_goes_away_and_comes_back(watched):
    away = watched.folder.with_name("away")
    watched.folder.rename(away)
    wait_until(lambda: watched.hotplate.status()["watches"][0]["problem"], "the problem to be shown")
    assert watched.hotplate.json("generate", "-a", "notes", "--max-tokens", 3, "Write.")["token_ids"]
    away.rename(watched.folder)
    (watched.folder / "new.md").write_text("\n---\n".join(notes(4, 90)))
    watched.wait_examples(28)
    wait_until(lambda: watched.hotplate.status()["watches"][0]["problem"] is None, "the problem to be gone", seconds=90)


def test_unwatch(watched):
    watched.hotplate.run("unwatch", watched.folder)
    assert watched.hotplate.status()["watches"] == []
    (watched.folder / "new.md").write_text("\n---\n".join(notes(8, 90)))
    time.sleep(3)
    assert watched.versions() == 1
    watched.hotplate.fails("unwatch", watched.folder, naming=[str(watched.folder), "watch"])


def test_watching_twice_is_watching(watched):
    again = watched.hotplate.json("watch", watched.folder, "--max-steps", 6)
    assert again["event"] == "watching" and again["adapter"] == "notes"
    assert len(watched.hotplate.status()["watches"]) == 1


def test_an_unwatched_folder_is_learnt_from_the_start(hotplate, folder):
    """`watch` alone is enough: no `train` before it."""
    hotplate.run("watch", folder, "--max-steps", 6)
    (adapter,) = wait_until(lambda: hotplate.json("adapters")["adapters"], "a first version", seconds=60, every=0.2)
    assert adapter["versions"][0]["kind"] == "full"


def test_a_burst_of_saves_is_not_a_queue_of_runs(watched):
    """Ten saves while a run goes on become one run after it, with all their causes."""
    for number, text in enumerate(notes(10, 90)):
        save_as_editor(watched.folder / f"burst-{number}.txt", text)
        time.sleep(0.15)
    watched.wait_examples(34)
    assert watched.versions() <= 5


def test_adding_files_moves_no_example_to_the_other_side(watched):
    before = watched.hotplate.json("check", watched.folder)
    (watched.folder / "new.md").write_text("\n---\n".join(notes(3, 90)))
    watched.wait_examples(27)
    after = watched.hotplate.json("check", watched.folder)
    assert before["heldout_examples"] <= after["heldout_examples"] <= before["heldout_examples"] + 1
