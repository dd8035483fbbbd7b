"""`kill -9` at random instants of everything that writes, and what must be so after each.

A scene is a home with an adapter, a watched folder, exports and a hub of its own. One round begins something (a save, a run, a swap, packing,
a pull, an export, an import), kills daemon and command after a random while, starts the daemon anew and looks at everything that was there
before: versions, their greedy answers, exports, the hub's cache, and that nothing half-done is left.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

from fake_hub import FakeHub, model_files
from hotplate_process import REPOSITORY, Hotplate, short_folder, wait_until
from notes import notes, save_as_editor, write_notes

EMBEDDED = REPOSITORY / "daemon" / "engine" / "embedded"
MODEL = "nobody/tiny"
GREEDY = ["--temperature", 0, "--max-tokens", 6, "Write a short note."]
WEIGHTS = "adapter_model.safetensors"
MARK = "hotplate-export.json"
#: Few, so that kills fall into the pruning too.
KEPT_VERSIONS = 4


class Scene:
    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.root = short_folder("hp-kill-")
        self.hotplate = Hotplate(self.root / "home")
        self.hotplate.variables |= {
            # Saved as often as possible, so that kills fall into the saving too.
            "HOTPLATE_CHECKPOINT_SECONDS": "0.02",
            "HOTPLATE_SETTLE_SECONDS": "0.1",
            "HOTPLATE_KEEP_VERSIONS": str(KEPT_VERSIONS),
            "HF_HOME": str(self.root / "hf"),
            "HF_HUB_CACHE": "",
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": "",
        }
        self.base = self.root / "base"
        shutil.copytree(EMBEDDED, self.base)
        self.folder = write_notes(self.root / "notes", 24)
        self.out = self.root / "out"
        self.out.mkdir()
        self.letter = self.out / "letter.txt"
        self.letter.write_text("Dear")
        self.hub = FakeHub(MODEL, model_files(EMBEDDED))
        #: How long each takes when nobody interrupts it.
        self.takes: dict[str, float] = {}
        self.killed: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        #: Greedy answers by adapter and version, as they were when it was new.
        self.answers: dict[tuple[str, int], list[int]] = {}
        self.saved = 0
        self.exported = 0
        self.packed_answer: list[int] | None = None

    def __enter__(self) -> "Scene":
        self.hub.__enter__()
        self.hotplate.variables["HF_ENDPOINT"] = self.hub.url
        first = self.hotplate.json("train", self.folder, "--max-steps", 3)
        self.name = first["adapter"]
        self.hotplate.run("watch", self.folder, "--max-steps", 2)
        self.hotplate.run("export", self.name, "--out", self.out / "peft")
        self.hotplate.run("import", self.out / "peft", "--name", "guest", "--base", "hotplate-tiny")
        self.look()
        return self

    def __exit__(self, *_) -> None:
        self.hotplate.kill()
        self.hub.__exit__()
        shutil.rmtree(self.root, ignore_errors=True)

    # What can be interrupted: each gives the commands that were begun.

    def save(self) -> list[subprocess.Popen]:
        self.saved += 1
        text = notes(1, start=(30 + self.saved) % 200)[0]
        save_as_editor(self.folder / f"later-{self.saved % 8}.md", f"{text} Number {self.saved}.")
        return []

    def run(self) -> list[subprocess.Popen]:
        return [self.hotplate.start("train", self.folder, "--max-steps", 3, "--json")]

    def swap(self) -> list[subprocess.Popen]:
        versions = [number for name, number in self.answers if name == self.name]
        to = self.random.choice(versions)
        return [
            self.hotplate.start("rollback", self.name, "--to", to),
            self.hotplate.start("generate", "-a", self.name, *GREEDY),
        ]

    def pack(self) -> list[subprocess.Popen]:
        shutil.rmtree(self.hotplate.home / "packed", ignore_errors=True)
        return [self.hotplate.start("generate", "--base", self.base, "--quantize", "q4", *GREEDY)]

    def pull(self) -> list[subprocess.Popen]:
        # Another commit each time that the last one has come whole.
        weights = self.hub.files["model.safetensors"]
        if self.pulled() == weights:
            files = dict(self.hub.files)
            files["README.md"] = b"%d" % self.random.randrange(1 << 30)
            files["generation_config.json"] = json.dumps({"eos_token_id": self.random.randrange(99)}).encode()
            self.hub.files = files
            self.hub.commit = hashlib.sha1(files["README.md"]).hexdigest()
            if self.random.random() < 0.5:
                shutil.rmtree(self.root / "hf", ignore_errors=True)
        return [self.hotplate.start("pull", MODEL, "--json")]

    def export(self) -> list[subprocess.Popen]:
        form, place = self.random.choice([("peft", "peft"), ("merged", "merged"), ("gguf", "a.gguf"), ("peft", "new")])
        if place == "new":
            self.exported += 1
            place = f"new-{self.exported % 5}/out"
        return [self.hotplate.start("export", self.name, "--to", form, "--out", self.out / place, "--force")]

    def bring_in(self) -> list[subprocess.Popen]:
        return [self.hotplate.start("import", self.out / "peft", "--name", "guest", "--base", "hotplate-tiny")]

    def round(self) -> None:
        """Begins something, kills it, and looks."""
        doings = [self.save, self.run, self.swap, self.pack, self.pull, self.export, self.bring_in]
        doing = self.random.choice(doings)
        what = doing.__name__
        self.hotplate.run("models")
        begun = time.monotonic()
        commands = doing()
        usual = self.takes.get(what, 0.6)
        after = self.random.uniform(0, 1.15 * usual)
        while time.monotonic() - begun < after and (not commands or any(command.poll() is None for command in commands)):
            time.sleep(0.001)
        if commands and all(command.poll() is not None for command in commands):
            # It was quicker. How long it takes is known better now.
            took = time.monotonic() - begun
            self.takes[what] = 0.5 * usual + 0.5 * took
            self.finished[what] += 1
        else:
            self.takes[what] = usual * 1.03
            self.killed[what] += 1
        for command in commands:
            # A pull has no daemon: the command itself does it.
            if what == "pull" and command.poll() is None:
                os.kill(command.pid, signal.SIGKILL)
        self.hotplate.kill()
        for command in commands:
            try:
                command.communicate(timeout=30)
            finally:
                command.kill()
        try:
            self.look()
        except AssertionError as error:
            raise AssertionError(f"after killing {what}: {error}\n--- log ---\n{self.hotplate.log[-3000:]}") from error

    # What must be so at any time.

    def look(self) -> None:
        before = dict(self.answers)
        # Listing them starts the daemon; what it tidies up, it has tidied up once it answers for the second time.
        listed = self.listed()
        versions = [(name, version) for name, adapter in listed.items() for version in adapter["versions"]]
        known = {(name, version["version"]) for name, version in versions if version["files"] != "pruned"}
        for name, gone in sorted(before.keys() - known):
            newer = sum(other == name and version > gone for other, version in known)
            assert newer >= KEPT_VERSIONS, f"lost version: {name}@{gone}, with {newer} newer ones"
            # Pruned, as it is when saves make new versions.
            del self.answers[name, gone]
        self.look_at_versions(listed, known)
        self.look_at_files()
        self.look_at_exports()
        self.look_at_the_cache()
        watches = self.hotplate.status()["watches"]
        if watches or before:
            assert [watch["folder"] for watch in watches] == [str(self.folder.resolve())], "the watch is lost"

    def listed(self) -> dict[str, dict]:
        self.hotplate.run("models")
        return {adapter["name"]: adapter for adapter in self.hotplate.json("adapters")["adapters"]}

    def look_at_versions(self, listed: dict, known: set[tuple[str, int]]) -> None:
        new = known - self.answers.keys()
        current = {(name, adapter["current"]) for name, adapter in listed.items()}
        assert current <= known, f"{current - known} answer and are not there"
        old = sorted(known - new - current)
        for key in sorted(new | current | set(self.random.sample(old, min(1, len(old))))):
            name, version = key
            found = self.hotplate.json("generate", "-a", f"{name}@{version}", *GREEDY)["token_ids"]
            assert self.answers.setdefault(key, found) == found, f"{name}@{version} answers {found}, not {self.answers[key]}"

    def look_at_files(self) -> None:
        home = self.hotplate.home

        def unknown() -> list[str]:
            listed = {version["path"] for adapter in self.listed().values() for version in adapter["versions"]}
            stored = {str(file.parent) for file in home.glob("adapters/*/*/adapter_config.json")}
            return sorted(stored - listed)

        # A resumed run may end right now: its folder appears whole, then its row.
        if unknown():
            wait_until(lambda: not unknown(), f"these to be known: {unknown()}", seconds=10, every=0.1)
        halves = [path.name for path in home.glob("packed/*.part")] + [path.name for path in home.glob("*.new")]
        halves += [path.name for path in home.glob("adapters/*/.entering-*")]
        halves += [path.name for path in home.glob("exports/*")]
        assert not halves, f"left half-done: {halves}"
        open_to_others = [str(path) for path in home.rglob("*") if not path.is_symlink() and path.exists() and path.stat().st_mode & 0o077]
        assert not open_to_others, f"open to others: {open_to_others}"

    def look_at_exports(self) -> None:
        assert self.letter.read_text() == "Dear", "a file of the user's is lost"
        halves = [str(path) for path in self.out.rglob(".hotplate-export-*")]
        assert not halves, f"half of an export is left: {halves}"
        assert (self.out / "peft").is_dir(), "the earlier export is lost"
        for place in [path for path in self.out.rglob("*") if (path / "adapter_config.json").is_file()]:
            listed = json.loads((place / MARK).read_text())["files"]
            assert all((place / file).is_file() for file in listed), f"{place} is not whole"
        for place in [path for path in self.out.rglob("*") if path.is_dir() and (path / "config.json").is_file()]:
            assert (place / MARK).is_file() and (place / "model.safetensors").stat().st_size > 10_000_000, f"{place} is not whole"
        for file in self.out.glob("*.gguf"):
            assert file.read_bytes()[:4] == b"GGUF" and file.stat().st_size > 10_000, f"{file} is not whole"
        # Room: what moved aside is the user's to delete.
        for aside in sorted(self.out.glob("*.earlier-*"))[:-2]:
            shutil.rmtree(aside) if aside.is_dir() else aside.unlink()

    def pulled(self) -> bytes | None:
        """The weights that whoever asks for the model would find."""
        model = self.root / "hf" / "hub" / f"models--{MODEL.replace('/', '--')}"
        ref = model / "refs" / "main"
        if not ref.is_file() or not ref.read_text():
            return None
        file = model / "snapshots" / ref.read_text() / "model.safetensors"
        return file.read_bytes() if file.is_file() else b""

    def look_at_the_cache(self) -> None:
        found = self.pulled()
        assert found in (None, self.hub.files["model.safetensors"]), "the hub's cache has half a model under its name"
        model = self.root / "hf" / "hub" / f"models--{MODEL.replace('/', '--')}"
        for blob in model.glob("blobs/*"):
            if blob.suffix != ".incomplete" and len(blob.name) == 64:
                assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name, f"{blob} is damaged"

    def figures(self) -> str:
        each = ", ".join(f"{what} {self.killed[what]} of {self.killed[what] + self.finished[what]}" for what in sorted(self.takes))
        return f"{self.killed.total() + self.finished.total()} kills (in the middle of it: {each}), {len(self.answers)} versions"
