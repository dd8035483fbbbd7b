use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;
use crate::config::DecoderConfig;
use crate::fixtures::tokenizers::{byte_level, llama};

const CHATTING: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}\
    {% if add_generation_prompt %}<|assistant|>{% endif %}";
/// Takes no system's words, and no answer without a question.
const STRICT: &str = "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles') }}{% endif %}\
    <|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
const ROOM: Room = Room { tokens: 10_000, examples: 8 };

fn base(template: Option<&str>) -> BaseSpec {
    let config = json!({"model_type": "llama", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": 1000});
    let config = DecoderConfig::parse(config.to_string().as_bytes(), Path::new("config.json")).unwrap();
    BaseSpec::with_tokenizer(if template.is_some() { byte_level() } else { llama() }, template, config)
}

fn example(content: Content) -> Example {
    Example { id: content.id(), content, title: None, file: PathBuf::from("a.jsonl"), lines: (1, 1) }
}

fn pair(prompt: &str, completion: &str) -> Example {
    example(Content::Completion { prompt: prompt.into(), completion: completion.into() })
}

fn chat(turns: &[(Role, &str)]) -> Example {
    example(Content::Chat(Chat::new(turns.iter().map(|(role, text)| Turn::new(*role, *text)).collect())))
}

fn text_of(base: &BaseSpec, tokens: &[u32]) -> String {
    base.tokenizer.decode(tokens, false).unwrap()
}

/// What the prompt becomes, as text, and which examples stand before it.
fn fed(base: &BaseSpec, prompt: &str, ranked: &[Example], room: Room) -> (String, Fed) {
    let ranked: Vec<&Example> = ranked.iter().collect();
    let (tokens, fed) = base.feed_prompt(prompt, false, &ranked, room).unwrap();
    let alone = base.prompt(prompt, false).unwrap().len();
    assert_eq!(tokens.len(), alone + fed.examples.iter().map(|one| one.tokens).sum::<usize>());
    (text_of(base, &tokens), fed)
}

#[test]
fn the_nearest_stands_last_and_a_text_is_an_answer() {
    let base = base(Some(CHATTING));
    let mut note = example(Content::Text("Hot.".into()));
    note.title = Some("Soup".into());
    let (text, fed) = fed(&base, "p", &[pair("a", "b"), note], ROOM);
    assert_eq!(
        text,
        "<|user|>Write a text titled “Soup”.<|end|><|assistant|>Hot.<|end|><|user|>a<|end|><|assistant|>b<|end|>\
         <|user|>p<|end|><|assistant|>"
    );
    assert_eq!(fed.examples.iter().map(|one| one.rank).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(fed.passed_over, []);
}

#[test]
fn without_a_template_texts_stand_as_they_are_trained() {
    let base = base(None);
    let texts = [example(Content::Text("b".into())), example(Content::Text("a".into()))];
    let (text, _) = fed(&base, "p", &texts, ROOM);
    assert_eq!(text.replace(' ', ""), "<s>a<|end|><s>b<|end|><s>p");
    let trained = base.encode_example(&texts[1].content, &EncodeOptions::new(99)).unwrap();
    let ranked: Vec<&Example> = texts.iter().collect();
    let (tokens, _) = base.feed_prompt("p", false, &ranked, ROOM).unwrap();
    assert!(tokens.starts_with(&trained.tokens));
    let chatting = self::base(Some(CHATTING));
    let (tokens, _) = chatting.feed_prompt("p", true, &ranked, ROOM).unwrap();
    assert_eq!(text_of(&chatting, &tokens), "a<|end|>b<|end|>p");
}

#[test]
fn what_does_not_fit_is_left_whole_and_the_next_is_tried() {
    let base = base(Some(CHATTING));
    let ranked = [pair("q", &"long ".repeat(50)), pair("a", "b"), pair("c", "d"), pair("e", "f")];
    let (text, fed) = fed(&base, "p", &ranked, Room { tokens: 13, examples: 8 });
    assert_eq!(
        text,
        "<|user|>c<|end|><|assistant|>d<|end|><|user|>a<|end|><|assistant|>b<|end|><|user|>p<|end|><|assistant|>"
    );
    assert_eq!(fed.examples, [FedExample { rank: 1, tokens: 6 }, FedExample { rank: 2, tokens: 6 }]);
    assert_eq!(fed.passed_over, [PassedOver::NoRoom { tokens: 255 }, PassedOver::NoRoom { tokens: 6 }]);
    let (text, fed) = self::fed(&base, "p", &ranked, Room { tokens: 999, examples: 0 });
    assert_eq!((text.as_str(), fed), ("<|user|>p<|end|><|assistant|>", Fed::default()));
}

#[test]
fn a_conversation_has_one_system() {
    use Role::{Assistant, System, User};
    let base = base(Some(CHATTING));
    let short = chat(&[(System, "s"), (User, "a"), (Assistant, "b"), (User, "late")]);
    let (text, fed) = fed(
        &base,
        "p",
        &[short, pair("c", "d"), chat(&[(System, "s"), (User, "e"), (Assistant, "f")])],
        ROOM,
    );
    assert_eq!(
        text,
        "<|system|>s<|end|><|user|>e<|end|><|assistant|>f<|end|><|user|>a<|end|><|assistant|>b<|end|><|user|>p<|end|><|assistant|>"
    );
    assert_eq!(fed.passed_over, [PassedOver::OtherSystem]);
    // A template that takes no system's words takes no example with them, and the others still stand.
    let strict = self::base(Some(STRICT));
    let odd =
        [chat(&[(System, "s"), (User, "a"), (Assistant, "b")]), chat(&[(Assistant, "x")]), pair("c", "d")];
    let (text, fed) = self::fed(&strict, "p", &odd, ROOM);
    assert_eq!(text, "<|user|>c<|end|><|assistant|>d<|end|><|user|>p<|end|><|assistant|>");
    assert_eq!(fed.passed_over, [PassedOver::Refused, PassedOver::Refused]);
}

#[test]
fn an_example_behind_others_has_its_own_loss() {
    for template in [Some(CHATTING), Some(STRICT), None] {
        let base = base(template);
        let others = [pair("a", "b"), pair("c", "d")];
        let ranked: Vec<&Example> = others.iter().collect();
        let mut note = example(Content::Text("hello a".into()));
        note.title = Some("T".into());
        for judged in [pair("hello", "hello a"), note] {
            for train_on in [TrainOn::Completions, TrainOn::Last, TrainOn::Everything] {
                let options = EncodeOptions { train_on, ..EncodeOptions::new(500) };
                let (alone, none) =
                    base.feed_example(&judged, &ranked, Room { tokens: 0, examples: 0 }, &options).unwrap();
                let (behind, fed) = base.feed_example(&judged, &ranked, ROOM, &options).unwrap();
                assert_eq!((none.examples.len(), fed.examples.len()), (0, 2));
                assert!(behind.tokens.ends_with(&alone.tokens), "{template:?}");
                let tail = behind.tokens.len() - alone.tokens.len();
                assert_eq!(tail, fed.examples.iter().map(|one| one.tokens).sum::<usize>());
                assert!(!behind.supervised[..tail].contains(&true));
                assert_eq!(behind.supervised[tail..], alone.supervised[..]);
                assert!(alone.supervised_tokens() > 0 && !alone.truncated && !behind.truncated);
            }
        }
    }
}

#[test]
fn what_an_example_answers_is_its_own_words() {
    let base = base(Some(CHATTING));
    let of = |example: &Example| text_of(&base, &base.answer_tokens(example).unwrap());
    assert_eq!(of(&pair("a", "b")), "b");
    assert_eq!(of(&example(Content::Text("Hot.".into()))), "Hot.");
    let talk = [(Role::User, "q"), (Role::Assistant, "one"), (Role::User, "q"), (Role::Assistant, "two")];
    assert_eq!(of(&chat(&talk)), "one\ntwo");
}
