"""A place where Jupyter knows this build's kernel and nothing else, and where its cells have notes/ and a daemon's home."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hotplate_process import Hotplate, built, short_folder
from notes import write_notes


@contextmanager
def notebook_home(folder: Path) -> Iterator[Hotplate]:
    """Installs the kernel under `folder`, makes `folder`/work the current folder, and ends its daemon afterwards."""
    running = Hotplate(short_folder())
    work = folder / "work"
    write_notes(work / "notes")
    subprocess.run([built("hotplate-kernel"), "install", "--prefix", str(folder)], check=True, stdout=subprocess.DEVNULL)
    variables = {
        "HOTPLATE_HOME": str(running.home),
        "HOTPLATE_BIN": str(running.binary),
        "JUPYTER_PATH": str(folder / "share" / "jupyter"),
        # Nothing of the person who runs the tests is read or written.
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    before, here = dict(os.environ), Path.cwd()
    os.environ.update(variables)
    os.chdir(work)
    try:
        yield running
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)
        running.close()
