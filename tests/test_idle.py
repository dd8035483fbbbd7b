"""What is not needed goes: bases out of memory, then the daemon. Never while a folder is watched."""

from __future__ import annotations

import time

import pytest
from hotplate_process import wait_until
from raw_client import RawClient


@pytest.fixture
def hasty(hotplate):
    hotplate.variables |= {"HOTPLATE_IDLE_EXIT_SECONDS": "1.5", "HOTPLATE_MODEL_TTL_SECONDS": "1"}
    return hotplate


def test_an_idle_daemon_leaves(hasty):
    hasty.run("models")
    wait_until(lambda: not hasty.daemons(), "the daemon to leave", seconds=15)
    assert not hasty.socket.exists(), "its socket stayed"
    # And the next command finds a clean place.
    assert hasty.json("models")["models"]


def test_not_while_a_client_is_there(hasty):
    hasty.run("models")
    with RawClient(hasty.socket) as client:
        client.session()
        time.sleep(4)
        assert len(hasty.daemons()) == 1
        assert client.call("daemon/status")["sessions"] == 1


def test_not_while_a_folder_is_watched(hasty, folder):
    hasty.run("train", folder, "--max-steps", 2)
    hasty.run("watch", folder, "--max-steps", 2)
    wait_until(lambda: not hasty.status()["runs"], "the runs to end", every=0.2)
    # Nobody asks for anything now: only the watch keeps it.
    time.sleep(5)
    assert len(hasty.daemons()) == 1
    assert hasty.status()["models"] == [], "a base stays in memory for nobody"
    hasty.run("unwatch", folder)
    wait_until(lambda: not hasty.daemons(), "the daemon to leave", seconds=15)


def test_an_unused_base_is_unloaded_and_comes_back(hotplate):
    hotplate.variables["HOTPLATE_MODEL_TTL_SECONDS"] = "1"
    words = ["generate", "--temperature", 0, "--max-tokens", 5, "--json", "Write."]
    before = hotplate.run(*words).last["token_ids"]
    assert [model["loaded"] for model in hotplate.status()["models"]] == [True]
    wait_until(lambda: not hotplate.status()["models"], "the base to be unloaded", seconds=15, every=0.2)
    assert hotplate.run(*words).last["token_ids"] == before
