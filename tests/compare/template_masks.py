"""What we learn of conversations through published chat templates, beside what transformers renders and where trl's training templates put their marks.

    .venv/bin/python tests/compare/template_masks.py [--templates DIR] [--only NAME] [--show]

The templates come from four packages, fetched once into `--templates` and never kept here: llama-cpp-python (llama.cpp's collection of published
ones), trl (published ones and twins with `{% generation %}`), axolotl and unsloth (their own). Every conversation has words of its own for each turn,
so that a word in a learnt span tells whose it is. Each pair of template and conversation ends in one of five ways:

- equal: the text is transformers', each shown answer is learnt from behind the generation prompt up to and with its end token, nothing else is;
- refused: the template refuses the conversation, here and there;
- finding: transformers renders it, and we say why we do not learn it;
- warned: equal, and the turns that the template leaves out are named;
- wrong: anything else. The exit status is 1 where there is one.
"""

from __future__ import annotations

import argparse
import ast
import collections
import copy
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from hotplate_process import built  # noqa: E402

PACKAGES = {"llama-cpp-python": "0.3.36", "trl": "1.16.0", "axolotl": "0.19.0", "unsloth": "2026.10.9"}

#: Special tokens, by how families write them.
MARKER = re.compile(r"<\|[^|<>\s'\"{}]{1,40}\|>|<｜[^｜<>'\"{}]{1,40}｜>|<\|[a-z_]+>|<[a-z_]+\|>|<(?:start|end)_of_\w+>|\[/?[A-Z_]{3,}\]|\[\|\w+\|\]|</?think>|<SPECIAL_\d+>|<extra_id_\d>")  # fmt: skip
#: What ends an answer, the first that a template names; those of `eos_token` alone have `</s>`.
ENDS = [
    "<|im_end|>", "<|eot_id|>", "<|eot|>", "<end_of_turn>", "<turn|>", "<|return|>", "<|end|>", "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>",
    "[|endofturn|]", "<|end_of_text|>", "<SPECIAL_12>", "<|assistant_end|>", "<end_of_utterance>", "<seed:eos>", "[e~[", "<end_of_sentence>",
    "<|message_sep|>", "<|end_of_turn|>", "<|end_of_msg|>", "<|eom|>", "</assistant>",
]  # fmt: skip
#: Further ones that `generation_config.json` names, where a template has them.
ALSO = ["<|eom_id|>", "<|call|>", "<|calls|>", "<|tool_response>"]
#: GLM's answers end where the next turn begins.
GLM_ENDS = ["<|endoftext|>", "<|user|>", "<|observation|>"]

TOOL = {
    "type": "function",
    "function": {
        "name": "zimfunc",
        "description": "vexdesc",
        "parameters": {"type": "object", "properties": {"kaplace": {"type": "string", "description": "vexplace"}}, "required": ["kaplace"]},
    },
}


def said(role: str, content, **more) -> dict:
    return {"role": role, "content": content, **more}


def call(arguments, **more) -> dict:
    return {"id": "abcd12345", "type": "function", "function": {"name": "zimfunc", "arguments": arguments}, **more}


def conversations() -> dict[str, dict]:
    u1, u2, a1, a2, s = said("user", "ubone qu"), said("user", "ubtwo qu"), said("assistant", "abone re"), said("assistant", "abtwo re"), said("system", "sybone in")  # fmt: skip
    result = said("tool", '{"toolbone": 1}', tool_call_id="abcd12345", name="zimfunc")
    calls = lambda *arguments, content=None, **more: said("assistant", content, tool_calls=[call(each) for each in arguments], **more)  # noqa: E731
    plain = {
        "plain": [u1, a1],
        "system": [s, u1, a1],
        "turns": [u1, a1, u2, a2],
        "system, turns": [s, u1, a1, u2, a2],
        "asks last": [u1, a1, u2],
        "greets": [a1, u2, a2],
        "asks twice": [u1, u2, a2],
        "says twice": [u1, a1, a2],
        "developer": [said("developer", "devbone in"), u1, a1],
        "late system": [u1, a1, s, u2, a2],
        "empty": [u1, said("assistant", ""), u2, a2],
        "spaces": [u1, said("assistant", "\n abone re \n\n"), u2, said("assistant", " abtwo re ")],
        "parts": [said("user", [{"type": "text", "text": "ubone qu"}]), said("assistant", [{"type": "text", "text": "abone re"}])],
        "reasoned": [u1, said("assistant", "abone re", reasoning_content="rebone th"), u2, said("assistant", "abtwo re", reasoning_content="rebtwo th")],
        "thoughts": [u1, said("assistant", "<think>\nrebone th\n</think>\n\nabone re"), u2, said("assistant", "<think>\nrebtwo th\n</think>\n\nabtwo re")],
        "unlearnt": [u1, said("assistant", "abone re", weight=0), u2, a2],
    }
    tools = {
        "call": [u1, calls({"kaplace": "argone"}), result, a2],
        "text call": [u1, calls('{"kaplace": "argtwo"}'), result, a2],
        "calls": [u1, calls({"kaplace": "argone"}, {"kaplace": "argtwo", "kanum": 7319}, content="abone re"), result, result, a2],
        "call last": [s, u1, calls({"kaplace": "argone"})],
        "reasoned call": [u1, calls({"kaplace": "argone"}, content="", reasoning_content="rebone th"), result, a2],
        "tools unused": [s, u1, a1],
    }
    made = {name: {"messages": messages} for name, messages in plain.items()}
    return made | {name: {"messages": messages, "tools": [TOOL]} for name, messages in tools.items()}


CONVERSATIONS = conversations()
WORDS = re.compile(r"(?:ub|ab|syb|devb|reb|toolb|arg|ka)(?:one|two|place|num)|7319")


# Templates


def fetch(folder: Path) -> None:
    """Each package's templates as `folder/PACKAGE/NAME.jinja`."""
    for package, version in PACKAGES.items():
        into = folder / package
        if into.is_dir():
            continue
        with tempfile.TemporaryDirectory() as work:
            source = ["--no-binary", package] if package == "llama-cpp-python" else []
            subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", *source, "-d", work, f"{package}=={version}"], check=True)
            (file,) = Path(work).iterdir()
            texts = dict(templates_in(file))
        half = folder / f"{package}.part"
        half.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (half / f"{name}.jinja").write_text(text, newline="")
        half.rename(into)


def templates_in(file: Path):
    if file.suffix == ".whl":
        archive = zipfile.ZipFile(file)
        for name in archive.namelist():
            if name.endswith(".jinja") and "chat_templates/" in name:
                yield Path(name).stem, archive.read(name).decode()
            elif name == "unsloth/chat_templates.py":
                yield from constants(archive.read(name).decode())
        return
    with tarfile.open(file) as archive:
        for member in archive:
            if member.name.endswith(".jinja") and "/models/templates/" in member.name:
                yield Path(member.name).stem, archive.extractfile(member).read().decode()


def constants(source: str):
    """Templates that a module holds as constants, without running it."""
    known: dict[str, str] = {}

    def value(node) -> str | None:
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name):
                return known.get(name)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                left, right = value(left), value(right)
                return None if left is None or right is None else left + right

    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.endswith("_template"):
            text = value(node.value)
            if text and "{%" in text and "{{ .Messages" not in text and "ollama" not in node.targets[0].id:
                known[node.targets[0].id] = text
    for name, text in known.items():
        yield name.removesuffix("_template"), text.replace("{system_message}", "hsmsg")


# Both sides


class Bases:
    """A folder for each template: one tokenizer that knows all markers, one set of weights."""

    def __init__(self, folder: Path, templates: dict[str, str]):
        from checkpoints import write_checkpoint
        from transformers import AutoTokenizer

        self.folder, self.shared = folder, write_checkpoint(folder / "shared", template=False)
        tokenizer = AutoTokenizer.from_pretrained(self.shared)
        markers = sorted({marker for text in templates.values() for marker in MARKER.findall(text)} | {*ENDS, *ALSO, *GLM_ENDS})
        tokenizer.add_special_tokens({"additional_special_tokens": markers})
        tokenizer.save_pretrained(self.shared)
        config = json.loads((self.shared / "config.json").read_text())
        config["vocab_size"] = len(tokenizer)
        (self.shared / "config.json").write_text(json.dumps(config))
        self.tokenizer = tokenizer

    def of(self, name: str, template: str) -> tuple[Path, list[str]]:
        folder = self.folder / name.replace("/", "-")
        folder.mkdir()
        for file in self.shared.iterdir():
            if file.name not in ("tokenizer_config.json", "generation_config.json"):
                (folder / file.name).symlink_to(file)
        (folder / "chat_template.jinja").write_text(template, newline="")
        config = json.loads((self.shared / "tokenizer_config.json").read_text())
        ends = [next((end for end in ENDS if end in template), "</s>")]
        if "[gMASK]" in template:
            ends = list(GLM_ENDS)
        ends += [end for end in ALSO if end in template]
        config["eos_token"] = ends[0]
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        ids = self.tokenizer.convert_tokens_to_ids(ends)
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
        return folder, ends


def ours(base: Path, data: Path) -> tuple[dict[int, dict], dict[int, list[dict]]]:
    """Items and findings by line."""
    done = subprocess.run([built("examples/encode"), "--findings", "--base", base, data], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    items, findings = {}, collections.defaultdict(list)
    for line in map(json.loads, done.stdout.splitlines()):
        if "finding" in line:
            findings[line["line"]].append(line)
        else:
            items[line["line"]] = line
    return items, findings


def normalised(messages: list[dict], flat: bool) -> list[dict]:
    """As our reader hands them on: arguments as objects, parts as one text where the template knows none."""
    messages = copy.deepcopy(messages)
    for message in messages:
        if flat and isinstance(message["content"], list):
            message["content"] = "\n".join(part["text"] for part in message["content"])
        for each in message.get("tool_calls", []):
            if isinstance(each["function"]["arguments"], str):
                each["function"]["arguments"] = json.loads(each["function"]["arguments"])
    return messages


def render(tokenizer, messages, tools, opened: bool = False, text_arguments: bool = False) -> str | None:
    if text_arguments:
        messages = copy.deepcopy(messages)
        for message in messages:
            for each in message.get("tool_calls", []):
                each["function"]["arguments"] = json.dumps(each["function"]["arguments"])
    try:
        return tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=opened, tokenize=False)
    except Exception:  # whatever a template may raise
        return None


def segments(tokenizer, item: dict) -> list[tuple[bool, str]]:
    found: list[tuple[bool, list[int]]] = []
    for token, learnt in zip(item["tokens"], item["supervised"]):
        if not found or found[-1][0] != learnt:
            found.append((learnt, []))
        found[-1][1].append(token)
    return [(learnt, tokenizer.decode(tokens, clean_up_tokenization_spaces=False)) for learnt, tokens in found]


def words_of(message: dict) -> set[str]:
    """What a turn says, but for what it thinks."""
    content = message["content"] or ""
    content = "\n".join(part["text"] for part in content) if isinstance(content, list) else content
    content = content.split("</think>")[-1]
    return set(WORDS.findall(content + json.dumps(message.get("tool_calls", [])))) - {"kaplace", "kanum"}


ROLE = re.compile(r"assistant|model|gpt|CHATBOT|bot\b|user", re.IGNORECASE)


def alike(learnt: list[str], marked: list[str], ends: list[str]) -> bool:
    """The same text, but for what opens an answer (a header or an empty thought, which a prompt may hold) and for what ends it."""
    if len(learnt) != len(marked):
        # Answers in a row, their headers marked or not.
        return WORDS.findall("".join(learnt)) == WORDS.findall("".join(marked))
    # gpt-oss ends an answer with <|return|>; its <|end|> stands in histories alone. Phi-3's template writes two end tokens.
    closing = re.compile(r"(?:\s|" + "|".join(map(re.escape, [*ends, "<|end|>"])) + ")*$")

    def bare(text: str) -> str:
        return closing.sub("", text).lstrip()

    def opens(text: str) -> bool:
        return not WORDS.search(text)

    return all(
        (one := bare(ours)) == (other := bare(theirs)) or other.endswith(one) and opens(other.removesuffix(one)) or one.endswith(other) and opens(one.removesuffix(other))
        for ours, theirs in zip(learnt, marked)
    )


class Judge:
    def __init__(self, tokenizer, ends: list[str]):
        self.tokenizer, self.ends, self.told = tokenizer, ends, "generation" in tokenizer.chat_template and "endgeneration" in tokenizer.chat_template
        #: What stands in learnt spans before the first and behind the last word of an answer.
        self.edges: collections.Counter = collections.Counter()
        #: Conversations whose learnt spans were held against a twin's marks.
        self.twins = 0

    def header(self) -> str:
        """The special token that an answer's header begins with."""
        asked = CONVERSATIONS["plain"]["messages"][:1]
        plain, opened = (render(self.tokenizer, asked, None, opened) for opened in (False, True))
        opening = (opened or "").removeprefix(plain or "")
        found = MARKER.match(opening)
        return found[0] if found and found[0] not in self.ends else ""

    def marked(self, twin: str, messages, tools, whole: str) -> list[str] | None:
        """What the twin marks as answers; nothing where it renders another text."""
        given = {"tools": tools, "chat_template": twin, "return_dict": True, "return_assistant_tokens_mask": True}
        try:
            shown = self.tokenizer.apply_chat_template(normalised(messages, False), **given)
        except Exception:  # whatever a template may raise
            return None
        if self.tokenizer.decode(shown["input_ids"], clean_up_tokenization_spaces=False) != whole or any(message.get("weight") == 0 for message in messages):
            return None
        item = {"tokens": shown["input_ids"], "supervised": shown["assistant_masks"]}
        return [text for learnt, text in segments(self.tokenizer, item) if learnt]

    def judge(self, conversation: dict, item: dict | None, findings: list[dict], twin: str | None = None) -> tuple[str, str]:
        messages, tools = conversation["messages"], conversation.get("tools")
        flats = [normalised(messages, False), normalised(messages, True)]
        texts = [text for flat in flats for as_text in (False, True) if (text := render(self.tokenizer, flat, tools, text_arguments=as_text)) is not None]
        error = None if item is None else item.get("error")
        if item is None:
            return "finding", "; ".join(finding["finding"] for finding in findings)
        if error is not None:
            if "the chat template fails" in error:
                return ("refused", error) if not texts else ("wrong", f"we refuse: {error}")
            return "finding", error
        if not texts:
            return "wrong", "transformers refuses"
        parts = segments(self.tokenizer, item)
        full = "".join(text for _, text in parts)
        learnt = [text for carries, text in parts if carries]
        whole = next((text for text in texts if text.startswith(full)), None)
        if whole is None and learnt:
            # An opening as it is served; or an end token that the template does not write.
            unended = full.removesuffix(self.ends[0])
            whole = next((text for text in texts if text.startswith(unended)), None)
            if whole is None:
                first = parts[0][1] if not parts[0][0] else ""
                opened = [render(self.tokenizer, flat[:at], tools, True) for flat in flats for at in range(len(flat))]
                rest = full[len(first) :]
                whole = next((text for part in (rest, rest.removesuffix(self.ends[0])) for text in texts if part in text), None)
                if first not in opened:
                    whole = None
        if whole is None:
            return "wrong", f"another text: {full!r}\n    there: {texts[0]!r}"
        outcome, why = self.mask(messages, tools, whole, learnt, full, item["left_out"])
        if outcome in ("equal", "warned") and twin is not None and (marked := self.marked(twin, messages, tools, whole)) is not None:
            self.twins += 1
            if not alike(learnt, marked, self.ends):
                return "wrong", f"learnt {learnt}, and trl marks {marked}"
        return outcome, why

    def mask(self, messages, tools, whole, learnt, full, left_out) -> tuple[str, str]:
        shown = set(WORDS.findall(whole))
        is_ours = lambda message: message["role"] == "assistant" and message.get("weight") != 0  # noqa: E731
        own = set().union(*(words_of(message) for message in messages if is_ours(message)))
        thought = {word for word in shown if word.startswith("reb")}
        allowed = own | thought | {"kaplace", "kanum"}
        said = [set(WORDS.findall(text)) for text in learnt]
        if missing := (own | thought) & shown - set().union(*said):
            return "wrong", f"not learnt: {missing} of {whole!r}\n    learnt: {learnt}"
        if strange := set().union(*said) - allowed:
            return "wrong", f"learnt: {strange} in {learnt}"
        answers = [at for at, message in enumerate(messages) if is_ours(message) and (words_of(message) & shown)]
        learnt = [text for text in learnt if WORDS.search(text)]
        if len(learnt) == 1 and len(answers) == 2:
            # Nothing stands between two answers in a row, or the template makes one of them.
            learnt = re.split("(?<=" + "|".join(map(re.escape, self.ends[:1])) + ")(?=.)", learnt[0])
        merged = len(learnt) == 1 and len(answers) == 2 and not any(end in learnt[0][:-1].removesuffix(self.ends[0]) for end in self.ends)
        if len(learnt) != len(answers) and not self.told and not merged:
            return "wrong", f"{len(answers)} answers, learnt: {learnt}\n    of {whole!r}"
        header = self.header()
        for at, text in zip(answers, learnt):
            found = list(WORDS.finditer(text))
            lead, tail = text[: found[0].start()], text[found[-1].end() :]
            self.edges[(lead, tail)] += 1
            prompt = render(self.tokenizer, normalised(messages[:at], False), tools, True)
            if prompt is not None and full.startswith(prompt) and len(prompt.rstrip(" ")) > full.find(text) >= 0:
                return "wrong", f"a header is learnt: {text!r}"
            served = prompt is not None and full.startswith(prompt + text)
            if ROLE.search(lead.replace("to=user", "")) and not served or header and (header in tail or lead.startswith(header)):
                return "wrong", f"a header is learnt: {text!r}"
            behind = whole.find(text) + len(text)
            following = WORDS.search(whole, behind)
            between = whole[behind : following.start() if following else len(whole)].split(header or "\0")[0]
            if not any(text.endswith(end) for end in self.ends) and any(end in between for end in self.ends):
                return "wrong", f"no end token: {text!r}, then {whole[behind:behind + 40]!r}"
            if sum(tail.count(end) for end in self.ends) > 1:
                return "wrong", f"two end tokens: {text!r}"
        missing = [f"turn {at} ({message['role']})" for at, message in enumerate(messages, 1) if words_of(message) - {"zimfunc"} - shown]
        named = [each for each in left_out if not each.startswith("the reasoning")]
        if missing != [each.removeprefix("the text beside the calls in ") for each in named]:
            return "wrong", f"left out: {missing}, named: {named}"
        return ("warned", ", ".join(left_out)) if left_out else ("equal", "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--templates", type=Path, default=Path(tempfile.gettempdir()) / "hotplate-published-templates")
    parser.add_argument("--only", default="", help="templates whose PACKAGE/NAME holds this")
    parser.add_argument("--show", action="store_true", help="what stands at the edges of answers, and each finding")
    given = parser.parse_args()
    fetch(given.templates)
    files = sorted(file for package in PACKAGES for file in (given.templates / package).glob("*.jinja"))
    templates = {f"{file.parent.name}/{file.stem}": file.read_bytes().decode() for file in files}
    twins = {name: text for name, text in templates.items() if name.endswith("_training")}
    templates = {name: text for name, text in templates.items() if given.only in name}
    held = 0
    totals: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    with tempfile.TemporaryDirectory() as work:
        from transformers import AutoTokenizer

        work = Path(work)
        data = work / "data"
        data.mkdir()
        (data / "a.jsonl").write_text("".join(json.dumps(conversation) + "\n" for conversation in CONVERSATIONS.values()))
        bases = Bases(work / "bases", templates)
        for name, template in templates.items():
            base, ends = bases.of(name, template)
            judge = Judge(AutoTokenizer.from_pretrained(base), ends)
            items, findings = ours(base, data)
            for line, (title, conversation) in enumerate(CONVERSATIONS.items(), 1):
                outcome, why = judge.judge(conversation, items.get(line), findings[line], twins.get(name + "_training"))
                totals[name.split("/")[0]][outcome] += 1
                if outcome == "wrong" or given.show and outcome not in ("equal", "refused"):
                    print(f"{outcome}: {name}, {title}: {why}", flush=True)
            held += judge.twins
            if given.show:
                print(f"{name} {ends}: " + "  ".join(f"{lead!r}…{tail!r} x{count}" for (lead, tail), count in judge.edges.most_common()))
    print(f"{len(templates)} templates x {len(CONVERSATIONS)} conversations; {held} of them held against the marks of trl's training templates")
    for package, counts in totals.items():
        print(f"{package} {PACKAGES[package]}:", ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    return 1 if any(counts["wrong"] for counts in totals.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
