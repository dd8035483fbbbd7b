"""Bad input gets one clear error that names the thing and the remedy; the daemon lives on and nothing saved is lost."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import struct
import subprocess
import threading
import time
from pathlib import Path

import gguf_files
import pytest
from hotplate_process import Hotplate, Result, short_folder, wait_until
from notes import notes, write_notes
from raw_client import RawClient
from safetensors.torch import load_file, save_file

GREEDY = ["--temperature", 0, "--max-tokens", 8]


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """A daemon with one adapter, before anything bad comes."""
    hotplate = Hotplate(short_folder())
    try:
        folder = write_notes(tmp_path_factory.mktemp("data") / "saved")
        hotplate.run("train", folder, "--max-steps", 4)
        yield hotplate
    finally:
        hotplate.close()


@pytest.fixture
def serving(settled):
    """The same after each test: the same process, the same version, the same answer."""

    def state():
        answer = settled.json("generate", "-a", "saved", *GREEDY, "Hello")["token_ids"]
        listed = settled.json("adapters")["adapters"]
        return settled.daemons(), answer, [adapter for adapter in listed if adapter["name"] == "saved"]

    before = state()
    assert len(before[0]) == 1
    yield settled
    assert state() == before


class TestFolder:
    COMMANDS = ["train", "watch", "check"]

    @pytest.mark.parametrize("command", COMMANDS)
    def test_that_does_not_exist(self, serving, tmp_path, command):
        serving.fails(command, tmp_path / "gone", naming=["gone", "check the path"])

    @pytest.mark.parametrize("command", COMMANDS)
    def test_that_is_a_file(self, serving, tmp_path, command):
        (tmp_path / "letter.txt").write_text("Dear you,")
        serving.fails(command, tmp_path / "letter.txt", naming=["letter.txt", "folder"])

    def test_without_examples(self, serving, tmp_path):
        (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8")
        serving.fails("train", tmp_path, naming=[tmp_path.name, "no example", ".txt"])

    def test_with_nothing_but_findings(self, serving, tmp_path):
        (tmp_path / "a.txt").write_text("\n")
        (tmp_path / "b.jsonl").write_text('{"text": "broken\n')
        serving.fails("train", tmp_path, naming=["no example"])
        checked = serving.json("check", tmp_path)
        assert [finding["code"] for finding in checked["findings"]] == ["HP001", "HP003"]

    def test_with_one_example(self, serving, tmp_path):
        (tmp_path / "a.txt").write_text("The only note.")
        serving.fails("train", tmp_path, naming=["one example", "at least 2"])

    def test_with_every_kind_of_finding(self, serving, tmp_path):
        (tmp_path / "a.txt").write_text("A fine note.\n---\nA fine note.\n---\n\n---\nAnother.\n")
        (tmp_path / "b.jsonl").write_bytes(
            b'{"text": "fine"}\n{"text" "no colon"}\n{"words": 1}\n{"text": "caf\xff\x81"}\n{"text": 5}\n'
            b'{"messages": [{"role": "narrator", "content": "x"}]}\n{"messages": [{"role": "user", "content": "x"}]}\n'
        )
        (tmp_path / "c.txt").write_text(" ".join(f"word {number}" for number in range(2500)))
        (tmp_path / "d.docx").write_bytes(b"PK")
        (tmp_path / "e.txt").symlink_to(tmp_path / "nowhere")
        checked = serving.json("check", tmp_path)
        codes = [finding["code"] for finding in checked["findings"]]
        assert sorted(codes) == [f"HP{code:03}" for code in (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12)]
        for finding in checked["findings"]:
            assert finding["remedy"] and finding["message"] and finding["lines"][0] >= 1
        broken = next(finding for finding in checked["findings"] if finding["code"] == "HP003")
        assert (broken["file"], broken["lines"], broken["column"]) == ("b.jsonl", [2, 2], 9)
        shown = serving.run("check", tmp_path).out
        assert "b.jsonl:2" in shown and "a.txt:1" in shown

    def test_a_line_of_50_megabytes(self, serving, tmp_path):
        write_notes(tmp_path)
        with (tmp_path / "records.jsonl").open("a") as file:
            file.write('{"text": "')
            for _ in range(50):
                file.write("x" * (1 << 20))
            file.write('"}\n{"text": "the next one"}\n')
        peak = serving.status()["peak_rss_bytes"]
        result = serving.run("check", tmp_path, "--json")
        assert result.seconds < 10
        assert [finding["code"] for finding in result.last["findings"]] == ["HP007"]
        assert result.last["examples"] == 25
        assert serving.status()["peak_rss_bytes"] - peak < 40 << 20
        assert serving.json("train", tmp_path, "--max-steps", 2, "-a", "large-line")["version"] == 1

    def test_files_that_come_and_go_while_they_are_read(self, serving, tmp_path):
        write_notes(tmp_path)
        stop = threading.Event()

        def churn() -> None:
            text = "\n---\n".join(notes(60, 100))
            while not stop.is_set():
                for number in range(30):
                    (tmp_path / f"passing-{number}.txt").write_text(text)
                for number in range(30):
                    (tmp_path / f"passing-{number}.txt").unlink()

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            seen = set()
            for _ in range(25):
                checked = serving.json("check", tmp_path)
                assert checked["examples"] >= 24
                seen |= {finding["code"] for finding in checked["findings"]}
            assert seen <= {"HP001", "HP002", "HP008"}, seen
            assert serving.json("train", tmp_path, "--max-steps", 2, "-a", "churn")["version"] == 1
        finally:
            stop.set()
            thread.join()


class TestBase:
    @pytest.fixture
    def base(self, checkpoint, tmp_path) -> Path:
        return Path(shutil.copytree(checkpoint("shards"), tmp_path / "my-base"))

    @pytest.fixture
    def refused(self, serving, tmp_path):
        data = write_notes(tmp_path / "data")

        def refused(base: Path, *naming: str) -> None:
            serving.fails("generate", "--base", base, "Hello", naming=list(naming))
            serving.fails("train", data, "--base", base, naming=list(naming))

        return refused

    def change_config(self, base: Path, **values) -> None:
        path = base / "config.json"
        config = json.loads(path.read_text()) | values
        path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))

    def test_no_such_folder(self, refused, tmp_path):
        refused(tmp_path / "nowhere", "nowhere")

    def test_a_missing_shard(self, refused, base):
        shard = sorted(base.glob("model-*.safetensors"))[3]
        shard.unlink()
        refused(base, shard.name)

    def test_no_weights(self, refused, base):
        for file in base.glob("model*"):
            file.unlink()
        refused(base, "safetensors")

    def test_a_wrong_shape(self, refused, base):
        index = json.loads((base / "model.safetensors.index.json").read_text())["weight_map"]
        name = "model.layers.1.mlp.up_proj.weight"
        path = base / index[name]
        tensors = load_file(path)
        tensors[name] = tensors[name][:-1].clone()
        save_file(tensors, path, metadata={"format": "pt"})
        refused(base, name, "144", "143")

    def test_a_missing_tensor(self, refused, base):
        path = base / "model.safetensors.index.json"
        index = json.loads(path.read_text())
        shard = base / index["weight_map"].pop("model.norm.weight")
        path.write_text(json.dumps(index))
        tensors = load_file(shard)
        del tensors["model.norm.weight"]
        save_file(tensors, shard, metadata={"format": "pt"})
        refused(base, "model.norm.weight")

    def test_an_unknown_architecture(self, refused, base):
        self.change_config(base, architectures=["GPT2LMHeadModel"], model_type="gpt2")
        refused(base, "GPT2LMHeadModel", "LlamaForCausalLM")

    @pytest.mark.parametrize("keep", [0, 4, 300, -50])
    def test_cut_weights(self, refused, base, keep):
        shard = sorted(base.glob("model-*.safetensors"))[0]
        shard.write_bytes(shard.read_bytes()[:keep])
        refused(base, shard.name)

    @pytest.mark.parametrize("length", [1 << 30, 1 << 62, (1 << 64) - 1])
    def test_a_header_that_lies_about_its_length(self, refused, base, length):
        shard = sorted(base.glob("model-*.safetensors"))[0]
        shard.write_bytes(struct.pack("<Q", length) + shard.read_bytes()[8:])
        refused(base, shard.name)

    def test_noise_for_weights(self, refused, base):
        shard = sorted(base.glob("model-*.safetensors"))[0]
        shard.write_bytes(random.Random(1).randbytes(5000))
        refused(base, shard.name)

    @pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
    @pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff\xfe"])
    def test_a_missing_or_broken_file(self, refused, base, name, content):
        (base / name).unlink()
        if content is not None:
            (base / name).write_bytes(content)
        refused(base, name)

    @pytest.mark.parametrize(
        "values",
        [
            {"hidden_size": None},
            {"hidden_size": 0},
            {"hidden_size": "many"},
            {"num_attention_heads": 0},
            {"num_attention_heads": 3, "num_key_value_heads": 2},
            {"num_hidden_layers": 1 << 40},
            {"vocab_size": 1 << 60},
            {"head_dim": 15},
            {"rope_parameters": {"rope_type": "spiral", "rope_theta": 10000.0, "factor": 4.0}},
            {"hidden_act": "gelu"},
        ],
        ids=lambda values: "-".join(values),
    )
    def test_a_config_that_cannot_be(self, refused, base, values):
        self.change_config(base, **values)
        refused(base)

    def test_a_broken_template(self, refused, base, serving):
        (base / "chat_template.jinja").write_text("{% for message in messages %}{{ message['content'] }}")
        serving.fails("generate", "--base", base, "Hello", naming=["template"])
        # Without the template the base still works.
        assert serving.json("generate", "--base", base, "--raw", "--max-tokens", 2, "Hello")["token_ids"]


@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
def test_a_base_whose_file_is_cut_off_under_the_daemon(serving, checkpoint, tmp_path, kind):
    """Weights are read in their file at first. Soon after, nobody who writes to it can do harm."""
    base = file = tmp_path / "m.gguf"
    if kind == "gguf":
        gguf_files.write(checkpoint("plain"), base)
    else:
        base = tmp_path / "base"
        shutil.copytree(checkpoint("plain"), base)
        file = base / "model.safetensors"
    asked = ("generate", "--base", base, "--raw", *GREEDY, "Hello")
    answer = serving.json(*asked)["token_ids"]
    process = serving.daemons()[0]
    maps = Path(f"/proc/{process}/maps")
    if maps.exists():
        wait_until(lambda: str(file) not in maps.read_text(), "the weights to be copied", seconds=10)
    else:
        time.sleep(1)
    assert serving.json(*asked)["token_ids"] == answer
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)
    serving.fails(*asked, naming=[file.name])
    assert serving.daemons() == [process]


class TestConnection:
    def check_others_are_served(self, serving) -> None:
        with RawClient(serving.socket) as client:
            client.session()
            assert client.call("daemon/status")["pid"] == serving.daemons()[0]

    @pytest.mark.parametrize(
        "garbage",
        [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(2000),
            random.Random(2).randbytes(100_000),
            b"\r\n\r\n",
            b"Content-Length: -5\r\n\r\n",
            b"Content-Length: 99999999999999999999999999\r\n\r\n",
            b"Content-Length: 5; DROP\r\n\r\nhello",
            b"A: b\r\n" * 5000,
            b"x" * 5_000_000,
        ],
        ids=["http", "tls", "noise", "empty", "negative", "huge", "words", "headers", "endless"],
    )
    def test_garbage(self, serving, garbage):
        with RawClient(serving.socket) as client:
            try:
                client.send_bytes(garbage)
            except (BrokenPipeError, ConnectionResetError):
                pass
            else:
                assert client.is_closed(), "the daemon waits for more of this"
        self.check_others_are_served(serving)

    def test_half_a_frame_and_gone(self, serving):
        for half in (b"Content-Le", b"Content-Length: 100\r\n", b'Content-Length: 100\r\n\r\n{"jsonrpc"'):
            with RawClient(serving.socket) as client:
                client.send_bytes(half)
        with RawClient(serving.socket) as client:
            client.session()
            client.send_bytes(b'Content-Length: 100\r\n\r\n{"jsonrpc"')
        self.check_others_are_served(serving)
        wait_until(lambda: serving.status()["sessions"] <= 1, "the broken sessions to be gone", seconds=10)

    def test_half_a_frame_and_silence(self, serving):
        with RawClient(serving.socket) as client:
            client.send_bytes(b'Content-Length: 100\r\n\r\n{"jsonrpc"')
            self.check_others_are_served(serving)

    def test_a_gigabyte_is_announced(self, serving):
        before = serving.status()["rss_bytes"]
        with RawClient(serving.socket) as client:
            client.session()
            client.send_bytes(b"Content-Length: 1073741824\r\n\r\n" + b"x" * 100_000)
            assert client.is_closed()
        self.check_others_are_served(serving)
        assert serving.status()["rss_bytes"] - before < 20 << 20

    @pytest.mark.parametrize("body", [b"{", b"\xff\xff", b"[" * 100_000, b""], ids=["half", "bytes", "deep", "empty"])
    def test_a_frame_without_json_is_answered(self, serving, body):
        with RawClient(serving.socket) as client:
            client.session()
            client.send_body(body)
            answer = client.receive()
            assert answer["error"]["code"] == -32700 and answer["id"] is None and answer["error"]["message"]
        self.check_others_are_served(serving)

    def test_json_that_is_no_message_is_answered(self, serving):
        with RawClient(serving.socket) as client:
            client.session()
            for body in (b"[]", b"3", b'{"jsonrpc": "1.0", "id": 1, "method": "daemon/status"}'):
                client.send_body(body)
                assert client.receive()["error"]["code"] == -32600, body
            # The stream has kept its place: the session goes on.
            assert client.call("daemon/status")["pid"]

    def test_requests_that_do_not_fit(self, serving):
        with RawClient(serving.socket) as client:
            client.session()
            assert client.call_error("no/such/method")["code"] == -32601
            for params in ({}, [], 3, {"prompt": 5}, {"prompt": "x", "sampling": {"temperature": "hot"}}):
                assert client.call_error("generate/start", params)["code"] == -32602, params
            for sampling in ({"temperature": -1}, {"top_p": 2}, {"repetition_penalty": 0}):
                assert client.call_error("generate/start", {"prompt": "x", "sampling": sampling})["code"] == -32602
            assert client.call_error("train/start", {"folder": "relative/path"})["code"] in (-32602, -32098)

    def test_a_request_before_the_handshake(self, serving):
        with RawClient(serving.socket) as client:
            assert client.call_error("daemon/status")["code"] == -32600
        self.check_others_are_served(serving)

    @pytest.mark.parametrize("protocol", [{"min": 99, "max": 99}, {"min": 0, "max": 0}])
    def test_another_version(self, serving, protocol):
        with RawClient(serving.socket) as client:
            error = client.hello(protocol)["error"]
        assert error["code"] == -32099
        assert error["data"]["client"] == protocol
        assert error["data"]["daemon"]["min"] <= error["data"]["daemon"]["max"]
        assert error["data"]["remedy"] and error["data"]["daemon_version"]
        self.check_others_are_served(serving)

    def test_a_crowd_of_silent_clients(self, serving):
        crowd = [RawClient(serving.socket) for _ in range(100)]
        try:
            self.check_others_are_served(serving)
        finally:
            for client in crowd:
                client.socket.close()
        wait_until(lambda: serving.status()["sessions"] <= 1, "the crowd to be gone", seconds=10)


class TestDaemon:
    def test_a_second_daemon(self, serving):
        first = serving.daemons()
        result = serving.run("daemon", check=False, timeout=10)
        said = result.out + result.err + serving.log[-2000:]
        assert str(first[0]) in said and "already" in said, result
        assert "panicked" not in said
        assert serving.daemons() == first

    def test_a_socket_that_a_dead_daemon_left(self, hotplate):
        hotplate.run("models")
        hotplate.kill()
        assert hotplate.socket.exists()
        assert hotplate.json("models")["models"]

    def test_a_file_in_the_place_of_the_socket(self, hotplate):
        hotplate.socket.write_text("not a socket")
        result = hotplate.run("models", check=False)
        # Either it is replaced (the lock's holder may), or named.
        assert result.code == 0 or "daemon.sock" in result.err, result

    def test_a_socket_path_that_is_too_long(self, hotplate, tmp_path):
        home = tmp_path / ("long" * 30)
        environment = hotplate.environment(HOTPLATE_HOME=str(home))
        hotplate.fails("models", env=environment, naming=["socket", "shorter", str(home)])
        hotplate.fails("daemon", env=environment, naming=["socket", "shorter"])
        assert not home.exists()

    def test_a_home_that_is_a_file(self, hotplate, tmp_path):
        (tmp_path / "home").write_text("")
        environment = hotplate.environment(HOTPLATE_HOME=str(tmp_path / "home"))
        hotplate.fails("models", env=environment, naming=["home", "folder"])

    @pytest.mark.parametrize("content", [b"", b"no database", random.Random(5).randbytes(20_000)])
    def test_a_store_that_is_none(self, hotplate, content):
        (hotplate.home / "store.sqlite").write_bytes(content)
        result = hotplate.run("adapters", check=False)
        assert "panicked" not in result.err + hotplate.log
        if content:
            # Never overwritten silently: it may be a person's only list of adapters.
            assert result.code != 0 and "store" in result.err, result
            assert (hotplate.home / "store.sqlite").read_bytes() == content
        else:
            assert result.code == 0, result


class TestFullDisk:
    @pytest.fixture
    def small_disk(self):
        """A home on 64 MB of its own."""
        home = short_folder()
        if os.geteuid() != 0:
            pytest.skip("only root can mount a small disk")
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", str(home)], capture_output=True, text=True
        )
        if mounted.returncode != 0:
            home.rmdir()
            pytest.skip(f"this machine mounts no tmpfs: {mounted.stderr.strip()}")
        hotplate = Hotplate(home)
        yield hotplate
        hotplate.kill()

        def unmounted() -> bool:
            # A killed process lets go of its files a moment after it has ended.
            return subprocess.run(["umount", str(home)], capture_output=True).returncode == 0

        wait_until(unmounted, "the small disk to be free", seconds=10, every=0.1)
        home.rmdir()

    def fill(self, home: Path, leave: int) -> Path:
        filler = home / "filler"
        free = os.statvfs(home)
        with filler.open("wb") as file:
            file.write(bytes(max(0, free.f_bavail * free.f_frsize - leave)))
        return filler

    def says_full(self, result: Result) -> None:
        assert re.search("disk is full|no space left", result.err, re.IGNORECASE), result

    @pytest.mark.parametrize("leave", [0, 8 << 10, 200 << 10])
    def test_a_run_that_finds_no_room(self, small_disk, folder, leave):
        first = small_disk.json("train", folder, "--max-steps", 4)
        assert first["version"] == 1
        answer = small_disk.json("generate", "-a", "notes", *GREEDY, "Hello")["token_ids"]
        daemon = small_disk.daemons()

        filler = self.fill(small_disk.home, leave)
        self.says_full(small_disk.fails("train", folder, "--max-steps", 4, naming=[]))
        assert small_disk.daemons() == daemon, "the daemon did not live on"
        assert small_disk.json("generate", "-a", "notes", *GREEDY, "Hello")["token_ids"] == answer

        filler.unlink()
        assert small_disk.json("train", folder, "--max-steps", 4)["version"] == 2
        versions = small_disk.json("adapters")["adapters"][0]["versions"]
        assert [Path(version["path"]).is_dir() for version in versions] == [True, True]
        assert {path.parent for path in small_disk.home.rglob("adapter_config.json")} == {
            Path(version["path"]) for version in versions
        }, "a half-written adapter stayed"

    def test_a_start_without_room(self, small_disk):
        filler = self.fill(small_disk.home, 0)
        self.says_full(small_disk.fails("models", naming=[]))
        filler.unlink()
        assert small_disk.json("models")["models"]

    def test_a_watched_folder_is_learnt_when_there_is_room_again(self, small_disk, folder):
        small_disk.run("train", folder, "--max-steps", 4)
        small_disk.run("watch", folder, "--max-steps", 4)
        filler = self.fill(small_disk.home, 0)
        (folder / "new.md").write_text("\n---\n".join(notes(8, 120)))
        time.sleep(6)
        assert len(small_disk.daemons()) == 1
        assert len(small_disk.json("adapters")["adapters"][0]["versions"]) == 1
        filler.unlink()
        (folder / "newer.md").write_text("\n---\n".join(notes(8, 140)))
        wait_until(
            lambda: len(small_disk.json("adapters")["adapters"][0]["versions"]) > 1 or "kept" in small_disk.log.lower(),
            "the saves to be learnt",
            seconds=60,
            every=0.3,
        )
