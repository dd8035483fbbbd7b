"""What people have on their disks becomes the examples that transformers would see, with loss where it should lie."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from hotplate_process import built

USER, ASSISTANT = {"role": "user"}, {"role": "assistant"}

#: Small templates of the families' kinds, written for these tests: the places where families differ are in them.
TEMPLATES = {
    # Llama 3: headers, trimmed content, calls as JSON, tools in the first question.
    "llama3": (
        "{{- bos_token }}{% for m in messages %}{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
        "{% if loop.first and tools %}{{- tools | tojson(indent=4) + '\n\n' }}{% endif %}"
        "{% if m.tool_calls %}{% for c in m.tool_calls %}{{- '{\"name\": \"' + c.function.name + '\", \"parameters\": ' }}"
        "{{- c.function.arguments | tojson }}{{- '}' }}{% endfor %}{% else %}{{- m.content | trim }}{% endif %}"
        "{{- eos_token }}{% endfor %}{% if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    # Qwen 2.5 and 3: thoughts of turns before the last question are dropped, an empty one is put before the last answer; tools' answers are
    # a user's turn; a line break behind each end.
    "qwen": (
        "{%- if tools %}{{- '<|im_start|>system\n# Tools\n' }}{%- for t in tools %}{{- t | tojson }}{{- '\n' }}{%- endfor %}"
        "{{- '<|im_end|>\n' }}{%- endif %}"
        "{%- set ns = namespace(last=0) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}"
        "{%- endfor %}{%- for m in messages %}{%- if m.role == 'tool' %}"
        "{{- '<|im_start|>user\n<tool_response>\n' + m.content + '\n</tool_response><|im_end|>\n' }}"
        "{%- elif m.role == 'assistant' %}{{- '<|im_start|>assistant\n' }}"
        "{%- if loop.index0 > ns.last and loop.last %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
        "{{- m.content.split('</think>')[-1].lstrip('\n') if m.content else '' }}"
        "{%- for c in (m.tool_calls or []) %}{{- '<tool_call>\n{\"name\": \"' + c.function.name + '\", \"arguments\": ' }}"
        "{{- c.function.arguments | tojson }}{{- '}\n</tool_call>' }}{%- endfor %}{{- '<|im_end|>\n' }}"
        "{%- else %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endif %}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
    ),
    # Gemma: the assistant is called model, the system's words stand in the first question.
    "gemma": (
        "{{ bos_token }}{% if messages[0].role == 'system' %}{% set prefix = messages[0].content + '\n\n' %}{% set rest = messages[1:] %}"
        "{% else %}{% set prefix = '' %}{% set rest = messages %}{% endif %}"
        "{% for m in rest %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + (prefix if loop.first else '') }}"
        "{{ m.content | trim }}{{ '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    ),
    # Mistral: nothing before an answer, and the system's words in the last question.
    "mistral": (
        "{%- if messages[0].role == 'system' %}{%- set system = messages[0].content %}{%- set rest = messages[1:] %}"
        "{%- else %}{%- set rest = messages %}{%- endif %}{{- bos_token }}{%- for m in rest %}{%- if m.role == 'user' %}"
        "{%- if system is defined and (loop.last or loop.index0 + 2 == rest | length and rest[-1].role == 'assistant') %}"
        "{{- '[INST] ' + system + '\n\n' + m.content + '[/INST]' }}{%- else %}{{- '[INST] ' + m.content + '[/INST]' }}{%- endif %}"
        "{%- else %}{{- ' ' + m.content | trim + eos_token }}{%- endif %}{%- endfor %}"
    ),
}
#: What ends an answer there.
ENDS = {"llama3": "</s>", "qwen": "<|im_end|>", "gemma": "<end_of_turn>", "mistral": "</s>"}
#: The same templates, with the answers marked: transformers says which tokens are the assistant's.
MARKED = {
    "llama3": TEMPLATES["llama3"]
    .replace("{% if m.tool_calls %}", "{% if m.role == 'assistant' %}{% generation %}{% if m.tool_calls %}", 1)
    .replace(
        "{% else %}{{- m.content | trim }}{% endif %}{{- eos_token }}",
        "{% else %}{{- m.content | trim }}{% endif %}{{- eos_token }}{% endgeneration %}"
        "{% else %}{{- m.content | trim }}{{- eos_token }}{% endif %}",
        1,
    ),
    "qwen": TEMPLATES["qwen"]
    .replace("{{- '<|im_start|>assistant\n' }}{%- if loop", "{{- '<|im_start|>assistant\n' }}{%- generation %}{%- if loop", 1)
    .replace("{%- endfor %}{{- '<|im_end|>\n' }}{%- else", "{%- endfor %}{{- '<|im_end|>' }}{%- endgeneration %}{{- '\n' }}{%- else", 1),
    "gemma": TEMPLATES["gemma"].replace(
        "{{ m.content | trim }}{{ '<end_of_turn>\n' }}",
        "{% if m.role == 'assistant' %}{% generation %}{{ m.content | trim }}{{ '<end_of_turn>' }}{% endgeneration %}{{ '\n' }}"
        "{% else %}{{ m.content | trim }}{{ '<end_of_turn>\n' }}{% endif %}",
    ),
    "mistral": TEMPLATES["mistral"].replace(
        "{{- ' ' + m.content | trim + eos_token }}", "{% generation %}{{- ' ' + m.content | trim + eos_token }}{% endgeneration %}"
    ),
}

TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}},
}
CHATS = {
    "one": [USER | {"content": "Soup?"}, ASSISTANT | {"content": "Soup."}],
    "three": [
        {"role": "system", "content": "Be short."},
        USER | {"content": "yes, is it yes?"},
        ASSISTANT | {"content": "yes"},
        USER | {"content": "And the bread?\n"},
        ASSISTANT | {"content": "<think>\nhm\n</think>\n\nGone by nine."},
        USER | {"content": "巷口的面馆?"},
        ASSISTANT | {"content": "  汤还是那么浓。 "},
    ],
}
TOOL_CHAT = [
    USER | {"content": "Weather in Ulm?"},
    ASSISTANT | {"content": "", "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"place": "Ulm"}}}]},
    {"role": "tool", "name": "weather", "content": '{"rain": true}'},
    ASSISTANT | {"content": "It rains."},
]


def encoded(folder: Path, base: Path | None = None, **options: object) -> list[dict]:
    words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    command = [built("examples/encode"), *words, *(["--base", str(base)] if base else []), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def base_of(tmp_path_factory):
    """A checkpoint with a family's kind of template; `marked`: what transformers is to render it by."""
    import transformers

    made = {}

    def make(family: str):
        if family not in made:
            folder = write_checkpoint(tmp_path_factory.mktemp("bases") / family, template=False)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            specials = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<start_of_turn>", "<end_of_turn>"]
            tokenizer.add_special_tokens({"additional_special_tokens": specials})
            tokenizer.chat_template = TEMPLATES[family]
            tokenizer.save_pretrained(folder)
            end = tokenizer.convert_tokens_to_ids(ENDS[family])
            (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, end]}))
            config = json.loads((folder / "config.json").read_text())
            config["vocab_size"] = len(tokenizer)
            (folder / "config.json").write_text(json.dumps(config))
            made[family] = folder, tokenizer
        return made[family]

    return make


def reference(tokenizer, template: str, messages: list[dict], tools=None) -> tuple[list[int], list[bool]]:
    """Tokens, and which are the assistant's, as transformers says; up to the last of those, as ours are."""
    said = tokenizer.apply_chat_template(
        messages, tools=tools, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    tokens, mask = said["input_ids"], [bool(mask) for mask in said["assistant_masks"]]
    last = max(at for at, learnt in enumerate(mask) if learnt)
    return tokens[: last + 1], mask[: last + 1]


class TestLabels:
    @pytest.mark.parametrize("family", TEMPLATES)
    @pytest.mark.parametrize("chat", CHATS)
    def test_every_answer_and_its_end(self, base_of, tmp_path, family, chat):
        base, tokenizer = base_of(family)
        (tmp_path / "a.jsonl").write_text(json.dumps({"messages": CHATS[chat]}))
        tokens, mask = reference(tokenizer, MARKED[family], CHATS[chat])
        assert sum(mask) > 2
        (ours,) = encoded(tmp_path, base)
        assert ours["tokens"] == tokens, tokenizer.decode(ours["tokens"])
        if family == "mistral":
            # The space before an answer is a token of its own or belongs to the prompt: either is no part of what is said.
            learnt = tokenizer.decode([token for token, learnt in zip(tokens, ours["supervised"]) if learnt])
            theirs = tokenizer.decode([token for token, learnt in zip(tokens, mask) if learnt])
            assert learnt.split() == theirs.split()
        elif family == "qwen" and chat == "one":
            assert ours["supervised"] == mask
        else:
            assert ours["supervised"] == mask, tokenizer.decode([t for t, learnt in zip(tokens, ours["supervised"]) if learnt])

    @pytest.mark.parametrize("family", TEMPLATES)
    def test_the_last_answer_and_everything(self, base_of, tmp_path, family):
        base, tokenizer = base_of(family)
        (tmp_path / "a.jsonl").write_text(json.dumps({"messages": CHATS["three"]}))
        (every,) = encoded(tmp_path, base)
        (last,) = encoded(tmp_path, base, train_on="last")
        assert last["tokens"] == every["tokens"]
        before = max(at for at, learnt in enumerate(last["supervised"]) if not learnt)
        assert last["supervised"] == [False] * (before + 1) + every["supervised"][before + 1 :]
        said = tokenizer.decode(last["tokens"][before + 1 :])
        assert "汤还是那么浓" in said and "Gone" not in said
        (whole,) = encoded(tmp_path, base, train_on="everything")
        rendered = tokenizer.apply_chat_template(CHATS["three"], tokenize=True, return_dict=True)["input_ids"]
        assert whole["tokens"] == rendered or whole["tokens"] == rendered + [2]
        assert whole["supervised"] == [False] + [True] * (len(whole["tokens"]) - 1)

    @pytest.mark.parametrize("family", ["llama3", "qwen"])
    @pytest.mark.parametrize("source", ["openai", "openai, as text", "sharegpt"])
    def test_calls_are_learnt_and_answers_of_tools_are_not(self, base_of, tmp_path, family, source):
        base, tokenizer = base_of(family)
        call = TOOL_CHAT[1]["tool_calls"][0]["function"]
        as_text = json.loads(json.dumps(TOOL_CHAT))
        for called in as_text[1]["tool_calls"]:
            called["function"]["arguments"] = json.dumps(called["function"]["arguments"])
        record = {
            "openai": {"messages": TOOL_CHAT, "tools": [TOOL]},
            "openai, as text": {"messages": as_text, "tools": [TOOL]},
            "sharegpt": {
                "conversations": [
                    {"from": "human", "value": TOOL_CHAT[0]["content"]},
                    {"from": "function_call", "value": json.dumps(call)},
                    {"from": "observation", "value": TOOL_CHAT[2]["content"]},
                    {"from": "gpt", "value": TOOL_CHAT[3]["content"]},
                ],
                "tools": json.dumps([TOOL]),
            },
        }[source]
        (tmp_path / "a.jsonl").write_text(json.dumps(record))
        tokens, mask = reference(tokenizer, MARKED[family], TOOL_CHAT, [TOOL])
        (ours,) = encoded(tmp_path, base)
        assert ours["tokens"] == tokens, tokenizer.decode(ours["tokens"])
        assert ours["supervised"] == mask
        learnt = tokenizer.decode([token for token, learnt in zip(tokens, ours["supervised"]) if learnt])
        assert "weather" in learnt and "It rains." in learnt and "rain\": true" not in learnt

    @pytest.mark.parametrize("family", ["llama3", "qwen"])
    @pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
    def test_nulls_and_digits_are_pythons_and_gaps_of_a_table_go(self, base_of, tmp_path, family, ending):
        base, tokenizer = base_of(family)

        def chat(arguments: dict) -> list[dict]:
            called = json.loads(json.dumps(TOOL_CHAT))
            called[1]["tool_calls"][0]["function"]["arguments"] = arguments
            return called

        # A column of a table has one type, so that big numbers and nulls that somebody wrote are JSON's alone.
        own = [{"place": "Ulm", "unit": None, "n": 12345678901234567890123, "m": -(2**200), "deep": [{"x": None}]}, {"days": 3}]
        chats = [chat(arguments) for arguments in ([{"place": "Ulm"}, {"days": 3}] if ending == "parquet" else own)]
        write(tmp_path / f"a.{ending}", [{"messages": messages, "tools": json.dumps([TOOL])} for messages in chats])
        for ours, messages in zip(encoded(tmp_path, base), chats, strict=True):
            assert (ours["tokens"], ours["supervised"]) == reference(tokenizer, MARKED[family], messages, [TOOL])

    def test_a_turn_that_is_marked_is_read_and_not_learnt(self, base_of, shared_hotplate, tmp_path):
        base, tokenizer = base_of("llama3")
        off, on = {"content": "bad answer"}, {"content": "good answer"}
        for mark in ({"weight": 0}, {"train": False}, {"loss": "no"}):
            name, value = next(iter(mark.items()))
            turns = [USER | {"content": "q1"}, ASSISTANT | off | mark, USER | {"content": "q2"}, ASSISTANT | on | {name: 1}]
            talk = [{"from": {"user": "human"}.get(turn["role"], "gpt"), "value": turn["content"]} for turn in turns]
            talk[1] |= mark
            talk[3][name] = True
            (tmp_path / f"messages-{name}.jsonl").write_text(json.dumps({"messages": turns}))
            (tmp_path / f"sharegpt-{name}.jsonl").write_text(json.dumps({"conversations": talk}))
        items = encoded(tmp_path, base)
        assert len(items) == 6
        for item in items:
            learnt = tokenizer.decode([token for token, learnt in zip(item["tokens"], item["supervised"]) if learnt])
            assert "good answer" in learnt and "bad" not in learnt
        checked = shared_hotplate.json("check", tmp_path, "--base", base)
        assert (checked["examples"], checked["findings"]) == (6, [])

    def test_a_template_that_marks_its_answers_is_believed(self, base_of, tmp_path):
        import shutil

        base, tokenizer = base_of("qwen")
        marked = tmp_path / "base"
        shutil.copytree(base, marked)
        (marked / "chat_template.jinja").write_text(MARKED["qwen"])
        data = tmp_path / "data"
        data.mkdir()
        (data / "a.jsonl").write_text(json.dumps({"messages": CHATS["three"]}))
        (ours,) = encoded(data, marked)
        assert (ours["tokens"], ours["supervised"]) == reference(tokenizer, MARKED["qwen"], CHATS["three"])


#: One record of each shape, and the chat that it is.
SHAPES = {
    "prompt+completion": (
        {"prompt": "Soup?", "completion": "Soup."},
        [USER | {"content": "Soup?"}, ASSISTANT | {"content": "Soup."}],
    ),
    "messages": ({"messages": CHATS["three"]}, CHATS["three"]),
    "alpaca": (
        {"instruction": "Add.", "input": "1 2", "output": "3"},
        [USER | {"content": "Add.\n1 2"}, ASSISTANT | {"content": "3"}],
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}], "system": "S"},
        [{"role": "system", "content": "S"}, USER | {"content": "Hi"}, ASSISTANT | {"content": "Ho"}],
    ),
    "text": ({"text": "The bread is gone by nine."}, None),
}


def write(path: Path, records: list[dict]) -> None:
    """The records in the format of the path's ending."""
    match path.suffix:
        case ".jsonl" | ".ndjson":
            path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
        case ".json":
            path.write_text(json.dumps(records, indent=1))
        case ".csv" | ".tsv":
            with path.open("w", newline="", encoding="utf-8-sig") as file:
                writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
                names = list(records[0])
                writer.writerow(names)
                for record in records:
                    cells = (record[name] for name in names)
                    writer.writerow(cell if isinstance(cell, str) else json.dumps(cell) for cell in cells)
        case ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path, compression="zstd")


class TestFormats:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_record_is_the_same_in_every_format(self, base_of, shared_hotplate, tmp_path, shape):
        base, tokenizer = base_of("llama3")
        record, chat = SHAPES[shape]
        names = ["a.jsonl", "b.ndjson", "c.json", "d.csv", "e.tsv", "f.parquet"]
        seen = []
        for name in names:
            folder = tmp_path / name
            folder.mkdir()
            write(folder / name, [record])
            (item,) = encoded(folder, base)
            seen.append(item)
            checked = shared_hotplate.json("check", folder, "--base", base)
            (kind,) = checked["kinds"]
            assert kind["shapes"] == [{"shape": shape, "records": 1}], kind
            assert [finding["code"] for finding in checked["findings"]] == []
            assert (checked["examples"], checked["tokens"]) == (1, len(item["tokens"]))
        if chat is None:
            assert seen[0]["tokens"] == tokenizer(record["text"])["input_ids"] + [tokenizer.eos_token_id]
        else:
            assert (seen[0]["tokens"], seen[0]["supervised"]) == reference(tokenizer, MARKED["llama3"], chat)
        for item in seen[1:]:
            assert {**item, "file": 0} == {**seen[0], "file": 0, "line": item["line"]}
        assert [item["line"] for item in seen] == [1, 1, 2, 2, 2, 1]

    @pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4"])
    def test_parquet_of_all_kinds_and_cut_anywhere(self, shared_hotplate, tmp_path, compression):
        import pyarrow
        import pyarrow.parquet

        rows = [{"text": f"note {row} " * 20, "id": row, "when": 0.5, "tags": ["a"]} for row in range(500)]
        path = tmp_path / "a.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, compression=compression, row_group_size=100)
        checked = shared_hotplate.json("check", tmp_path)
        assert (checked["examples"], checked["findings"]) == (500, [])
        whole = path.read_bytes()
        for cut in [0, 3, 8, len(whole) // 2, len(whole) - 1]:
            path.write_bytes(whole[:cut])
            checked = shared_hotplate.json("check", tmp_path)
            assert [finding["name"] for finding in checked["findings"]] == ["invalid-parquet"], cut
        path.write_bytes(whole)
        texts = pyarrow.parquet.read_metadata(path).row_group(1).column(0)
        start, size = texts.dictionary_page_offset or texts.data_page_offset, texts.total_compressed_size
        path.write_bytes(whole[:start] + b"\xff" * size + whole[start + size :])
        checked = shared_hotplate.json("check", tmp_path)
        names = {finding["name"] for finding in checked["findings"]}
        assert checked["examples"] < 500 and names and names <= {"invalid-parquet", "duplicate", "wrong-type"}, names

    def test_a_hundred_thousand_records_are_read_in_seconds(self, tmp_path):
        line = "The bakery on the corner opens at seven, and the bread is gone by nine."
        with (tmp_path / "a.jsonl").open("w") as file:
            for number in range(100_000):
                file.write(json.dumps({"prompt": f"Note {number}?", "completion": line * 2, "id": number}) + "\n")
        start = time.monotonic()
        items = subprocess.Popen(
            [built("examples/encode"), "--max-tokens", "8", str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        first = items.stdout.readline()
        seconds = time.monotonic() - start
        items.kill()
        items.wait()
        assert json.loads(first)["line"] == 1
        # The first item comes when all are read.
        assert seconds < 20, f"{seconds:.1f} s"


class TestStyle:
    def test_prose_is_also_an_answer_where_there_is_a_template(self, base_of, tmp_path):
        base, tokenizer = base_of("llama3")
        (tmp_path / "soup.md").write_text("---\ntitle: Winter soup\n---\nThick and hot, and the bread is good.\n")
        (tmp_path / "巷口的面馆.txt").write_text("巷口的面馆换了老板，汤还是那么浓。")
        plain, instruct = encoded(tmp_path, base), encoded(tmp_path, base, style="instruct")
        assert (len(plain), len(instruct)) == (2, 4)
        assert [item["id"] for item in instruct] == [item["id"] for item in plain for _ in range(2)]
        said = [tokenizer.decode(item["tokens"]) for item in instruct]
        assert "Write a text titled “Winter soup”." in said[1] and "写一篇题为《巷口的面馆》的文章。" in said[3]
        for item in (instruct[1], instruct[3]):
            learnt = tokenizer.decode([t for t, learnt in zip(item["tokens"], item["supervised"]) if learnt])
            assert "titled" not in learnt and "题为" not in learnt and learnt.endswith("</s>")

    def test_a_base_without_a_template_stays_plain(self, tmp_path, tmp_path_factory):
        base = write_checkpoint(tmp_path_factory.mktemp("bare") / "base", template=False)
        (tmp_path / "soup.md").write_text("# Soup\nThick and hot.\n")
        assert len(encoded(tmp_path, base, style="instruct")) == 1
