"""Chat templates render here as in transformers, on templates in the manner of each family and on Jinja's odder corners."""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path

import pytest
from chat_templates import CONVERSATIONS, FAMILIES, FEATURES, TOOLS
from checkpoints import write_checkpoint
from hotplate_process import built
from transformers import AutoTokenizer

MARKERS = [
    "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<end_of_turn>", "<start_of_turn>", "<|end|>",
    "<|user|>", "<|assistant|>", "<|system|>", "[INST]", "[/INST]",
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A checkpoint whose tokenizer knows the markers of all families; each test writes its own template into it."""
    folder = write_checkpoint(tmp_path_factory.mktemp("chat") / "base", template=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": MARKERS})
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    # Only the text side is used: the weights need not have rows for the markers.
    config["vocab_size"] = len(tokenizer)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def engine(folder: Path, requests: list[dict]) -> dict:
    done = subprocess.run(
        [built("examples/chat"), folder], input=json.dumps(requests), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stderr}"
    return json.loads(done.stdout)


def requests() -> list[dict]:
    return [
        {"messages": messages, "tools": tools, "add_generation_prompt": opened}
        for messages in CONVERSATIONS
        for tools in (None, TOOLS)
        for opened in (False, True)
    ]


def prepare(base: Path, folder: Path, template: str) -> Path:
    """A copy of the text side, with this template and a vocabulary that is large enough."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in base.iterdir():
        target = folder / file.name
        if not target.exists():
            target.symlink_to(file)
    (folder / "chat_template.jinja").write_text(template, newline="")
    return folder


def peer(tokenizer, request: dict) -> dict:
    try:
        text = tokenizer.apply_chat_template(
            request["messages"], tools=request["tools"], add_generation_prompt=request["add_generation_prompt"], tokenize=False
        )
        return {"text": text}
    except Exception as error:  # whatever a template may raise
        return {"error": str(error)}


def compare(folder: Path, template: str, all_requests: list[dict]) -> int:
    """How many conversations the template takes. Refusals must be refusals on both sides, with the template's own words."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template == template
    while True:
        day = datetime.date.today()
        ours = engine(folder, all_requests)["rendered"]
        theirs = [peer(tokenizer, request) for request in all_requests]
        if day == datetime.date.today():  # templates that tell the date, at midnight
            break
    taken = 0
    for request, mine, other in zip(all_requests, ours, theirs):
        assert ("error" in mine) == ("error" in other), f"{request}\nhere: {mine}\nthere: {other}"
        if "error" in mine:
            if "must alternate" in other["error"]:
                assert "must alternate" in mine["error"]
            continue
        assert mine["text"] == other["text"], f"{request}"
        taken += 1
    return taken


@pytest.mark.parametrize("family", FAMILIES)
def test_families_render_as_in_transformers(base, tmp_path, family):
    folder = prepare(base, tmp_path / "base", FAMILIES[family])
    taken = compare(folder, FAMILIES[family], requests())
    assert taken >= 12, f"only {taken} conversations were taken: this compares nothing"


def test_jinja_means_what_it_means_in_python(base, tmp_path):
    wrong = []
    for number, template in enumerate(FEATURES):
        folder = prepare(base, tmp_path / str(number), template)
        try:
            compare(folder, template, requests()[:20])
        except AssertionError as error:
            wrong.append(f"{template}\n{error}")
    assert not wrong, "\n\n".join(wrong)


def test_tokens_are_those_of_transformers_and_bos_stands_once(base, tmp_path):
    for name in ("llama-3.1", "gemma-3", "qwen2.5", "llama-2"):
        folder = prepare(base, tmp_path / name, FAMILIES[name])
        tokenizer = AutoTokenizer.from_pretrained(folder)
        request = {"messages": CONVERSATIONS[3], "tools": None, "add_generation_prompt": True}
        rendered = engine(folder, [request])["rendered"][0]
        ids = tokenizer.apply_chat_template(CONVERSATIONS[3], add_generation_prompt=True, return_dict=False)
        assert rendered["tokens"] == ids
        assert ids.count(tokenizer.bos_token_id) == rendered["text"].count(tokenizer.bos_token)


def test_named_templates_are_chosen_as_in_transformers(base, tmp_path):
    default, tool_use = "D{{ messages | length }}", "T{{ tools | length }}"
    plain = {"messages": CONVERSATIONS[0], "tools": None, "add_generation_prompt": False}
    with_tools = plain | {"tools": TOOLS}

    def check(folder: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        ours = engine(folder, [plain, with_tools])["rendered"]
        assert [answer["text"] for answer in ours] == ["D1", "T2"]
        assert [peer(tokenizer, request)["text"] for request in (plain, with_tools)] == ["D1", "T2"]

    files = prepare(base, tmp_path / "files", default)
    (files / "additional_chat_templates").mkdir()
    (files / "additional_chat_templates" / "tool_use.jinja").write_text(tool_use)
    check(files)

    listed = prepare(base, tmp_path / "listed", "")
    (listed / "chat_template.jinja").unlink()
    config = json.loads((listed / "tokenizer_config.json").read_text())
    config["chat_template"] = [{"name": "tool_use", "template": tool_use}, {"name": "default", "template": default}]
    (listed / "tokenizer_config.json").unlink()
    (listed / "tokenizer_config.json").write_text(json.dumps(config))
    check(listed)

    config["chat_template"] = [{"name": "rag", "template": "x"}]
    (listed / "tokenizer_config.json").write_text(json.dumps(config))
    assert "rag" in engine(listed, [plain])["rendered"][0]["error"]
    assert "error" in peer(AutoTokenizer.from_pretrained(listed), plain)


def test_the_end_of_a_turn_ends_an_answer(base, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(base)
    for name, marker in (("qwen2.5", "<|im_end|>"), ("gemma-3", "<end_of_turn>"), ("llama-3.1", "<|eot_id|>"), ("llama-2", "</s>")):
        folder = prepare(base, tmp_path / name, FAMILIES[name])
        eos = engine(folder, [])["eos"]
        assert eos[0] == tokenizer.eos_token_id
        assert tokenizer.convert_tokens_to_ids(marker) in eos, name


def test_what_closes_a_part_of_an_answer_does_not_end_it(base, tmp_path):
    part = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|></s>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    tokenizer = AutoTokenizer.from_pretrained(base)
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert end not in engine(prepare(base, tmp_path / "part", part), [])["eos"]
    # Behind the last turn alone, the token that the files tell ends the conversation, and not a turn.
    turn = part.replace("</s>", "{{ '</s>' if loop.last }}")
    assert end in engine(prepare(base, tmp_path / "turn", turn), [])["eos"]


def test_a_broken_template_names_its_fault(base, tmp_path):
    folder = prepare(base, tmp_path / "broken", "{% if messages %}never closed")
    error = engine(folder, [{"messages": CONVERSATIONS[0], "tools": None}])["rendered"][0]["error"]
    assert "chat_template.jinja" in error and "line 1" in error
