//! The files of a base; see `tests/fuzz/README.md`. Those of adapters, runs and kept weights are fuzzed beside their readers.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use hotplate_dataset::{Role, Turn};
use hotplate_fuzz::{JSON, fuzz};
use tempfile::TempDir;

use crate::base_source::BaseSource;
use crate::config::{DecoderConfig, parse_object};
use crate::fixtures;
use crate::gguf::{GgufFile, virtual_file};
use crate::template::ChatTemplate;
use crate::tokenizer::{TextTokenizer, TokenizerConfig};
use crate::weights::Weights;

/// In memory, where the system has such a folder.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

#[test]
fn fuzz_config() {
    let seeds: &[&[u8]] = &[
        fixtures::CONFIG.as_bytes(),
        br#"{"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 100,
            "rms_norm_eps": 1e-6, "max_position_embeddings": 4096, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 2048}, "rope_theta": 500000.0, "hidden_act": "silu"}"#,
        br#"{"architectures": ["Qwen3ForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
            "intermediate_size": 128, "vocab_size": 100, "rms_norm_eps": 1e-6, "max_position_embeddings": 4096, "use_sliding_window": true, "sliding_window": 512,
            "max_window_layers": 1, "hidden_act": "silu", "rope_scaling": {"type": "yarn", "factor": 4.0}}"#,
        br#"{"architectures": ["Gemma3ForCausalLM"], "hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 16,
            "intermediate_size": 128, "vocab_size": 100, "rms_norm_eps": 1e-6, "max_position_embeddings": 4096, "sliding_window": 512, "sliding_window_pattern": 6,
            "query_pre_attn_scalar": 16, "rope_local_base_freq": 10000.0, "hidden_activation": "gelu_pytorch_tanh"}"#,
        br#"{"architectures": ["Phi3ForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 100,
            "rms_norm_eps": 1e-5, "max_position_embeddings": 4096, "original_max_position_embeddings": 2048, "hidden_act": "silu", "partial_rotary_factor": 0.5,
            "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.0, 1.0, 1.0], "long_factor": [2.0, 2.0, 2.0, 2.0]}}"#,
    ];
    let words = [
        JSON,
        &[
            "\"MistralForCausalLM\"",
            "\"Qwen2ForCausalLM\"",
            "\"SmolLM3ForCausalLM\"",
            "\"layer_types\": [\"full_attention\", \"sliding_attention\"]",
            "\"head_dim\": ",
            "\"rope_parameters\": {",
            "\"no_rope_layers\": [0, 1]",
            "\"text_config\": {",
            "\"attention_bias\": true",
            "\"rope_scaling\": {",
        ],
    ]
    .concat();
    fuzz("config", seeds, &words, |bytes| {
        let _ = DecoderConfig::parse(bytes, Path::new("config.json"));
    });
}

/// A whole model of few weights, as llama.cpp writes it.
fn gguf() -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let key = |key: &str, kind: u32, value: Vec<u8>| [text(key), kind.to_le_bytes().to_vec(), value].concat();
    let whole = |name: &str, value: u32| key(name, 4, value.to_le_bytes().to_vec());
    let list = |name: &str, kind: u32, values: Vec<Vec<u8>>| {
        let head = [kind.to_le_bytes().to_vec(), (values.len() as u64).to_le_bytes().to_vec()].concat();
        key(name, 9, [head, values.concat()].concat())
    };
    let tokens = ["<s>", "</s>", "a", "b", "ab", "\u{120}", "c", "d"];
    let keys = [
        key("general.architecture", 8, text("llama")),
        whole("llama.block_count", 1),
        whole("llama.context_length", 64),
        whole("llama.embedding_length", 8),
        whole("llama.feed_forward_length", 8),
        whole("llama.attention.head_count", 2),
        whole("llama.vocab_size", 8),
        key("llama.attention.layer_norm_rms_epsilon", 6, 1e-5_f32.to_le_bytes().to_vec()),
        key("tokenizer.ggml.model", 8, text("gpt2")),
        key("tokenizer.ggml.pre", 8, text("gpt-2")),
        list("tokenizer.ggml.tokens", 8, tokens.map(text).to_vec()),
        list(
            "tokenizer.ggml.token_type",
            5,
            [3_i32, 3, 1, 1, 1, 1, 1, 1].map(|kind| kind.to_le_bytes().to_vec()).to_vec(),
        ),
        list("tokenizer.ggml.merges", 8, vec![text("a b")]),
        whole("tokenizer.ggml.bos_token_id", 0),
        whole("tokenizer.ggml.eos_token_id", 1),
        key("tokenizer.chat_template", 8, text("{{ messages[0].content }}")),
    ];
    let mut tensors =
        vec![("token_embd.weight".to_owned(), vec![8_u64, 8]), ("output_norm.weight".to_owned(), vec![8])];
    for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"] {
        tensors.push((format!("blk.0.{name}.weight"), vec![8, 8]));
    }
    for name in ["attn_norm", "ffn_norm"] {
        tensors.push((format!("blk.0.{name}.weight"), vec![8]));
    }
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend([tensors.len() as u64, keys.len() as u64].map(u64::to_le_bytes).concat());
    bytes.extend(keys.concat());
    let mut offset = 0_u64;
    for (name, dims) in &tensors {
        bytes.extend(text(name));
        bytes.extend((dims.len() as u32).to_le_bytes());
        bytes.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        offset += (dims.iter().product::<u64>() * 4).next_multiple_of(32);
    }
    bytes.resize(bytes.len().next_multiple_of(32) + offset as usize, 0);
    bytes
}

/// All that opening a base reads of its weights.
fn read_weights(weights: &Weights) {
    let _ = weights.headers().count() + weights.samples().count();
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    for name in names {
        let shape = weights.shape(&name).unwrap_or_default().to_vec();
        if shape.iter().product::<usize>() < 1 << 16 {
            let _ = weights.tensor(&name, &shape, &Device::Cpu);
        }
        if let [rows, columns] = *shape {
            let _ = weights.frozen(&name, [rows, columns], &Device::Cpu);
        }
    }
}

fn fuzz_gguf_file(name: &str, look: impl Fn(&Path)) {
    let folder = folder();
    let file = folder.path().join("m.gguf");
    let whole = gguf();
    fs::write(&file, &whole).unwrap();
    GgufFile::open(&file).unwrap();
    virtual_file(&file, "config.json").unwrap().unwrap();
    virtual_file(&file, "tokenizer.json").unwrap().unwrap();
    let words = [
        "llama",
        "qwen2",
        "gemma3",
        "phi3",
        "gpt2",
        "bert",
        "general.type",
        "adapter",
        "general.alignment",
        "split.count",
        "tokenizer.ggml.scores",
        "llama.rope.scaling.type",
        "llama.rope.freq_base",
        "llama.attention.head_count_kv",
        "llama.rope.dimension_count",
        "rope_freqs.weight",
        "blk.0.attn_q.bias",
        "\u{2581}",
    ];
    fuzz(name, &[&whole], &words, |bytes| {
        fs::write(&file, bytes).unwrap();
        look(&file);
    });
}

#[test]
fn fuzz_gguf() {
    fuzz_gguf_file("gguf", |file| {
        for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
            let _ = virtual_file(file, name);
        }
    });
}

#[test]
fn fuzz_gguf_weights() {
    fuzz_gguf_file("gguf-weights", |file| {
        if let Ok(weights) = Weights::open(&BaseSource::Gguf(file.to_owned())) {
            read_weights(&weights);
        }
    });
}

#[test]
fn fuzz_safetensors() {
    let folder = folder();
    let file = folder.path().join("model.safetensors");
    let header = br#"{"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, "b": {"dtype": "BF16", "shape": [4], "data_offsets": [16, 24]}}"#;
    let whole = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &[0; 24]].concat();
    let words = [
        JSON,
        &[
            "\"dtype\": \"F16\"",
            "\"shape\": []",
            "\"data_offsets\": [0, 16]",
            "\"F8_E4M3\"",
            "\"I64\"",
            "\"c\": {",
        ],
    ]
    .concat();
    fuzz("safetensors", &[&whole], &words, |bytes| {
        fs::write(&file, bytes).unwrap();
        if let Ok(weights) = Weights::open_file(&file) {
            read_weights(&weights);
        }
    });
}

/// A base's folder without weights.
fn text_folder() -> (TempDir, PathBuf) {
    let folder = folder();
    let path = folder.path().to_owned();
    (folder, path)
}

const TOKENIZER: &[u8] = br#"{"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
    "normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}}, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false, "byte_fallback": false,
    "vocab": {"<s>": 0, "a": 1, "b": 2, "ab": 3, "c": 4}, "merges": [["a", "b"]]}}"#;

#[test]
fn fuzz_tokenizer() {
    let (_folder, path) = text_folder();
    let source = BaseSource::Folder(path.clone());
    fs::write(path.join("tokenizer.json"), TOKENIZER).unwrap();
    TextTokenizer::read(&source, &TokenizerConfig::default(), 8).unwrap();
    let words = [
        JSON,
        &[
            "\"type\": \"Unigram\"",
            "\"type\": \"WordPiece\"",
            "\"Metaspace\"",
            "\"Split\"",
            "\"Regex\": \"a+\"",
            "\"Replace\"",
            "\"Sequence\"",
            "\"Precompiled\"",
            "\"byte_fallback\": true",
            "\"ignore_merges\": true",
            "\"unk_token\": \"a\"",
        ],
    ]
    .concat();
    fuzz("tokenizer", &[TOKENIZER], &words, |bytes| {
        fs::write(path.join("tokenizer.json"), bytes).unwrap();
        if let Ok(tokenizer) = TextTokenizer::read(&source, &TokenizerConfig::default(), 8) {
            if let Ok(tokens) = tokenizer.encode("ab c <s> \u{e9}", true) {
                let _ = tokenizer.decode(&tokens, false);
            }
            let _ = (tokenizer.piece(3), tokenizer.is_text(3), tokenizer.is_added(0));
        }
    });
}

#[test]
fn fuzz_tokenizer_config() {
    let (_folder, path) = text_folder();
    let source = BaseSource::Folder(path.clone());
    let seeds: &[&[u8]] = &[
        br#"{"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null, "chat_template": "{{ messages }}", "added_tokens_decoder": {"0": {"content": "<s>",
            "lstrip": false, "normalized": false, "rstrip": false, "single_word": false, "special": true}}}"#,
        br#"{"chat_template": [{"name": "default", "template": "{{ 1 }}"}, {"name": "tool_use", "template": "{{ 2 }}"}]}"#,
    ];
    fuzz("tokenizer-config", seeds, JSON, |bytes| {
        fs::write(path.join("tokenizer_config.json"), bytes).unwrap();
        if let Ok(config) = TokenizerConfig::read(&source) {
            let _ = crate::template::find(&source, &config);
        }
        let _ = parse_object(bytes);
    });
}

#[test]
fn fuzz_template() {
    let seeds: &[&[u8]] = &[
        b"{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content | trim }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        b"{%- set ns = namespace(found=false) -%}{%- for m in messages[1:] -%}{%- if m['role'] == 'user' and not ns.found -%}{%- set ns.found = true -%}{{ m['content'].split('a')[-1] }}{%- endif -%}{%- endfor -%}{{ raise_exception('no') if messages|length > 9 else '' }}",
        b"{%- macro one(x, y=2) -%}{{ x ~ y }}{%- endmacro -%}{{ one('a') }}{{ messages | tojson(indent=2) }}{% generation %}{{ messages[0].content }}{% endgeneration %}{{ strftime_now('%Y') }}",
    ];
    let words = [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        " for x in messages ",
        " endfor ",
        " if ",
        " endif ",
        " else ",
        "|",
        "|tojson",
        "|trim",
        "|join(',')",
        ".items()",
        ".split('a')",
        "[::-1]",
        "range(9)",
        "loop.index0",
        "namespace(a=1)",
        " set x = ",
        " macro f(x) ",
        " endmacro ",
        " is defined",
        " in ",
        " and ",
        "not ",
        "~",
        "'a' * 3",
        "messages",
        "(",
        ")",
        "[",
        "]",
        "**",
        "//",
        " generation ",
        " endgeneration ",
        "|indent(2)",
        "|center(9)",
        "%s' % 1",
    ];
    let turns = [Turn::new(Role::User, "a b"), Turn::new(Role::Assistant, "c")];
    fuzz("template", seeds, &words, |bytes| {
        if let Ok(text) = str::from_utf8(bytes)
            && let Ok(template) = ChatTemplate::compile(text, std::collections::BTreeMap::new())
        {
            let _ = template.render(&turns, None, true);
            let _ = template.render_marked(&turns, None);
        }
    });
}
