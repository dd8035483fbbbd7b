"""`hotplate demo` keeps what it promises, measured from outside."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hotplate_process import built

FIGURES = [
    "base_heldout_loss", "tuned_heldout_loss", "train_seconds", "train_tokens_per_second", "save_to_swap_seconds",
    "new_notes_loss_before", "new_notes_loss_after", "first_token_ms", "adapter_versions", "peak_rss_bytes",
]  # fmt: skip


def temporary_folders() -> set[Path]:
    return {path for path in Path("/tmp").iterdir() if "hotplate" in path.name.lower()}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_main_job_end_to_end(hotplate, tmp_path, language):
    """In a home where nothing is: the demo brings its own daemon and takes it away again."""
    before = temporary_folders()
    start = time.monotonic()
    result = hotplate.run("demo", "--lang", language, "--json", timeout=200, cwd=tmp_path)
    seconds = time.monotonic() - start
    figures = result.last

    assert [name for name in FIGURES if name not in figures] == []
    assert seconds <= 120
    assert figures["tuned_heldout_loss"] <= 0.75 * figures["base_heldout_loss"]
    assert figures["new_notes_loss_after"] < figures["new_notes_loss_before"]
    assert 0 < figures["save_to_swap_seconds"] <= 10
    assert figures["adapter_versions"] >= 2
    assert 0 < figures["train_seconds"] < seconds
    assert figures["train_tokens_per_second"] > 0 and figures["first_token_ms"] > 0
    assert 10 << 20 < figures["peak_rss_bytes"] < 2 << 30

    assert list(tmp_path.iterdir()) == [], "the demo left something in the current folder"
    assert [path.name for path in hotplate.home.iterdir()] == [], "the demo used the user's own home"
    assert temporary_folders() == before, "the demo left its temporary home behind"


def test_keep_keeps_what_it_made(hotplate, tmp_path):
    result = hotplate.run("demo", "--keep", timeout=200, cwd=tmp_path)
    kept = [Path(path) for path in re.findall(r"(?:^|[\s=])(/[^\s,;:]+)", result.out)]
    homes = [folder for folder in kept if folder.is_dir()]
    assert homes, f"no kept folder is named\n{result}"
    assert any(list(folder.rglob("adapter_model.safetensors")) for folder in homes)
    # It ends with what to do next.
    assert "hotplate watch" in result.out
    # Several named folders may lie in the same kept one.
    for top in {Path(*folder.parts[:3]) for folder in homes if "hotplate" in folder.parts[2]}:
        shutil.rmtree(top)


def test_plain_text_without_a_terminal_and_colours_with_one(hotplate):
    environment = hotplate.environment()
    del environment["NO_COLOR"]
    command = [str(built("hotplate")), "demo"]

    piped = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment, stdin=subprocess.DEVNULL)
    assert piped.returncode == 0, piped.stderr
    assert "\x1b" not in piped.stdout + piped.stderr, "escape sequences in a pipe"
    for finding in ("duplicate", "invalid-json", "empty"):
        assert finding in piped.stdout, f"the planted fault {finding} is not shown"

    terminal, program = pty.openpty()
    shown = b""
    process = subprocess.Popen(
        command, stdin=program, stdout=program, stderr=program, env=environment | {"TERM": "xterm-256color"}
    )
    os.close(program)
    while True:
        try:
            chunk = os.read(terminal, 1 << 16)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    os.close(terminal)
    assert process.wait(timeout=200) == 0
    assert b"\x1b[" in shown, "no colours on a terminal"
