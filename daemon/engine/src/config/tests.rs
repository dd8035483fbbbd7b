use serde_json::json;

use super::*;

fn tiny() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100, "hidden_act": "silu",
    })
}

fn parse(value: &Value) -> Result<DecoderConfig, BaseError> {
    DecoderConfig::parse(value.to_string().as_bytes(), Path::new("base/config.json"))
}

fn with(key: &str, value: Value) -> Result<DecoderConfig, BaseError> {
    let mut config = tiny();
    config[key] = value;
    parse(&config)
}

#[test]
fn defaults_are_those_of_transformers() {
    let config = parse(&tiny()).unwrap();
    assert_eq!((config.kv_heads, config.head_dim, config.context), (4, 16, 2048));
    assert!((config.rms_eps - 1e-6).abs() < 1e-18);
    assert!(!config.tied_embeddings);
    assert_eq!(config.biases, Biases { query_key_value: false, output: false, mlp: false });
    assert_eq!(config.ropes, [Rope { theta: 10_000.0, width: 16, scaling: RopeScaling::None }]);
}

#[test]
fn what_is_given_is_kept() {
    let mut value = tiny();
    value["head_dim"] = json!(32);
    value["num_key_value_heads"] = json!(2);
    value["tie_word_embeddings"] = json!(true);
    value["attention_bias"] = json!(true);
    value["max_position_embeddings"] = json!(8192);
    value["rms_norm_eps"] = json!(1e-5);
    let config = parse(&value).unwrap();
    assert_eq!((config.head_dim, config.kv_heads, config.context), (32, 2, 8192));
    assert!(config.tied_embeddings);
    assert_eq!(config.biases, Biases { query_key_value: true, output: true, mlp: false });
}

#[test]
fn what_would_change_the_numbers_is_refused_by_name() {
    for (key, value) in [
        ("hidden_act", json!("gelu")),
        ("attention_multiplier", json!(2)),
        ("num_experts", json!(8)),
        ("clip_qkv", json!(8)),
        ("sliding_window", json!(16)),
        ("use_rope", json!(false)),
        ("something_new", json!(0.5)),
        ("quantization_config", json!({"bits": 4})),
        ("partial_rotary_factor", json!(0.5)),
        ("rope_interleaved", json!(true)),
        ("num_local_experts", json!(8)),
        ("layer_types", json!(["full_attention", "sliding_attention"])),
        ("hidden_size", json!(0)),
        ("hidden_size", json!(1e30)),
        ("hidden_size", json!(u64::MAX)),
        ("hidden_size", json!("64")),
        ("num_hidden_layers", json!(-1)),
        ("num_attention_heads", json!(5)),
        ("num_key_value_heads", json!(3)),
        ("num_key_value_heads", json!(0)),
        ("head_dim", json!(7)),
        ("vocab_size", json!(4_000_000_000_u64)),
        ("rms_norm_eps", json!("small")),
        ("rms_norm_eps", json!(-1.0)),
        ("tie_word_embeddings", json!(1)),
        ("rope_theta", json!(0)),
        ("max_position_embeddings", json!(0)),
    ] {
        let error = with(key, value.clone()).expect_err(key).to_string();
        assert!(error.contains("base/config.json") && error.contains(key), "{key} {value}: {error}");
    }
    for (key, value) in
        [("pretraining_tp", json!(2)), ("quantization_config", json!(null)), ("head_dim", json!(null))]
    {
        with(key, value).expect(key);
    }
}

#[test]
fn an_unknown_architecture_lists_the_known_ones() {
    let error = with("architectures", json!(["Qwen2MoeForCausalLM"])).unwrap_err().to_string();
    assert!(error.contains("Qwen2MoeForCausalLM") && error.contains("LlamaForCausalLM"), "{error}");
    let error = with("model_type", json!("mistral")).unwrap_err();
    assert!(matches!(error, BaseError::UnknownArchitecture { .. }), "{error}");
    let mut bare = tiny();
    bare.as_object_mut().unwrap().remove("architectures");
    parse(&bare).expect("model_type alone is enough");
}

#[test]
fn what_is_no_config_is_an_error_without_panic() {
    for bytes in [&b""[..], b"{", b"[]", b"null", b"\xff\xfe", b"{}", b"{\"model_type\":\"llama\"}"] {
        DecoderConfig::parse(bytes, Path::new("config.json")).unwrap_err();
    }
    let deep = "[".repeat(100_000);
    DecoderConfig::parse(deep.as_bytes(), Path::new("config.json")).unwrap_err();
    let long = with("hidden_act", json!("好".repeat(100_000))).unwrap_err().to_string();
    assert!(long.len() < 500, "{}", long.len());
}
