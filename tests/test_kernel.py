"""The installed kernel, as Jupyter meets it: jupyter_kernel_test's conformance tests, and what those do not ask.

Needs `hotplate` and `hotplate-kernel`; nothing of Jupyter's own configuration is read.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from queue import Empty

import jupyter_kernel_test
import pytest
import zmq
from jupyter_client.manager import start_new_kernel
from jupyter_client.session import Session

from hotplate_process import REPOSITORY, Hotplate, built, wait_until
from notebook_home import notebook_home
from notes import write_notes


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    """The kernel installed for Jupyter, a daemon's home, and a current folder with notes/."""
    with notebook_home(tmp_path_factory.mktemp("jupyter")) as running:
        yield running


class Conformance(jupyter_kernel_test.KernelTests):
    kernel_name = "hotplate"
    language_name = "hotplate"
    file_extension = ".hotplate"

    code_generate_error = "%check nowhere/"
    code_display_data = [
        {"code": "%check notes/", "mime": "text/html"},
        {"code": "%check notes/", "mime": "text/plain"},
        {"code": "%models", "mime": "text/html"},
        {"code": "%status", "mime": "text/html"},
    ]
    completion_samples = [
        {"text": "%tr", "matches": {"train"}},
        {"text": "%%ge", "matches": {"generate"}},
        {"text": "%us", "matches": {"use"}},
        {"text": "%check no", "matches": {"notes/"}},
        {"text": "%generate --max", "matches": {"--max-tokens"}},
        {"text": "%nonsense ", "matches": set()},
    ]
    complete_code_samples = ["", "# a comment", "%check notes/", "%train notes/ --epochs 3\n%status", "%train --help", "1 + 1"]
    incomplete_code_samples = ["%%generate -a notes", "%%generate\nWrite a note", "%train notes/ \\", "fn f() {", 'println!("']
    invalid_code_samples = ["%nonsense", "%train", "%generate 'open", "%%nonsense notes/\n", "f(1))"]
    code_inspect_sample = "%train"

    code_hello_world = 'println!("hello, world")'
    code_stderr = 'eprintln!("oh")'
    code_page_something = 'hotplate::page("a long text")'
    code_clear_output = "hotplate::clear_output(false)"
    code_execute_result = [{"code": "6 * 7", "result": "42"}, {"code": "6 * 8", "result": "48"}]
    code_history_pattern = "6 ?*7"
    supported_history_operations = ("tail", "range", "search")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The first Rust cell starts a compiler, which takes longer than a test waits.
        cls.kc.execute_interactive("1", timeout=120)


class Welcome(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = "hotplate"
    support_iopub_welcome = True


@pytest.fixture
def kernel():
    manager, client = start_new_kernel(kernel_name="hotplate")
    yield Kernel(manager, client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


class Kernel:
    def __init__(self, manager, client):
        self.manager = manager
        self.client = client

    def run(self, code: str, timeout: float = 60, **options) -> tuple[dict, list[dict]]:
        """Runs a cell: its reply, and its output in order."""
        identity = self.client.execute(code, **options)
        return self.rest(identity, timeout)

    def rest(self, identity: str, timeout: float = 60) -> tuple[dict, list[dict]]:
        output = []
        deadline = time.monotonic() + timeout
        while True:
            message = self.client.get_iopub_msg(timeout=max(deadline - time.monotonic(), 0.01))
            if message["parent_header"].get("msg_id") != identity:
                continue
            if message["msg_type"] == "status":
                if message["content"]["execution_state"] == "idle":
                    break
                continue
            if message["msg_type"] != "execute_input":
                output.append(message)
        while True:
            reply = self.client.get_shell_msg(timeout=10)
            if reply["parent_header"].get("msg_id") == identity:
                return reply["content"], output

    def until(self, kind: str, identity: str) -> dict:
        """The cell's next message of this kind."""
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") == identity:
                assert kind == "error" or message["msg_type"] != "error", message["content"]
                if message["msg_type"] == kind:
                    return message

    def interrupt(self) -> None:
        """By message, as kernel.json asks for."""
        self.manager.interrupt_kernel()


def text_of(output: list[dict]) -> str:
    return "".join(message["content"]["text"] for message in output if message["msg_type"] == "stream")


def kinds(output: list[dict]) -> list[str]:
    return [message["msg_type"] for message in output]


def told_of_the_toy(kernel):
    """A notebook in which nobody chose a base says so once, below the first cell that uses the toy."""
    for times in [1, 0]:
        reply, output = kernel.run("%generate --max-tokens 1 --seed 1 Hello")
        assert reply["status"] == "ok", reply
        assert sum("No base is chosen" in str(message) for message in output) == times


def test_training_is_one_live_display(kernel):
    told_of_the_toy(kernel)
    start = time.monotonic()
    reply, output = kernel.run("%train notes/ -a live --max-steps 30 --seed 1", timeout=180)
    seconds = time.monotonic() - start
    assert reply["status"] == "ok", reply
    assert set(kinds(output)) <= {"display_data", "update_display_data"}
    shown = [message for message in output if message["msg_type"] == "display_data"]
    assert len(shown) == 3, "the plan, the run, and what came of it"
    identity = shown[1]["content"]["transient"]["display_id"]
    updates = [message for message in output if message["msg_type"] == "update_display_data"]
    assert updates and all(update["content"]["transient"]["display_id"] == identity for update in updates)
    assert len(updates) <= 5 * seconds + 2
    last = updates[-1]["content"]["data"]
    assert "100 %" in last["text/plain"]
    # For front ends that show no updates.
    assert output[-1] is shown[2] and "live version 1 is ready" in shown[2]["content"]["data"]["text/plain"]
    assert "<svg" in last["text/html"] and "<script" not in last["text/html"]

    reply, output = kernel.run("%%generate -a live --max-tokens 20 --seed 1\nWrite a short note.")
    assert reply["status"] == "ok", reply
    assert set(kinds(output)) == {"stream"} and text_of(output).strip()

    reply, output = kernel.run("%%generate -a live --max-tokens 20 --seed 1 --json\nWrite a short note.")
    last = json.loads(text_of(output).splitlines()[-1])
    assert last["adapter"] == "live@1" and 0 < len(last["token_ids"]) <= 20


def test_an_error_says_what_where_and_what_next(kernel):
    reply, output = kernel.run("# two lines above\n\n%check nowhere/")
    assert (reply["status"], reply["ename"]) == ("error", "NotFound"), reply
    assert kinds(output) == ["error"]
    assert "nowhere" in reply["evalue"]
    assert any("line 3" in line for line in reply["traceback"])
    reply, _ = kernel.run("%generate -a nobody hello")
    assert reply["ename"] == "UnusableAdapter" and "nobody" in reply["evalue"], reply


def test_an_interrupt_cancels_generation(kernel):
    # The base's context is full after a moment: one answer may be over before the interrupt arrives.
    answers = ["%generate --max-tokens 200000 --ignore-eos --seed 1 'Write a long note.'"] * 40
    identity = kernel.client.execute("\n".join(answers))
    kernel.until("stream", identity)
    start = time.monotonic()
    kernel.interrupt()
    reply, output = kernel.rest(identity)
    assert time.monotonic() - start < 5
    assert reply["status"] == "error" and reply["ename"] == "Cancelled" and kinds(output)[-1] == "error"
    reply, output = kernel.run("%generate --max-tokens 5 --seed 1 hello")
    assert reply["status"] == "ok" and text_of(output).strip()


def test_an_interrupt_ends_the_showing_and_cancel_ends_the_run(kernel, home: Hotplate):
    identity = kernel.client.execute("%train notes/ -a interrupted --max-steps 5000 --epochs 2000 --seed 1")
    kernel.until("update_display_data", identity)
    kernel.interrupt()
    reply, output = kernel.rest(identity)
    assert reply["ename"] == "Interrupted" and "%attach" in reply["evalue"], reply
    assert [run["adapter"] for run in home.json("status")["runs"]] == ["interrupted"]

    identity = kernel.client.execute("%attach")
    kernel.until("display_data", identity)
    shown = kernel.until("update_display_data", identity)
    assert "Training interrupted" in shown["content"]["data"]["text/plain"], shown
    kernel.interrupt()
    assert kernel.rest(identity)[0]["ename"] == "Interrupted"

    reply, output = kernel.run("%cancel")
    assert reply["status"] == "ok" and "was cancelled" in output[0]["content"]["data"]["text/plain"]
    assert home.json("status")["runs"] == []
    assert kernel.run("%cancel")[0]["ename"] == "NoRun"
    _, output = kernel.run("%adapters --json")
    names = [adapter["name"] for adapter in json.loads(text_of(output))["adapters"]]
    assert "interrupted" not in names


def test_texts_of_a_cell_are_learnt_by_the_watch(kernel, tmp_path: Path):
    folder = write_notes(tmp_path / "cells")
    assert kernel.run(f"%train '{folder}' --max-steps 20 --seed 1", timeout=180)[0]["status"] == "ok"
    assert kernel.run(f"%watch '{folder}'")[0]["status"] == "ok"
    texts = "\n---\n".join(f"The bakery at number {number} sells {number} kinds of bread, and I like {what} best." for number, what in enumerate(["rye", "spelt", "maize", "oat", "plait", "rolls"], 3))
    reply, output = kernel.run(f"%%examples '{folder}'\n{texts}", timeout=180)
    assert reply["status"] == "ok", reply
    assert (folder / "cell-1.md").read_text() == texts + "\n"
    assert "Written to " in output[0]["content"]["data"]["text/plain"]
    picture, outcome = (message["content"]["data"]["text/plain"] for message in output[-2:])
    assert "cell-1.md was saved" in picture and "cells version 2 is ready" in outcome, output[-2:]
    kernel.run(f"%unwatch '{folder}'")

    reply, output = kernel.run("%use cells\n%compare --seed 1 --max-tokens 12 'Write a note.'\n%generate --n 2 --seed 1 --max-tokens 8 'Write a note.'")
    assert reply["status"] == "ok", reply
    compared = [message["content"]["data"]["text/plain"] for message in output if "no measurement" in str(message)]
    assert compared and "cells@" in compared[-1]
    assert "2 of 2 (seed 2" in output[-1]["content"]["data"]["text/plain"]


def test_a_restart_costs_no_run(kernel, home: Hotplate):
    identity = kernel.client.execute("%train notes/ -a survivor --max-steps 60 --epochs 2000 --seed 1")
    kernel.until("update_display_data", identity)
    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=30)

    def survivor():
        return [adapter for adapter in home.json("adapters")["adapters"] if adapter["name"] == "survivor"]

    wait_until(survivor, "the run to end without its kernel", seconds=120, every=0.2)


def test_the_daemon_may_die(kernel, home: Hotplate):
    assert kernel.run("%models")[0]["status"] == "ok"
    identity = kernel.client.execute("%generate --max-tokens 200000 --ignore-eos --seed 1 hello")
    kernel.until("stream", identity)
    home.kill()
    reply, _ = kernel.rest(identity)
    assert reply["ename"] == "Disconnected" and "run the command again" in reply["evalue"], reply
    assert kernel.run("%models")[0]["status"] == "ok"


def test_saving_a_folder_is_watched_from_a_cell(kernel, tmp_path: Path):
    told_of_the_toy(kernel)
    write_notes(tmp_path / "watched")
    reply, output = kernel.run(f"%watch '{tmp_path}/watched' -a watched-in-a-cell")
    assert reply["status"] == "ok" and kinds(output) == ["display_data"], reply
    assert "watched-in-a-cell" in output[0]["content"]["data"]["text/plain"]
    reply, _ = kernel.run(f"%unwatch '{tmp_path}/watched'")
    assert reply["status"] == "ok"


def test_a_second_client_that_subscribes_late(kernel):
    """pyzmq's and VS Code's way: ask first, subscribe when everything else stands; several sockets on each channel."""
    info = kernel.manager.get_connection_info()
    session = Session(key=info["key"])
    context = zmq.Context()
    # A context that is forgotten with a message in a socket waits for ever in the collector, in whatever test is running then.
    context.linger = 0
    address = lambda channel: f"tcp://{info['ip']}:{info[channel + '_port']}"
    shells = [context.socket(zmq.DEALER) for _ in range(2)]
    for shell in shells:
        shell.connect(address("shell"))
        session.send(shell, "kernel_info_request", {})

    def receive(socket) -> dict:
        assert socket.poll(10_000), "nothing came"
        # One of its own: a session takes the same broadcast, read from a second socket, for a replay.
        reader = Session(key=info["key"])
        _, frames = reader.feed_identities(socket.recv_multipart())
        return reader.deserialize(frames)

    for shell in shells:
        assert receive(shell)["content"]["status"] == "ok"
    iopubs = []
    for _ in range(2):
        iopub = context.socket(zmq.SUB)
        iopub.subscribe(b"")
        iopub.connect(address("iopub"))
        iopubs.append(iopub)
        first = receive(iopub)
        assert first["msg_type"] == "iopub_welcome", first
        # A reply goes out before the state that ends it: the kernel may rightly still be busy with what was asked above.
        states = [receive(iopub)["content"]["execution_state"]]
        while states[-1] != "idle":
            states.append(receive(iopub)["content"]["execution_state"])
        assert states in (["idle"], ["busy", "idle"]), states
    content = {"code": "%help check", "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
    request = session.send(shells[1], "execute_request", content)
    reply = receive(shells[1])
    assert (reply["msg_type"], reply["parent_header"]["msg_id"]) == ("execute_reply", request["header"]["msg_id"])
    assert not shells[0].poll(100), "a reply went to a socket that has not asked"
    for iopub in iopubs:
        seen = []
        while "idle" not in seen:
            message = receive(iopub)
            if message["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                seen.append(message["content"].get("execution_state", message["msg_type"]))
        assert seen == ["busy", "execute_input", "stream", "idle"]
    context.destroy(linger=0)


def test_no_process_stays_behind(kernel):
    process = kernel.manager.provisioner.process.pid
    assert Path(f"/proc/{process}").exists()
    kernel.client.shutdown()
    wait_until(lambda: kernel.manager.provisioner.process.poll() is not None, "the kernel to end", seconds=5)
    with pytest.raises(Empty):
        while True:
            message = kernel.client.get_iopub_msg(timeout=0.2)
            assert message["msg_type"] in ("status", "shutdown_reply", "iopub_welcome")


def test_install_and_uninstall(tmp_path: Path):
    program = built("hotplate-kernel")

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run([program, *words], capture_output=True, text=True, env=os.environ | variables)

    user = {"JUPYTER_DATA_DIR": str(tmp_path / "user")}
    for words, variables, folder in [
        (["--user"], user, tmp_path / "user" / "kernels" / "hotplate"),
        ([], user, tmp_path / "user" / "kernels" / "hotplate"),
        (["--prefix", str(tmp_path / "p")], {}, tmp_path / "p/share/jupyter/kernels/hotplate"),
        (["--sys-prefix"], {"VIRTUAL_ENV": str(tmp_path / "v")}, tmp_path / "v/share/jupyter/kernels/hotplate"),
        (["--user", "--name", "warm"], user, tmp_path / "user" / "kernels" / "warm"),
    ]:
        done = run("install", *words, **variables)
        assert done.returncode == 0, done.stderr
        spec = json.loads((folder / "kernel.json").read_text())
        assert spec["argv"] == [str(program), "run", "{connection_file}"]
        assert (spec["display_name"], spec["language"], spec["interrupt_mode"]) == ("Hotplate", "hotplate", "message")
        for logo in ["logo-svg.svg", "logo-32x32.png", "logo-64x64.png"]:
            assert (folder / logo).read_bytes() == (REPOSITORY / "kernelspec" / logo).read_bytes()
        done = run("uninstall", *words, **variables)
        assert done.returncode == 0 and not folder.exists(), done.stderr
    done = run("uninstall", "--prefix", str(tmp_path / "p"))
    assert done.returncode == 1 and "no kernel is installed" in done.stderr
    done = run("install", "--user", "--sys-prefix")
    assert done.returncode == 2
    done = run("run", str(tmp_path / "missing.json"))
    assert done.returncode == 1 and "missing.json" in done.stderr
