"""`kill -9` at any moment: the last good version answers, and the interrupted run is resumed or reported."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hotplate_process import Hotplate, wait_until
from notes import notes, save_as_editor, write_notes
from raw_client import RawClient

PROMPT = ["--temperature", 0, "--max-tokens", 12, "--json", "Write a short note."]


def answer(hotplate: Hotplate, adapter: str) -> list[int]:
    return hotplate.run("generate", "-a", adapter, *PROMPT).last["token_ids"]


def adapters(hotplate: Hotplate) -> dict[str, dict]:
    return {adapter["name"]: adapter for adapter in hotplate.json("adapters")["adapters"]}


def check_what_is_visible(hotplate: Hotplate) -> None:
    """Every listed version is whole, and nothing beside them looks like one."""

    def listed() -> set[Path]:
        return {Path(version["path"]) for adapter in adapters(hotplate).values() for version in adapter["versions"]}

    for folder in listed():
        # Loading checks every tensor: names, shapes, finite values.
        hotplate.run("generate", "-a", folder, "--max-tokens", 1, "Hello")

    def unknown() -> set[Path]:
        stored = {file.parent for file in hotplate.home.glob("adapters/**/adapter_config.json")}
        hidden = {folder for folder in stored if any(part.startswith(".") for part in folder.relative_to(hotplate.home).parts)}
        return stored - hidden - listed()

    # A resumed run may end right now: its folder appears whole, then its row in the store.
    wait_until(lambda: not unknown(), f"every adapter on disk to be known, not {unknown()}", seconds=5, every=0.2)


def until_settled(hotplate: Hotplate) -> dict:
    """Waits until no run is queued or running."""

    def settled():
        status = hotplate.status()
        return status if status["running"] and not status["runs"] else None

    return wait_until(settled, "the resumed run to end", seconds=120, every=0.2)


def kill_during_a_run(hotplate: Hotplate, folder: Path, delay: float) -> None:
    training = hotplate.start("train", folder, "--epochs", 6, "--json")
    try:
        time.sleep(delay)
        hotplate.kill()
        out, err = training.communicate(timeout=30)
    finally:
        training.kill()
    finished = '"finished"' in out
    assert finished or training.returncode != 0, f"the client did not notice\n{out}\n{err}"
    assert "panicked" not in err
    if training.returncode != 0:
        assert err.strip(), "the client ended without a word"


def test_kill_at_random_moments_of_a_run(hotplate, folder):
    first = hotplate.json("train", folder, "--max-steps", 8)
    assert first["version"] == 1
    name = first["adapter"]
    before = answer(hotplate, name)
    write_notes(folder / "later", 12, start=60)

    moments = random.Random(20240607)
    # Saved as often as possible, so that the kill falls into the saving too.
    hotplate.run("stop")
    hotplate.variables["HOTPLATE_CHECKPOINT_SECONDS"] = "0.1"
    delays = [0.0, 0.05, *(moments.uniform(0.1, 6.0) for _ in range(6))]
    for delay in delays:
        known = adapters(hotplate)[name]["current"]
        kill_during_a_run(hotplate, folder, delay)
        # The next command starts a daemon; it serves a whole version at once, the old one or a finished new one.
        after = answer(hotplate, name)
        current = adapters(hotplate)[name]["current"]
        assert current >= known
        if current == 1:
            assert after == before, "the last good version answers differently"
        check_what_is_visible(hotplate)
        until_settled(hotplate)
    # Whatever was interrupted, the way on is open.
    final = hotplate.json("train", folder, "--max-steps", 4)
    assert final["version"] == adapters(hotplate)[name]["current"]
    check_what_is_visible(hotplate)


@pytest.mark.parametrize("checkpoint_seconds", [0.2, 3600])
def test_an_interrupted_run_is_resumed_or_reported(hotplate, folder, checkpoint_seconds):
    """With a checkpoint to go on from, and without."""
    hotplate.variables["HOTPLATE_CHECKPOINT_SECONDS"] = str(checkpoint_seconds)
    training = hotplate.start("train", folder, "--epochs", 12, "--json")
    try:
        wait_until(
            lambda: hotplate.daemons() and any(run["step"] >= 3 for run in hotplate.status().get("runs", [])),
            "the run's third step",
        )
        hotplate.kill()
        training.communicate(timeout=30)
    finally:
        training.kill()
    hotplate.run("models")
    status = hotplate.status()
    if status["runs"]:
        with RawClient(hotplate.socket, timeout=60) as client:
            client.session()
            client.call("run/attach", {"run": status["runs"][0]["run"]})
            while (event := client.notification("run/event")["event"])["event"] != "started" or (
                event["cause"]["kind"] != "resumed"
            ):
                assert event["event"] not in ("finished", "failed", "cancelled", "kept"), "it never said that it goes on"
        until_settled(hotplate)
        assert adapters(hotplate)[folder.name]["current"] == 1
    else:
        assert folder.name in adapters(hotplate) or "interrupted" in hotplate.log.lower()


@pytest.mark.parametrize("delay", [0.0, 0.3, 1.0, 2.5])
def test_kill_between_save_and_swap(hotplate, folder, delay):
    """A watched folder: what was saved is learnt after all, without anybody asking."""
    hotplate.run("train", folder, "--max-steps", 6)
    hotplate.run("watch", folder, "--max-steps", 6)
    until_settled(hotplate)
    known = len(adapters(hotplate)[folder.name]["versions"])
    save_as_editor(folder / "new.md", "\n---\n".join(notes(8, start=90)))
    time.sleep(delay)
    hotplate.kill()

    hotplate.run("models")

    def learnt():
        watch = hotplate.status()["watches"]
        assert [entry["folder"] for entry in watch] == [str(folder)], "the watch is forgotten"
        return len(adapters(hotplate)[folder.name]["versions"]) > known

    # A version that was not better is kept out by design; then its run says so.
    wait_until(lambda: learnt() or "kept" in hotplate.log.lower(), "the save to be learnt", seconds=90, every=0.3)
    check_what_is_visible(hotplate)


def test_kill_while_writing_text(hotplate):
    hotplate.run("models")
    writing = hotplate.start("generate", "--max-tokens", 400, "--ignore-eos", "--json", "Write.")
    try:
        writing.stdout.readline()
        hotplate.kill()
        out, err = writing.communicate(timeout=30)
    finally:
        writing.kill()
    assert writing.returncode != 0 and "daemon" in err, f"{out}\n{err}"
    assert hotplate.json("generate", "--max-tokens", 3, "Write.")["token_ids"]
