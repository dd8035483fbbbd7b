"""Datasets for the tests: notes with a strong habit that a small model picks up in seconds."""

from __future__ import annotations

import json
import os
import tempfile
from itertools import islice, product
from pathlib import Path

SHOPS = ["Mill Lane Bakery", "the Blue Kettle", "Harbour Noodles", "Old Post Books", "Fern & Daughter", "the Copper Pan"]
THINGS = ["rye bread", "lentil soup", "plum cake", "green tea", "smoked trout", "pickled beans", "a cinnamon bun"]
VERDICTS = ["warm and honest", "too salty by half", "better than last week", "worth the walk", "gone by noon"]


def notes(count: int, start: int = 0) -> list[str]:
    """`count` different notes in one voice. `start` numbers their beginning, so that later ones are new."""
    every = product(VERDICTS, THINGS, SHOPS)
    found = [
        f"Right then. {shop}, and {thing}: {verdict}. Four spoons out of five, as ever. Mind the step."
        for verdict, thing, shop in islice(every, start, start + count)
    ]
    assert len(found) == count, "there are not so many notes"
    return found


def write_notes(folder: Path, count: int = 24, start: int = 0) -> Path:
    """A folder with text files, Markdown and JSONL; `count` examples and no findings."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = notes(count, start)
    third = count // 3
    for index, text in enumerate(texts[:third]):
        (folder / f"note-{index:03}.txt").write_text(text + "\n")
    (folder / "more.md").write_text("\n---\n".join(texts[third : 2 * third]) + "\n")
    records = ({"prompt": "Write a short note.", "completion": text} for text in texts[2 * third :])
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def save_as_editor(path: Path, text: str) -> None:
    """Saves as most editors do: a temporary file in the same folder, then a rename."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".save-", suffix=".tmp")
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
