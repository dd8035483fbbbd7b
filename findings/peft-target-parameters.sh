#!/usr/bin/env bash
# PEFT's target_parameters obeys neither layers_to_transform nor exclude_modules, and rank_pattern only under a key that it warns about.
#
# Packages: peft 0.21.2, transformers 5.23.0, torch 2.15.0.
# One would guess: target_parameters=["q_proj.weight"] adapts what target_modules=["q_proj"] adapts (a plain linear layer has one weight), so the
# settings that choose among modules choose among parameters, too, or are refused.
# What happens: every layer gets an adapter, without a word. A rank_pattern that names the module, as its documentation has it, does
# nothing; one that names the parameter works, while the same warning says that it was ignored.
# What to do: count the adapted modules before a long run, and their ranks.
#
# Seen (two layers; asked for; adapted):
#   target_modules q_proj, rank_pattern q_proj: 2                       layers 0 and 1, rank 2
#   target_parameters q_proj.weight, rank_pattern q_proj: 2             layers 0 and 1, rank 4, and a warning
#   target_parameters q_proj.weight, rank_pattern q_proj.weight: 2      layers 0 and 1, rank 2, and a warning
#   target_modules q_proj, layers_to_transform [1]                      layer 1
#   target_parameters q_proj.weight, layers_to_transform [1]            layers 0 and 1
#   target_modules q_proj and k_proj, exclude_modules k_proj            q_proj
#   target_parameters of both, exclude_modules k_proj                   q_proj and k_proj
#
# Exits with 0 while that is so. (torch makes the installation large.)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile torch==2.15.0 transformers==5.23.0 peft==0.21.2

cat >"$work/targets.py" <<'PYTHON'
import sys
import warnings

from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

SHAPE = dict(vocab_size=50, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)


def adapted(**wish):
    """The adapted modules with their ranks, and whether a warning speaks of the wish."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model = get_peft_model(LlamaForCausalLM(LlamaConfig(**SHAPE)), LoraConfig(r=4, **wish))
    ranks = {}
    for name, module in model.named_modules():
        if getattr(module, "lora_A", None):
            layer = next(part for part in name.split(".") if part.isdigit())
            kind = next(part for part in name.split(".") if part.endswith("_proj"))
            ranks[f"{layer}.{kind}"] = module.lora_A["default"].weight.shape[0]
    asked = ("rank_pattern", "layers_to_transform", "exclude_modules", "ignored")
    return ranks, any(word in str(w.message) for w in warned for word in asked)


modules = dict(target_modules=["q_proj"])
weights = dict(target_modules=[], target_parameters=["q_proj.weight"])
both_modules = dict(target_modules=["q_proj", "k_proj"])
both_weights = dict(target_modules=[], target_parameters=["q_proj.weight", "k_proj.weight"])
table = [
    (modules, dict(rank_pattern={"q_proj": 2}), {"0.q_proj": 2, "1.q_proj": 2}, False),
    (weights, dict(rank_pattern={"q_proj": 2}), {"0.q_proj": 4, "1.q_proj": 4}, True),
    (weights, dict(rank_pattern={"q_proj.weight": 2}), {"0.q_proj": 2, "1.q_proj": 2}, True),
    (modules, dict(layers_to_transform=[1]), {"1.q_proj": 4}, False),
    (weights, dict(layers_to_transform=[1]), {"0.q_proj": 4, "1.q_proj": 4}, False),
    (both_modules, dict(exclude_modules=["k_proj"]), {"0.q_proj": 4, "1.q_proj": 4}, False),
    (both_weights, dict(exclude_modules=["k_proj"]), {"0.q_proj": 4, "0.k_proj": 4, "1.q_proj": 4, "1.k_proj": 4}, False),
]
changed = False
for targets, wish, ranks, warns in table:
    seen, spoken = adapted(**targets, **wish)
    same = (seen, spoken) == (ranks, warns)
    changed |= not same
    print(f"{targets} {wish}: {seen}{', with a warning' if spoken else ''}{'' if same else '   <- otherwise than described'}")
print("it behaves otherwise now" if changed else "as described")
sys.exit(changed)
PYTHON
"$work/venv/bin/python" "$work/targets.py" 2>"$work/log" || { tail -5 "$work/log" >&2; exit 1; }
