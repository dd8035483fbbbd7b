"""Fixtures: homes with the real program in them, and checkpoints to compare with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# No test may ask a network for anything.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from checkpoints import SHAPES, write_checkpoint  # noqa: E402
from hotplate_process import REPOSITORY, Hotplate, short_folder  # noqa: E402
from notes import write_notes  # noqa: E402

EMBEDDED = REPOSITORY / "daemon" / "engine" / "embedded"


@pytest.fixture
def hotplate():
    """A fresh home. Its daemon, if one was started, is ended with the test."""
    running = Hotplate(short_folder())
    yield running
    running.close()


@pytest.fixture(scope="module")
def shared_hotplate():
    """A home for all tests of a file that only look, or use names of their own."""
    running = Hotplate(short_folder())
    yield running
    running.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """24 notes without a fault."""
    return write_notes(tmp_path / "notes")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Gives the folder of a random checkpoint by its shape's name; each is made once."""
    made: dict[str, Path] = {}

    def make(shape: str = "plain") -> Path:
        if shape not in made:
            parent = tmp_path_factory.mktemp("checkpoint")
            made[shape] = write_checkpoint(parent / shape, shape, seed=list(SHAPES).index(shape))
        return made[shape]

    return make


@pytest.fixture(scope="session")
def embedded() -> Path:
    """The embedded base's folder in the source tree."""
    assert (EMBEDDED / "config.json").is_file(), f"{EMBEDDED} is no Hugging Face folder"
    return EMBEDDED
