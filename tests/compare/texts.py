"""Kinds of texts that runs are measured on, from what lies on any machine with Python: drawn by a seed, the same ones each time."""

from __future__ import annotations

import importlib
import inspect
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from notes import notes

# These do something when they are imported.
NOT_IMPORTED = {"antigravity", "this", "idlelib", "turtledemo", "lib2to3", "test"}


def docstrings() -> Iterator[tuple[str, str]]:
    """Names in the standard library and what is said of them."""
    for name in sorted(sys.stdlib_module_names - NOT_IMPORTED):
        if name.startswith("_"):
            continue
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for label, value in sorted(vars(module).items()):
            if label.startswith("_") or getattr(value, "__module__", None) != name:
                continue
            members = sorted(vars(value).items()) if inspect.isclass(value) else []
            inner = [(f"{label}.{member}", each) for member, each in members if callable(each) and not member.startswith("_")]
            for full, each in [(label, value), *inner]:
                if isinstance(text := inspect.getdoc(each), str):
                    yield f"{name}.{full}", text


def cut(texts: Iterator[str]) -> list[dict]:
    """Texts of at least 30 words, cut to 120."""
    words = (text.split() for text in texts)
    return [{"text": text} for text in sorted({" ".join(each[:120]) for each in words if len(each) >= 30})]


def voice() -> list[dict]:
    return [{"text": text} for text in notes(210)]


def prose() -> list[dict]:
    return cut(text for _, text in docstrings())


def pairs() -> list[dict]:
    first = ((name, " ".join(text.split("\n\n")[0].split())) for name, text in docstrings())
    answers = {answer: f"What does {name} do?" for name, answer in first if 4 <= len(answer.split()) <= 40}
    return [{"prompt": prompt, "completion": answer} for answer, prompt in answers.items()]


def talks() -> list[dict]:
    """Conversations of two questions: what a thing does, and what else is to be said of it."""
    found = {}
    for name, text in docstrings():
        first, *more = [" ".join(part.split()) for part in text.split("\n\n")]
        if more and all(4 <= len(part.split()) <= 60 for part in (first, more[0])):
            turns = [f"What does {name} do?", first, "What else should I know about it?", more[0]]
            found[first, more[0]] = [{"role": role, "content": turn} for role, turn in zip(["user", "assistant"] * 2, turns)]
    return [{"messages": messages} for messages in found.values()]


def letters() -> list[dict]:
    """Nothing to learn: letters by chance."""
    draw = random.Random(7)
    word = lambda: "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9)))
    return [{"text": " ".join(word() for _ in range(50))} for _ in range(200)]


def licences() -> list[dict]:
    files = sorted(Path("/usr/share/doc").glob("*/copyright"))
    return cut(part for file in files for part in re.split(r"\n\s*\n", file.read_text(errors="replace")))


KINDS = {
    "voice": voice,  # one strong voice: nearly every trigram stands in other notes, too
    "prose": prose,  # prose of many hands: hardly any does
    "pairs": pairs,  # short questions and answers
    "talks": talks,  # the same in conversations of two turns
    "letters": letters,  # nothing to learn
    "licences": licences,  # many hands with much in common
}


def write_texts(folder: Path, kind: str, count: int, seed: int) -> Path:
    """A folder with `count` texts of a kind."""
    folder.mkdir(parents=True)
    chosen = random.Random(seed).sample(KINDS[kind](), count)
    (folder / "texts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in chosen))
    return folder
