"""`hotplate pull` against a hub of our own: what is fetched, where it lies, what interrupts it, and what is said."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from checkpoints import Shape, write_checkpoint
from fake_hub import COMMIT, FakeHub, model_files
from hotplate_process import Hotplate

NAME = "nobody/tiny-llama"
EXTRA = {
    "README.md": b"# words\n",
    "pytorch_model.bin": b"x" * 1000,
    "onnx/model.onnx": b"x" * 1000,
    "model.gguf": b"x" * 1000,
    ".gitattributes": b"",
    "additional_chat_templates/tool_use.jinja": b"T",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """A sharded checkpoint and what else repositories hold."""
    folder = write_checkpoint(tmp_path_factory.mktemp("hub") / "model", Shape(max_shard_size="60KB"))
    return model_files(folder) | EXTRA


@pytest.fixture
def here(hotplate, tmp_path) -> Hotplate:
    """A home whose hub cache is its own."""
    hotplate.variables |= {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": "", "HF_TOKEN": ""}
    hotplate.cache = tmp_path / "hf" / "hub" / f"models--{NAME.replace('/', '--')}"
    return hotplate


def at(hotplate: Hotplate, hub: FakeHub) -> Hotplate:
    hotplate.variables["HF_ENDPOINT"] = hub.url
    return hotplate


def snapshot(hotplate) -> Path:
    return hotplate.cache / "snapshots" / COMMIT


def wanted(files: dict[str, bytes]) -> set[str]:
    return {name for name in files if name not in EXTRA or name.endswith("tool_use.jinja")}


def test_it_fetches_what_a_base_needs_and_the_base_works_offline(here, files, tmp_path):
    with FakeHub(NAME, files) as hub:
        lines = at(here, hub).run("pull", NAME, "--json").lines
        last = lines[-1]
        assert last["event"] == "pulled" and last["model"] == NAME and last["commit"] == COMMIT
        assert Path(last["folder"]) == snapshot(here)
        assert [line["event"] for line in lines[:-1]] == ["progress"] * (len(lines) - 1)
        assert lines[-2]["bytes"] == lines[-2]["total_bytes"] == last["bytes"] == last["fetched_bytes"]
        got = {path.relative_to(snapshot(here)).as_posix() for path in snapshot(here).rglob("*") if path.is_file()}
        assert got == wanted(files)
        for name in got:
            path = snapshot(here) / name
            assert path.read_bytes() == files[name]
            assert path.is_symlink() and not os.path.isabs(os.readlink(path))
            kind = hashlib.sha256 if name.endswith(".safetensors") else hashlib.sha1
            assert path.resolve() == (here.cache / "blobs" / kind(files[name]).hexdigest()).resolve()
        assert (here.cache / "refs" / "main").read_text() == COMMIT
        before = len(hub.fetched())
        again = here.run("pull", NAME)
        assert "everything was here already" in again.out and len(hub.fetched()) == before

    # The hub is gone.
    here.variables["HF_HUB_OFFLINE"] = "1"
    answer = here.json("generate", "--base", NAME, "--raw", "--temperature", 0, "--max-tokens", 4, "It's raining")
    assert answer["base"] == NAME
    assert here.json("score", "--base", f"{NAME}@{COMMIT}", _note(tmp_path))["base"] == NAME

    from huggingface_hub import snapshot_download

    found = snapshot_download(NAME, cache_dir=tmp_path / "hf" / "hub", local_files_only=True)
    assert Path(found) == snapshot(here)


def _note(folder: Path) -> Path:
    (folder / "note.txt").write_text("It's raining again.\n")
    return folder / "note.txt"


def test_what_the_hubs_own_program_has_fetched_is_found(here, files, tmp_path):
    from huggingface_hub import snapshot_download
    from huggingface_hub import constants

    with FakeHub(NAME, files) as hub:
        offline, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
        try:
            snapshot_download(NAME, cache_dir=tmp_path / "hf" / "hub", endpoint=hub.url, max_workers=1)
        finally:
            constants.HF_HUB_OFFLINE = offline
        before = len(hub.fetched())
        assert at(here, hub).json("pull", NAME)["fetched_bytes"] == 0
        assert len(hub.fetched()) == before
    assert here.json("generate", "--base", NAME, "--raw", "--max-tokens", 2, "Hello")["base"] == NAME


def test_adapters_name_the_base_by_its_id(here, files, folder):
    with FakeHub(NAME, files) as hub:
        at(here, hub).run("pull", NAME)
    result = here.json("train", folder, "--base", NAME, "--max-steps", 1)
    config = json.loads((Path(result["path"]) / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == NAME


def test_a_cut_connection_is_taken_up_where_it_broke(here, files):
    shard = max((name for name in files if name.endswith(".safetensors")), key=lambda name: len(files[name]))
    with FakeHub(NAME, files, cuts=[1000, 2000]) as hub:
        at(here, hub).run("pull", NAME)
        starts = [request.headers.get("Range") for request in hub.requests if request.path.startswith("/store/")]
        assert "bytes=1000-" in starts
        assert (snapshot(here) / shard).read_bytes() == files[shard]


def test_after_giving_up_the_same_command_goes_on(here, files):
    first = sorted(name for name in files if name.endswith(".safetensors"))[0]
    with FakeHub(NAME, files, cuts=[5000] + [0] * 20) as hub:
        at(here, hub).fails("pull", NAME, naming=[first, "the same command goes on"])
        assert not (here.cache / "refs" / "main").exists()
        here.fails("generate", "--base", NAME, "Hello", naming=[NAME, f"hotplate pull {NAME}"])
        hub.cuts.clear()
        hub.requests.clear()
        here.run("pull", NAME)
        starts = [request.headers.get("Range") for request in hub.requests if request.path == f"/store/{first}"]
        assert starts == ["bytes=5000-"]
        assert (snapshot(here) / first).read_bytes() == files[first]


def test_an_interrupted_pull_leaves_its_part(here, files):
    slow = dict(files)
    with FakeHub(NAME, slow, cuts=[10_000] * 3 + [0] * 100) as hub:
        running = at(here, hub).start("pull", NAME)
        deadline = time.monotonic() + 30
        while not list(here.cache.glob("blobs/*.incomplete")) and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        running.wait(20)
        assert running.returncode == 130
        hub.cuts.clear()
        here.run("pull", NAME)
    assert not list(here.cache.glob("blobs/*.incomplete"))


@pytest.mark.parametrize("fault", [{"no_ranges": True, "cuts": [3000]}, {"no_head": True}])
def test_odd_servers_do(here, files, fault):
    with FakeHub(NAME, files, **fault) as hub:
        at(here, hub).run("pull", NAME)
    for name in wanted(files):
        assert (snapshot(here) / name).read_bytes() == files[name]


def test_damage_is_noticed_and_thrown_away(here, files):
    name = sorted(name for name in files if name.endswith(".safetensors"))[-1]
    with FakeHub(NAME, files, spoilt={name: b"\0" * len(files[name])}) as hub:
        at(here, hub).fails("pull", NAME, naming=[name, "damaged"])
        hub.spoilt.clear()
        here.run("pull", NAME)
        assert (snapshot(here) / name).read_bytes() == files[name]


def test_a_revision_can_be_named(here, files):
    with FakeHub(NAME, files, revisions=("main", "v2")) as hub:
        assert at(here, hub).json("pull", NAME, "--revision", "v2")["revision"] == "v2"
        assert (here.cache / "refs" / "v2").read_text() == COMMIT
        here.fails("pull", NAME, "--revision", "v9", naming=["v9", "revision"])
    assert here.json("generate", "--base", f"{NAME}@v2", "--raw", "--max-tokens", 2, "Hello")["base"] == NAME


def test_the_token_goes_to_the_hub_and_nowhere_else(here, files):
    with FakeHub(NAME, files, token="hf_secret") as hub:
        at(here, hub).fails("pull", NAME, naming=["accept its terms", "HF_TOKEN"])
        here.variables["HF_TOKEN"] = "hf_secret"
        here.run("pull", NAME)
        for request in hub.requests:
            if request.path.startswith("/store/"):
                assert "Authorization" not in request.headers


def test_faults_are_named(here, files):
    with FakeHub(NAME, files) as hub:
        at(here, hub).fails("pull", "nobody/missing", naming=["nobody/missing", "spelling"])
        here.fails("pull", "missing", naming=["ORG/NAME"])
        here.fails("pull", "../etc/passwd", naming=["ORG/NAME"])
        hub.status = 500
        here.fails("pull", NAME, naming=["500"])
        hub.status, hub.error_code = 403, "GatedRepo"
        here.fails("pull", NAME, naming=[NAME, "terms"])
    only_bin = {name: content for name, content in files.items() if not name.endswith(".safetensors")}
    with FakeHub(NAME, only_bin) as hub:
        at(here, hub).fails("pull", NAME, naming=["safetensors"])
    with FakeHub(NAME, {"README.md": b""}) as hub:
        at(here, hub).fails("pull", NAME, naming=["config.json"])


def test_offline_is_said_at_once(here):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        here.variables["HF_ENDPOINT"] = f"http://127.0.0.1:{free.getsockname()[1]}"
    result = here.fails("pull", NAME, naming=["offline", "--base"])
    assert result.seconds < 5 and len(result.err.strip().splitlines()) == 1
    here.variables["HF_HUB_OFFLINE"] = "1"
    here.fails("pull", NAME, naming=["HF_HUB_OFFLINE"])
    assert not here.daemons(), "a pull needs no daemon"


def test_a_place_that_cannot_be_written_is_named(here, files, tmp_path):
    (tmp_path / "file").write_text("")
    here.variables["HF_HOME"] = str(tmp_path / "file")
    with FakeHub(NAME, files) as hub:
        at(here, hub).fails("pull", NAME, naming=[str(tmp_path / "file"), "HF_HOME"])
