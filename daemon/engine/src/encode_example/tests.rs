use std::path::Path;

use serde_json::json;
use tokenizers::Tokenizer;

use super::*;
use crate::config::DecoderConfig;
use crate::test_tokenizers::{byte_level, llama, metaspace};

/// The embedded base's own.
const TINY: &str = "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|assistant|>\n{% endif %}";
/// Nothing between a turn and the answer, and the answer on the same line.
const TIGHT: &str = "{% for m in messages %}{{ '>' if m.role == 'user' else '' }}{{ m.content }}{{ '\n' if m.role == 'user' \
    else '<|end|>' }}{% endfor %}";
/// An empty thought is opened for an answer, and not shown afterwards.
const THOUGHT: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<|end|>{% endfor %}\
    {% if add_generation_prompt %}<|assistant|><think>{% endif %}";
/// A tag that the base never ends on.
const ENDLESS: &str = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}\
    {% if add_generation_prompt %}[assistant]{% endif %}";

fn base(tokenizer: Tokenizer, template: Option<&str>) -> BaseText {
    let config = json!({"model_type": "llama", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": 1000});
    let config = DecoderConfig::parse(config.to_string().as_bytes(), Path::new("config.json")).unwrap();
    BaseText::with_tokenizer(tokenizer, template, config)
}

fn completion(prompt: &str, completion: &str) -> Content {
    Content::Completion { prompt: prompt.to_owned(), completion: completion.to_owned() }
}

fn chat(turns: &[(Role, &str)]) -> Content {
    Content::Chat(Chat::new(turns.iter().map(|(role, content)| Turn::new(*role, *content)).collect()))
}

/// The text of the tokens that carry loss, special tokens included.
fn learnt(base: &BaseText, sample: &Sample) -> String {
    let tokens: Vec<u32> = sample
        .tokens
        .iter()
        .zip(&sample.supervised)
        .filter(|(_, carries)| **carries)
        .map(|(token, _)| *token)
        .collect();
    base.tokenizer.decode(&tokens, false).unwrap()
}

fn whole(base: &BaseText, sample: &Sample) -> String {
    base.tokenizer.decode(&sample.tokens, false).unwrap()
}

#[test]
fn what_is_trained_begins_with_what_is_served() {
    let pairs = [
        ("hello", "you"),
        ("hi\n", "\nyou"),
        ("a", " a"),
        ("世", "界 hello"),
        ("", "x"),
        ("  ", "  "),
        ("<think>", "<th"),
    ];
    for tokenizer in [byte_level, llama, metaspace] {
        for template in [Some(TINY), Some(TIGHT), Some(THOUGHT), Some(ENDLESS), None] {
            let base = base(tokenizer(), template);
            for (prompt, answer) in pairs {
                let sample =
                    base.encode_example(&completion(prompt, answer), &EncodeOptions::new(4096)).unwrap();
                let served = base.prompt(prompt, false).unwrap();
                let context = format!("{template:?} {prompt:?} {answer:?} {}", whole(&base, &sample));
                assert!(sample.tokens.starts_with(&served), "{context}");
                assert!(!sample.supervised[..served.len()].contains(&true), "{context}");
                assert!(!sample.supervised[served.len().max(1)..].contains(&false), "{context}");
                assert_eq!(sample.tokens.last(), base.eos.first(), "{context}");
                let text = learnt(&base, &sample);
                // The very first token of all cannot be learnt: nothing stands before it.
                assert!(served.is_empty() || text.contains(answer.trim()), "{context}: {text:?}");
                assert!(!text.contains("user"), "{context}: {text:?}");
            }
        }
    }
}

#[test]
fn the_embedded_bases_template_learns_the_answer_and_its_end() {
    let base = base(byte_level(), Some(TINY));
    let sample =
        base.encode_example(&completion("hello", "all\n\nhello"), &EncodeOptions::new(4096)).unwrap();
    assert_eq!(whole(&base, &sample), "<|user|>\nhello<|end|>\n<|assistant|>\nall\n\nhello<|end|>");
    assert_eq!(learnt(&base, &sample), "all\n\nhello<|end|>");
    assert!(!sample.truncated);
}

#[test]
fn an_opened_thought_is_kept_in_the_prompt_and_not_learnt() {
    let base = base(byte_level(), Some(THOUGHT));
    // The answer begins like the thought: "<th" is shared by accident.
    let sample = base.encode_example(&completion("hello", "<the>"), &EncodeOptions::new(4096)).unwrap();
    assert_eq!(whole(&base, &sample), "<|user|>hello<|end|><|assistant|><think><the><|end|>");
    assert_eq!(learnt(&base, &sample), "<the><|end|>");
}

#[test]
fn a_template_without_an_end_token_gets_one() {
    let base = base(byte_level(), Some(ENDLESS));
    let sample = base.encode_example(&completion("hello", "you"), &EncodeOptions::new(4096)).unwrap();
    assert_eq!(whole(&base, &sample), "[user]hello\n[assistant]you\n<|end|>");
    assert_eq!(learnt(&base, &sample), "you\n<|end|>");
}

#[test]
fn a_text_is_learnt_whole() {
    let bytes = base(byte_level(), Some(TINY));
    let sample =
        bytes.encode_example(&Content::Text("hello\n世".to_owned()), &EncodeOptions::new(4096)).unwrap();
    assert_eq!(whole(&bytes, &sample), "hello\n世<|end|>");
    assert!(!sample.supervised[0] && sample.supervised[1..].iter().all(|carries| *carries));

    let pieces = base(llama(), None);
    let sample =
        pieces.encode_example(&Content::Text("hello".to_owned()), &EncodeOptions::new(4096)).unwrap();
    assert_eq!(sample.tokens[..1], [pieces.bos.unwrap()]);
    assert_eq!(sample.tokens.len(), 3, "BOS, one piece, EOS");
    assert_eq!(sample.supervised, [false, true, true]);
}

#[test]
fn every_assistant_turn_of_a_chat_is_learnt() {
    use Role::{Assistant, System, User};
    let turns = [
        (System, "s"),
        (User, "hello"),
        (Assistant, "one"),
        (User, "all"),
        (Assistant, "two"),
        (User, "bye"),
    ];
    for (template, expected) in [
        (Some(TINY), "one<|end|>two<|end|>"),
        (Some(THOUGHT), "one<|end|>two<|end|>"),
        (Some(ENDLESS), "one\ntwo\n<|end|>"),
        (None, "onetwo<|end|>"),
    ] {
        for tokenizer in [byte_level, llama, metaspace] {
            let base = base(tokenizer(), template);
            let sample = base.encode_example(&chat(&turns), &EncodeOptions::new(4096)).unwrap();
            // SentencePiece puts a space behind special tokens.
            assert_eq!(
                learnt(&base, &sample).replace(' ', ""),
                expected,
                "{template:?} {:?}",
                whole(&base, &sample)
            );
            assert!(!whole(&base, &sample).contains("bye"), "nothing is learnt from what comes after");
        }
    }
    let bytes = base(byte_level(), Some(TINY));
    let silent = bytes.encode_example(&chat(&[(User, "hello")]), &EncodeOptions::new(4096)).unwrap();
    assert_eq!(silent.supervised_tokens(), 0);
}

#[test]
fn what_is_too_long_loses_its_end_and_says_so() {
    let base = base(byte_level(), Some(TINY));
    let full = base.encode_example(&completion("hello", "hello hello"), &EncodeOptions::new(4096)).unwrap();
    let exact = base
        .encode_example(&completion("hello", "hello hello"), &EncodeOptions::new(full.tokens.len()))
        .unwrap();
    assert_eq!(full, exact);
    let cut = base
        .encode_example(&completion("hello", "hello hello"), &EncodeOptions::new(full.tokens.len() - 1))
        .unwrap();
    assert!(cut.truncated && cut.tokens[..] == full.tokens[..full.tokens.len() - 1]);
    assert_eq!(cut.tokens.len(), cut.supervised.len());
    let nothing = base.encode_example(&Content::Text("hello".to_owned()), &EncodeOptions::new(0)).unwrap();
    assert!(nothing.truncated && nothing.tokens.is_empty());
    let many = vec![(Role::Assistant, "a"); 5000];
    assert!(base.encode_example(&chat(&many), &EncodeOptions::new(64)).unwrap().truncated);
}

#[test]
fn a_megabyte_is_no_problem() {
    let base = base(byte_level(), Some(TINY));
    for text in ["a".repeat(1 << 20), " ".repeat(1 << 20), "\n".repeat(1 << 20), "世".repeat(1 << 18)] {
        let sample = base.encode_example(&completion("hello", &text), &EncodeOptions::new(2048)).unwrap();
        assert!(sample.truncated && sample.tokens.len() == 2048);
    }
}

#[test]
fn a_template_that_refuses_names_its_words() {
    let refusing =
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn here') }}{% endif %}";
    let base = base(byte_level(), Some(refusing));
    let error = base
        .encode_example(&chat(&[(Role::System, "x"), (Role::Assistant, "y")]), &EncodeOptions::new(99))
        .unwrap_err();
    assert!(error.to_string().contains("no system turn here"), "{error}");
}

#[test]
fn common_prefixes_end_between_characters() {
    assert_eq!(answers::common_prefix("好a", "好b"), 3);
    // 你 and 佡 share their first two bytes.
    assert_eq!(answers::common_prefix("x你", "x佡"), 1);
    assert_eq!(answers::common_prefix("", "x"), 0);
}
