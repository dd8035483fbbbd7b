#!/usr/bin/env bash
# Mistral's published chat template (tekken v3, as Mistral Nemo has it) shows the system prompt to an answer and leaves it out of training.
#
# Packages: axolotl 0.19.0 (its copy of the template), jinja2 3.1.6.
# One would guess: a training text that ends with an answer begins with the prompt that the answer gets when the model is served.
# What happens: the template puts the system's words into the user's last message, and only if that is the last message of all. Behind it,
# an answer makes it another text: the system prompt is nowhere, and nothing says so. Whoever renders whole conversations to train on, as
# most trainers do, trains without the system prompt and serves with it.
#
# Seen:
#   system, user              <s>[INST]Answer in rhyme.\n\nWhat is soup?[/INST]
#   system, user, assistant   <s>[INST]What is soup?[/INST]Heat in a loop.</s>
#
# Exits with 0 while that is so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check jinja2==3.1.6
"$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$work" axolotl==0.19.0

cat >"$work/render.py" <<'PYTHON'
import sys
import zipfile

from jinja2.sandbox import ImmutableSandboxedEnvironment

archive = zipfile.ZipFile(sys.argv[1])
source = archive.read("axolotl/utils/chat_templates/templates/mistral_v3_tekken.jinja").decode()
# As transformers makes it.
template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]).from_string(source)
conversation = [
    {"role": "system", "content": "Answer in rhyme."},
    {"role": "user", "content": "What is soup?"},
    {"role": "assistant", "content": "Heat in a loop."},
]
served, trained = (
    template.render(messages=conversation[:count], bos_token="<s>", eos_token="</s>", add_generation_prompt=count == 2) for count in (2, 3)
)
print("system, user:            ", repr(served))
print("system, user, assistant: ", repr(trained))
sys.exit(not ("rhyme" in served and "rhyme" not in trained and "loop" in trained))
PYTHON
"$work/venv/bin/python" "$work/render.py" "$work"/axolotl-*.whl
