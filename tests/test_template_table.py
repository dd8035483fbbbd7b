"""Each of Jinja2's built-ins and of the methods of Python's str, list, dict and tuple gives the same text here, or an error that names it."""

from __future__ import annotations

import json
import subprocess

import pytest
from hotplate_process import built
from template_table import forgotten, rows
from transformers.utils.chat_template_utils import render_jinja_template

MESSAGES = [{"role": "user", "content": " Hi <b>\n"}, {"role": "assistant", "content": "\"好\""}]


def there(template: str) -> dict:
    try:
        (text,), _ = render_jinja_template([MESSAGES], chat_template=template, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    except Exception as error:  # whatever a template may raise
        return {"error": f"{type(error).__name__}: {error}"}
    # A generator or a method shows where it lies in memory: nothing to compare with, so that it must be an error here.
    return {"error": text} if " at 0x" in text else {"text": text}


@pytest.fixture(scope="module")
def here(checkpoint) -> list[dict]:
    """What the engine makes of all rows, in one process."""
    requests = [{"template": template, "messages": MESSAGES, "tools": None} for _, template in rows()]
    done = subprocess.run([built("examples/chat"), checkpoint()], input=json.dumps(requests), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rendered"]


def test_nothing_of_jinja_or_python_is_forgotten():
    assert not forgotten()


def test_every_row_gives_the_same_text_or_an_error_that_names_it(here):
    wrong, same, named = [], 0, 0
    for (name, template), ours in zip(rows(), here, strict=True):
        theirs = there(template)
        if "text" in ours:
            same += ours == theirs
            if ours != theirs:
                wrong.append(f"{template}\n  there: {theirs}\n  here:  {ours}")
        elif "text" in theirs:
            named += name in ours["error"]
            if name not in ours["error"]:
                wrong.append(f"{template}\n  there: {theirs}\n  here:  {ours}, which does not name {name}")
    assert not wrong, f"{len(wrong)} rows differ:\n" + "\n".join(wrong[:40])
    # What is not known here stays the odd corner.
    assert same > 9_000 and named < same / 10, (same, named)
