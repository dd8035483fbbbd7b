"""Rust cells in the installed kernel, with Jupyter's own client and the real daemon."""

from __future__ import annotations

import pytest
from jupyter_client.manager import start_new_kernel

from notebook_home import notebook_home


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory):
    with notebook_home(tmp_path_factory.mktemp("rust")) as running:
        yield running


@pytest.fixture(scope="module")
def run():
    manager, client = start_new_kernel(kernel_name="hotplate")

    def run(code: str) -> tuple[dict, list[dict]]:
        outputs = []
        reply = client.execute_interactive(code, timeout=180, output_hook=outputs.append)
        shown = [message for message in outputs if message["msg_type"] not in ("status", "execute_input")]
        return reply["content"], shown

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_cells_use_the_models(run):
    reply, shown = run(
        """
        let texts: Vec<hotplate::Example> = hotplate::examples("notes/")?;
        hotplate::run("train notes/ -a from-rust --max-steps 4 --seed 1")?;
        %adapters --json
        println!("{} examples", texts.len());
        texts[0].source()?.len() > 10
        """
    )
    assert reply["status"] == "ok", reply
    kinds = [message["msg_type"] for message in shown if message["msg_type"] != "update_display_data"]
    assert kinds[:4] == ["display_data"] * 4 and kinds[-1] == "execute_result", kinds
    assert set(kinds[4:-1]) == {"stream"}, kinds
    displays = [message["content"]["data"]["text/plain"] for message in shown if message["msg_type"] == "display_data"]
    assert "from-rust version 1 is ready" in displays[2] and "No base is chosen" in displays[3]
    written = "".join(message["content"]["text"] for message in shown if message["msg_type"] == "stream")
    assert "from-rust" in written and "24 examples" in written
    assert shown[-1]["content"]["data"]["text/plain"] == "true"

    reply, shown = run(
        '''
        let drafts: Vec<String> = hotplate::generate("-a from-rust --max-tokens 12 --seed 1 -- Write a short note.")?;
        hotplate::display("text/html", format!("<b>{}</b>", drafts.len()));
        drafts
        '''
    )
    assert reply["status"] == "ok", reply
    assert shown[0]["content"]["data"] == {"text/html": "<b>1</b>", "text/plain": "1"}
    assert shown[1]["content"]["data"]["text/plain"].startswith('["')


def test_an_error_of_a_command_is_one_of_rust(run):
    reply, shown = run('let kept: i32 = 7;\nhotplate::run("check nowhere/")?;')
    assert (reply["status"], reply["ename"]) == ("error", "RustError"), reply
    assert "there is no folder" in reply["evalue"] and len(shown) == 1
    reply, shown = run('hotplate::generate("-a nobody -- hello").map_err(|error| error.name).unwrap_err()')
    assert reply["status"] == "ok", reply
    assert shown[0]["content"]["data"]["text/plain"] == '"UnusableAdapter"'
