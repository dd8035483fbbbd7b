"""`hotplate lab`: what it finds, what it lays out, and what it says where it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hotplate_process import REPOSITORY, Hotplate, built

# Stands for JupyterLab: notes down how it was started.
STAND_IN = """#!/bin/sh
[ "$1" = --version ] && exit 0
printf '%s\\n' "$PWD" "$HOTPLATE_BIN" "$@" > "$NOTES"
"""


@pytest.fixture
def place(tmp_path: Path, hotplate: Hotplate):
    """Runs `hotplate lab` with nothing on PATH but what a test puts there."""
    programs = tmp_path / "programs"
    programs.mkdir()
    variables = {
        "PATH": str(programs),
        "HOME": str(tmp_path),
        "HOTPLATE_HOME": str(hotplate.home),
        "JUPYTER_DATA_DIR": str(tmp_path / "jupyter"),
        "NOTES": str(tmp_path / "notes"),
        # Nobody answers there: the machine is offline.
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_NO_CACHE_DIR": "1",
    }

    def run(*words: str) -> subprocess.CompletedProcess:
        command = [built("hotplate"), "lab", "--dir", str(tmp_path / "work"), *words]
        return subprocess.run(command, capture_output=True, text=True, env=variables, stdin=subprocess.DEVNULL, timeout=120)

    run.programs, run.folder, run.root = programs, tmp_path / "work", tmp_path
    return run


def stand_in(place) -> None:
    program = place.programs / "jupyter-lab"
    program.write_text(STAND_IN)
    program.chmod(0o755)


def test_jupyterlab_is_started_with_the_kernel_and_the_tour(place):
    stand_in(place)
    done = place("--no-browser", "--", "--port", "9000")
    assert done.returncode == 0, done.stderr
    folder, binary, *words = (place.root / "notes").read_text().splitlines()
    assert folder == str(place.folder) and binary == str(built("hotplate"))
    assert words[0] == "tour.ipynb" and "--no-browser" in words and words[-2:] == ["--port", "9000"]
    assert ("--allow-root" in words) == (os.geteuid() == 0)
    spec = json.loads((place.root / "jupyter/kernels/hotplate/kernel.json").read_text())
    assert spec["argv"][0] == str(built("hotplate-kernel"))
    assert (place.folder / "tour.ipynb").read_bytes() == (REPOSITORY / "kernelspec/tour.ipynb").read_bytes()


def test_the_persons_copy_stays(place):
    stand_in(place)
    place.folder.mkdir()
    (place.folder / "tour.ipynb").write_text("mine")
    done = place()
    assert done.returncode == 0 and "as you left it" in done.stderr, done.stderr
    assert (place.folder / "tour.ipynb").read_text() == "mine"
    assert place("--lang", "zh").returncode == 0
    assert (place.folder / "tour.zh.ipynb").read_bytes() == (REPOSITORY / "kernelspec/tour.zh.ipynb").read_bytes()


def test_jupyterlab_may_be_a_module_of_python(place):
    program = place.programs / "python3"
    program.write_text(STAND_IN.replace('"$1" = --version', '"$3" = --version'))
    program.chmod(0o755)
    done = place("--no-browser")
    assert done.returncode == 0, done.stderr
    assert (place.root / "notes").read_text().splitlines()[2:5] == ["-m", "jupyterlab", "tour.ipynb"]


def test_without_a_network_it_says_so(place, hotplate: Hotplate):
    # A Python without JupyterLab: this one, without its packages.
    program = place.programs / "python3"
    program.write_text(f'#!/bin/sh\nexec {os.path.realpath(sys.executable)} -I -S "$@"\n')
    program.chmod(0o755)
    done = place("--no-browser")
    assert done.returncode == 1
    assert "offline" in done.stderr and "pip install jupyterlab" in done.stderr, done.stderr
    assert not (hotplate.home / "jupyter").exists(), "half an environment stays"


def test_without_python_it_says_so(place):
    done = place()
    assert done.returncode == 1 and "install Python" in done.stderr, done.stderr
    # Called by its other name, and without the kernel's program, it names that too.
    alias = subprocess.run([built("hotplate"), "notebook", "--help"], capture_output=True, text=True)
    assert alias.returncode == 0 and "tutorial" in alias.stdout
