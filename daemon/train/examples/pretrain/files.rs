//! The Hugging Face folder that pretraining writes.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use candle_core::{DType, Tensor};
use hotplate_engine::decoder::Decoder;
use tokenizers::Tokenizer;

pub(crate) const VOCABULARY: usize = 6144;
pub(crate) const END: &str = "<|end|>";
/// Their ids are their places.
pub(crate) const SPECIAL: [&str; 4] = [END, "<|user|>", "<|assistant|>", "<|system|>"];

pub(crate) const CONFIG: &str = r#"{
  "architectures": ["LlamaForCausalLM"],
  "attention_bias": false,
  "attention_dropout": 0.0,
  "bos_token_id": null,
  "eos_token_id": 0,
  "head_dim": 64,
  "hidden_act": "silu",
  "hidden_size": 256,
  "initializer_range": 0.02,
  "intermediate_size": 688,
  "max_position_embeddings": 1024,
  "mlp_bias": false,
  "model_type": "llama",
  "num_attention_heads": 4,
  "num_hidden_layers": 5,
  "num_key_value_heads": 2,
  "pad_token_id": 0,
  "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0,
  "tie_word_embeddings": true,
  "torch_dtype": "bfloat16",
  "vocab_size": 6144
}
"#;

const GENERATION: &str = r#"{
  "do_sample": true,
  "eos_token_id": 0,
  "pad_token_id": 0,
  "temperature": 0.6,
  "top_p": 0.9
}
"#;

const TOKENIZER_CONFIG: &str = r#"{
  "add_bos_token": false,
  "clean_up_tokenization_spaces": false,
  "eos_token": "<|end|>",
  "pad_token": "<|end|>",
  "model_max_length": 1024,
  "tokenizer_class": "PreTrainedTokenizerFast"
}
"#;

const TEMPLATE: &str = "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}";

/// Everything but the weights.
pub(crate) fn write_text_side(folder: &Path, tokenizer: &Tokenizer) -> Result<()> {
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))
    };
    write("config.json", CONFIG)?;
    write("generation_config.json", GENERATION)?;
    write("tokenizer_config.json", TOKENIZER_CONFIG)?;
    write("chat_template.jinja", TEMPLATE)?;
    write("tokenizer.json", &tokenizer.to_string(false).map_err(|error| anyhow!("{error}"))?)
}

/// `model.safetensors` in bf16.
pub(crate) fn write_weights(folder: &Path, decoder: &Decoder) -> Result<()> {
    let named: Vec<(String, Tensor)> = decoder
        .named_weights()?
        .into_iter()
        .map(|(name, value)| Ok((name, value.to_dtype(DType::BF16)?.contiguous()?)))
        .collect::<Result<_>>()?;
    let metadata = std::collections::HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let target = folder.join("model.safetensors");
    let temporary = folder.join("model.safetensors.part");
    safetensors::serialize_to_file(named, Some(metadata), &temporary)?;
    std::fs::rename(&temporary, &target).with_context(|| format!("cannot write {}", target.display()))
}
