use std::fs;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::fixtures::tokenizers::{byte_level, ended, letters, llama};

/// A folder as save_pretrained writes it, with one small tensor.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8,
        "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 400,
        "eos_token_id": 2, "bos_token_id": 1});
    write(&folder, "config.json", &config.to_string());
    llama().save(folder.path().join("tokenizer.json"), false).unwrap();
    write(&folder, "tokenizer_config.json", r#"{"eos_token": "<|end|>", "bos_token": {"content": "<s>"}}"#);
    write(
        &folder,
        "generation_config.json",
        r#"{"eos_token_id": [3, 2, 4000, -1], "temperature": 0.6, "do_sample": true}"#,
    );
    let bytes = 1.0_f32.to_le_bytes();
    let view = TensorView::new(Dtype::F32, vec![1], &bytes).unwrap();
    let weights = safetensors::serialize([("model.norm.weight", view)], None).unwrap();
    fs::write(folder.path().join("model.safetensors"), weights).unwrap();
    folder
}

fn write(folder: &TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).unwrap();
}

fn open(folder: &TempDir) -> Result<BaseSpec, BaseError> {
    BaseSpec::open(&BaseSource::Folder(folder.path().to_owned()))
}

fn refused(folder: &TempDir) -> String {
    open(folder).unwrap_err().to_string()
}

#[test]
fn a_folder_tells_its_tokens_and_defaults() {
    let folder = folder();
    let base = open(&folder).unwrap();
    assert_eq!((base.eos.as_slice(), base.bos), (&[2, 3][..], Some(1)));
    assert_eq!(
        base.generation,
        GenerationDefaults { temperature: Some(0.6), do_sample: true, ..Default::default() }
    );
    assert_eq!(base.name, folder.path().file_name().unwrap().to_str().unwrap());
    assert!(base.hub_id.is_none() && base.chat_template().is_none());
    assert_eq!(base.fingerprint.len(), 64);
    // BOS, "▁hello"
    let tokens = base.encode_raw("hello").unwrap();
    assert_eq!(tokens.len(), 2);
    assert_eq!(base.prompt("hello", false).unwrap(), tokens);
    assert_eq!(base.prompt("<s>hello", true).unwrap().iter().filter(|token| **token == 1).count(), 1);
    assert_eq!(base.decode(&tokens).unwrap(), "hello");
    let mut stream = base.decode_stream();
    let text: String = tokens.iter().map(|token| stream.push(*token).unwrap()).collect();
    assert_eq!(text, "hello");
}

#[test]
fn no_end_token_stands_behind_a_prompt() {
    let folder = folder();
    ended().save(folder.path().join("tokenizer.json"), false).unwrap();
    let base = open(&folder).unwrap();
    assert_eq!(base.encode_raw("hello").unwrap().last(), Some(&2));
    for raw in [true, false] {
        let prompt = base.prompt("hello", raw).unwrap();
        assert_eq!(prompt, base.encode_raw("hello").unwrap()[..prompt.len()]);
        assert_eq!(base.decode(&prompt).unwrap(), "hello");
        assert!(!prompt.contains(&2));
        assert_eq!(base.prompt("", raw).unwrap(), [1]);
        // What somebody wrote stays.
        assert_eq!(base.prompt("hello<|end|>", raw).unwrap().last(), Some(&2));
    }
}

#[test]
fn the_fingerprint_follows_content_not_place() {
    let (one, two) = (folder(), folder());
    let fingerprint = |folder: &TempDir| open(folder).unwrap().fingerprint;
    assert_eq!(fingerprint(&one), fingerprint(&two));
    byte_level().save(two.path().join("tokenizer.json"), false).unwrap();
    assert_ne!(fingerprint(&one), fingerprint(&two));
}

#[test]
fn templates_are_found_in_transformers_order() {
    let folder = folder();
    let template = || open(&folder).unwrap().chat_template().map(str::to_owned);
    let named = |entries: Value| json!({"bos_token": "<s>", "chat_template": entries}).to_string();
    write(&folder, "tokenizer_config.json", &named(json!("A")));
    assert_eq!(template().as_deref(), Some("A"));
    let entries = json!([{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]);
    write(&folder, "tokenizer_config.json", &named(entries));
    assert_eq!(template().as_deref(), Some("D"));
    write(&folder, "chat_template.jinja", "{{ bos_token }}{{ messages[0].content }}\n");
    let base = open(&folder).unwrap();
    let tokens = base.prompt("hello", false).unwrap();
    assert_eq!(base.tokenizer.decode(&tokens, false).unwrap(), "<s> hello");
    assert_eq!(tokens.iter().filter(|token| **token == 1).count(), 1, "the template's BOS is not doubled");
}

#[test]
fn a_broken_template_is_an_error_only_when_it_is_used() {
    let folder = folder();
    write(&folder, "chat_template.jinja", "{% if %}");
    let base = open(&folder).unwrap();
    base.prompt("hello", true).unwrap();
    let error = base.prompt("hello", false).unwrap_err().to_string();
    assert!(error.contains("chat_template.jinja"), "{error}");
}

#[test]
fn special_tokens_that_only_the_settings_name_are_atomic_and_skipped() {
    let folder = folder();
    let bare = byte_level();
    let end = bare.token_to_id("hello").unwrap();
    bare.save(folder.path().join("tokenizer.json"), false).unwrap();
    let next = bare.get_vocab_size(true);
    let settings = json!({"eos_token": "hello", "added_tokens_decoder": {next.to_string(): {"content": "<new>",
        "lstrip": false, "rstrip": false, "normalized": false, "single_word": false, "special": true}}});
    write(&folder, "tokenizer_config.json", &settings.to_string());
    let base = open(&folder).unwrap();
    assert_eq!(base.eos[0], end);
    let tokens = base.encode_raw("a<new>b").unwrap();
    assert_eq!((tokens.len(), tokens[1] as usize), (3, next));
    assert_eq!(base.decode(&tokens).unwrap(), "ab");
}

#[test]
fn each_broken_file_is_named_with_what_to_do() {
    let missing = BaseSource::Folder(PathBuf::from("no/such/folder"));
    assert!(BaseSpec::open(&missing).unwrap_err().to_string().contains("no/such/folder"));

    let broken = folder();
    fs::remove_file(broken.path().join("tokenizer.json")).unwrap();
    assert!(refused(&broken).contains("tokenizer.json"));
    write(&broken, "tokenizer.model", "");
    let error = refused(&broken);
    assert!(error.contains("tokenizer.model") && error.contains("save_pretrained"), "{error}");
    for bad in ["", "{}", "[", "{\"model\": {\"type\": \"BPE\"}}", "\u{0}"] {
        write(&broken, "tokenizer.json", bad);
        let error = refused(&broken);
        assert!(error.contains("tokenizer.json"), "{bad}: {error}");
    }

    for (file, text, named) in [
        ("config.json", "{", "config.json"),
        ("generation_config.json", r#"{"temperature": "hot"}"#, "temperature"),
        ("generation_config.json", r#"{"top_p": 3}"#, "top_p"),
        ("generation_config.json", r#"{"eos_token_id": "x"}"#, "eos_token_id"),
        ("tokenizer_config.json", "[]", "tokenizer_config.json"),
        ("tokenizer_config.json", r#"{"added_tokens_decoder": {"x": 1}}"#, "added_tokens_decoder.x"),
        ("tokenizer_config.json", r#"{"chat_template": 5}"#, "chat_template"),
        ("model.safetensors", "garbage!garbage!", "model.safetensors"),
    ] {
        let folder = folder();
        write(&folder, file, text);
        let error = refused(&folder);
        assert!(error.contains(file) && error.contains(named), "{file}: {error}");
    }
    let file = folder();
    let inside = BaseSource::Folder(file.path().join("config.json"));
    assert!(BaseSpec::open(&inside).unwrap_err().to_string().contains("is a file"));
}

#[test]
fn a_token_that_the_base_does_not_know_is_an_error() {
    let folder = folder();
    let config = fs::read_to_string(folder.path().join("config.json")).unwrap().replace("400", "20");
    write(&folder, "config.json", &config);
    let error = open(&folder).unwrap().encode_raw("hello").unwrap_err().to_string();
    assert!(error.contains("vocab_size is 20"), "{error}");
}

#[test]
fn hub_ids_are_told_from_paths() {
    assert_eq!(
        cached_id(Path::new("/c/hub/models--org--my--model/snapshots/0a1b")).as_deref(),
        Some("org/my--model")
    );
    assert_eq!(cached_id(Path::new("/c/hub/models--gpt/snapshots/0a1b")), None);
    assert_eq!(cached_id(Path::new("/c/models--org--m")), None);
    for (text, expected) in
        [("org/model-1.5", true), ("/org/model", false), ("./org", false), ("a/b/c", false), ("a b/c", false)]
    {
        assert_eq!(is_hub_id(text), expected, "{text}");
    }
}

#[test]
fn what_a_base_has_answered_belongs_to_its_template_too() {
    let config = crate::fixtures::config;
    let base = |template: Option<&str>| BaseSpec::with_tokenizer(letters(config().vocab), template, config());
    let names = [base(None), base(Some("{{ messages }}")), base(Some("{{ messages[0].content }}"))]
        .map(|base| base.answers_by());
    assert!(names[0] != names[1] && names[1] != names[2], "{names:?}");
    assert_eq!(names[1], base(Some("{{ messages }}")).answers_by());
}
