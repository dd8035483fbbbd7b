"""Asks the engine's example `logits` what a base says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from hotplate_process import built


def engine_logits(base: Path, ids: list[int], adapter: Path | None = None, quantize: str | None = None):
    """Logits at every position, as a tensor of shape (positions, vocabulary)."""
    import torch

    command = [built("examples/logits"), "--base", base, "--ids", ",".join(map(str, ids))]
    if adapter is not None:
        command += ["--adapter", adapter]
    if quantize is not None:
        command += ["--quantize", quantize]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"logits: exit {done.returncode}\n{done.stdout[-500:]}\n{done.stderr}"
    logits = torch.tensor(json.loads(done.stdout)["logits"], dtype=torch.float32)
    return logits.reshape(len(ids), -1)


def engine_refusal(base: Path, adapter: Path | None = None) -> str:
    """What the example says when it cannot load the base or the adapter."""
    command = [built("examples/logits"), "--base", base, "--ids", "1,2,3"]
    if adapter is not None:
        command += ["--adapter", adapter]
    environment = os.environ | {"RUST_BACKTRACE": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode not in (0, 101), f"it was not refused: exit {done.returncode}\n{done.stderr}"
    assert "panicked" not in done.stderr, done.stderr
    return done.stderr


def assert_same_logits(ours, theirs, limit: float = 1e-3) -> None:
    """`theirs` must be worth comparing: logits that are nearly alike would agree with anything."""
    assert theirs.std() > 0.5, f"these logits say little: deviation {theirs.std():.3f}"
    assert ours.shape == theirs.shape
    difference = (ours - theirs).abs().max().item()
    assert difference < limit, f"logits differ by up to {difference:.2e}"
