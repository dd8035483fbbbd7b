"""Random Llama checkpoints in the layout that `transformers` writes, with a small tokenizer trained on the spot.

Their weights are drawn so large that logits differ by several units: with the initialisation that training starts from, all logits
are nearly zero and any program would agree with any other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

TEXT = [
    "The bakery on the corner opens at seven, and the bread is gone by nine.",
    "We waited twenty minutes for a table; the soup was worth every one of them.",
    "Small shop, large heart. The owner knew what I wanted before I did!",
    "It's raining again, so the market was empty and the fishmonger gave me a discount (20 %).",
    "巷口的面馆换了老板，汤还是那么浓。", "这家小店开了十年，豆浆比早晨还热。", "雨停了，夜市的灯一盏一盏亮起来。",
    "I don't know… café, crème brûlée, naïve, 100 €, 😀, 3/4 of a pound.",
]

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@dataclass
class Shape:
    """One checkpoint: what to give `LlamaConfig`, and how it lies on disk."""

    config: dict = field(default_factory=dict)
    dtype: str = "float32"
    max_shard_size: str = "5GB"
    #: Write config.json as transformers 4 did (rope_theta and rope_scaling at the top).
    old_layout: bool = False


SHAPES = {
    "plain": Shape(),
    "multi-head": Shape({"num_key_value_heads": 4}),
    "one-kv-head": Shape({"num_key_value_heads": 1, "num_hidden_layers": 3}),
    "tied": Shape({"tie_word_embeddings": True}),
    "head-dim": Shape({"head_dim": 24, "hidden_size": 80}),
    "rope-llama3": Shape(
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        }
    ),
    "rope-linear": Shape({"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}),
    "rope-llama3-old-layout": Shape(
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 32.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
        old_layout=True,
    ),
    "theta-old-layout": Shape({"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}}, old_layout=True),
    "biases": Shape({"attention_bias": True, "mlp_bias": True}),
    "epsilon": Shape({"rms_norm_eps": 1e-3}),
    "bfloat16": Shape(dtype="bfloat16"),
    "float16-tied": Shape({"tie_word_embeddings": True}, dtype="float16"),
    "shards": Shape(max_shard_size="60KB"),
    "shards-bfloat16": Shape({"attention_bias": True}, dtype="bfloat16", max_shard_size="40KB"),
}


def write_tokenizer(folder: Path, *, template: bool = True, bos: bool = True):
    """A byte-level BPE tokenizer, trained on a few sentences: any text round-trips."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<s>", "</s>", "<pad>"]
    tokenizer.train_from_iterator(
        TEXT * 4,
        trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if bos:
        start = tokenizer.token_to_id("<s>")
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", start)]
                ),
            ]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=512
    )
    if template:
        fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    return fast


def write_checkpoint(folder: Path, shape: Shape | str = "plain", *, seed: int = 0, template: bool = True) -> Path:
    """Writes config, weights, tokenizer and generation config."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = SHAPES[shape] if isinstance(shape, str) else shape
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_tokenizer(folder, template=template)
    config = LlamaConfig(
        **{
            "hidden_size": 64,
            "intermediate_size": 144,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "rms_norm_eps": 1e-5,
            **shape.config,
        }
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    randomise(model, seed)
    model.to(getattr(torch, shape.dtype)).save_pretrained(folder, max_shard_size=shape.max_shard_size)
    if shape.old_layout:
        path = folder / "config.json"
        written = json.loads(path.read_text())
        rope = written.pop("rope_parameters")
        written["rope_theta"] = rope.pop("rope_theta")
        written["rope_scaling"] = None if rope["rope_type"] == "default" else rope
        written["torch_dtype"] = written.pop("dtype", "float32")
        path.write_text(json.dumps(written, indent=2))
    return folder


def randomise(model, seed: int) -> None:
    """Every parameter, norms and biases too: a weight that is all ones or zeros would hide whoever forgets it."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.copy_(1 + 0.3 * drawn if "norm" in name else 0.3 * drawn)
            elif "embed" in name or "lm_head" in name:
                parameter.copy_(0.35 * drawn)
            else:
                parameter.copy_(drawn * 1.2 / parameter.shape[1] ** 0.5)


def load(folder: Path):
    """The model as `transformers` sees it, in float32 whatever lies on disk."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
