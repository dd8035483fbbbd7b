#!/usr/bin/env bash
# The same LoRA pair on a tied embedding is two adapters: mlx-lm's also changes the output head, PEFT's does not.
#
# Packages: mlx-lm 0.32.2 (mlx 0.32.4 on the CPU), peft 0.21.2, transformers 5.23.0, torch 2.15.0.
# One would guess: an adapter is its numbers, so a pair for embed_tokens that is renamed and transposed from one library's file into the other's
# gives the same logits, as pairs of linear layers do. Most small bases tie their embeddings, and neither file says what the pair does to the head.
# What happens: mlx-lm computes a tied head through the adapted embedding (`as_linear`), so the pair counts twice. PEFT leaves the head as it was,
# unless the configuration says ensure_weight_tying=True; its warning speaks of merging and converting. Then both give the same logits.
# What to do: convert such an adapter with ensure_weight_tying=True, or with a second pair, transposed, for lm_head.
#
# Seen (largest difference from mlx-lm's logits, and the largest logit):
#   PEFT as it is                      28.08 (of 0.34)
#   PEFT with ensure_weight_tying      0.0000019 (of 28.00)
#
# Exits with 0 while that is so. (torch makes the installation large.)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    'mlx[cpu]==0.32.4' mlx-lm==0.32.2 torch==2.15.0 transformers==5.23.0 peft==0.21.2

cat >"$work/tied.py" <<'PYTHON'
import sys
from pathlib import Path

import mlx.core as mx
import numpy
import torch
from mlx_lm.tuner.utils import linear_to_lora_layers
from mlx_lm.utils import load_model
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

base = Path(sys.argv[1]) / "base"
VOCABULARY, WIDTH, RANK, SCALE = 48, 32, 2, 4.0
TOKENS = [1, 5, 9, 2, 7, 30]

torch.manual_seed(0)
LlamaForCausalLM(
    LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
).save_pretrained(base)
first, second = torch.randn(VOCABULARY, RANK) * 0.3, torch.randn(RANK, WIDTH) * 0.3


def in_mlx_lm():
    model, _ = load_model(base)
    settings = {"rank": RANK, "scale": SCALE, "dropout": 0.0, "keys": ["model.embed_tokens"]}
    linear_to_lora_layers(model, 2, settings)
    pair = model.model.embed_tokens
    assert pair.lora_a.shape == first.shape and pair.lora_b.shape == second.shape
    pair.lora_a, pair.lora_b = mx.array(first.numpy()), mx.array(second.numpy())
    return numpy.array(model(mx.array([TOKENS]))[0].astype(mx.float32))


def in_peft(ensure_weight_tying):
    config = LoraConfig(
        r=RANK,
        lora_alpha=RANK * SCALE,
        target_modules=["embed_tokens"],
        ensure_weight_tying=ensure_weight_tying,
    )
    model = get_peft_model(LlamaForCausalLM.from_pretrained(base), config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_embedding_A" in name:
                parameter.copy_(first.T)
            elif "lora_embedding_B" in name:
                parameter.copy_(second.T)
        return model(torch.tensor([TOKENS])).logits[0].numpy()


mlx = in_mlx_lm()
distances = []
for tying in (False, True):
    logits = in_peft(tying)
    distances.append(abs(mlx - logits).max())
    print(f"ensure_weight_tying={tying}: {distances[-1]:.7f} (of {abs(logits).max():.2f})")
sys.exit(not (distances[0] > 1 and distances[1] < 1e-3))
PYTHON
"$work/venv/bin/python" "$work/tied.py" "$work"
