"""The promises that are numbers. Each is measured as a person would notice it; the machine may have two cores."""

from __future__ import annotations

import subprocess
import time

import pytest
from hotplate_process import wait_until
from notes import write_notes
from raw_client import RawClient

TRIES = 5


@pytest.fixture
def warm(hotplate):
    """The base is in memory."""
    hotplate.run("generate", "--max-tokens", 2, "Hello")
    return hotplate


def test_the_daemon_is_ready_within_200_ms(hotplate):
    seconds = []
    for _ in range(TRIES):
        hotplate.kill()
        start = time.monotonic()
        process = subprocess.Popen(
            [str(hotplate.binary), "daemon"],
            env=hotplate.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while True:
                try:
                    with RawClient(hotplate.socket) as client:
                        client.session()
                        seconds.append(time.monotonic() - start)
                        assert client.call("daemon/status")["models"] == [], "a model was loaded"
                        break
                except (FileNotFoundError, ConnectionRefusedError):
                    time.sleep(0.002)
        finally:
            process.kill()
            process.wait()
    assert min(seconds) <= 0.2, seconds


def test_a_second_client_waits_for_no_load(warm):
    """From the start of the process to its first token."""
    seconds = []
    for _ in range(TRIES):
        start = time.monotonic()
        process = warm.start("generate", "--max-tokens", 4, "--json", "Write a short note.")
        process.stdout.readline()
        seconds.append(time.monotonic() - start)
        process.communicate(timeout=30)
    assert min(seconds) <= 0.15, seconds


def test_generate_answers_while_a_run_goes_on(warm, tmp_path):
    folder = write_notes(tmp_path / "long", 120)
    warm.run("train", folder, "--epochs", 40, "--detach")
    wait_until(lambda: any(run["step"] >= 1 for run in warm.status()["runs"]), "the run to be going")
    seconds, said = [], []
    for _ in range(TRIES):
        start = time.monotonic()
        process = warm.start("generate", "--max-tokens", 4, "--json", "Write a short note.")
        process.stdout.readline()
        seconds.append(time.monotonic() - start)
        out, _ = process.communicate(timeout=60)
        said.append(out)
    assert warm.status()["runs"], "the run had ended: nothing was measured"
    assert max(seconds) <= 1.5, seconds


def test_a_long_text_does_not_stop_a_run(warm, tmp_path):
    """Generation goes first, but the run goes on beside it."""
    folder = write_notes(tmp_path / "long", 120)
    warm.run("train", folder, "--epochs", 40, "--detach")

    def step() -> int:
        runs = warm.status()["runs"]
        assert runs, "the run has ended"
        return runs[0]["step"]

    wait_until(lambda: step() >= 1, "the run to be going")
    writing = warm.start("generate", "--max-tokens", 400, "--ignore-eos", "--json", "Write.")
    try:
        writing.stdout.readline()
        before = step()
        wait_until(lambda: step() > before, "a step beside the text", seconds=20)
    finally:
        writing.kill()
        writing.communicate()


def test_eight_clients_from_nothing_get_one_daemon(hotplate):
    clients = [hotplate.start("models", "--json") for _ in range(8)]
    for client in clients:
        out, err = client.communicate(timeout=30)
        assert client.returncode == 0, err
        assert "hotplate-tiny" in out
    assert len(hotplate.daemons()) == 1
