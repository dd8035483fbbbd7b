use std::path::Path;

use serde_json::{Value, json};
use tokenizers::Tokenizer;

use super::*;
use crate::config::DecoderConfig;
use crate::fixtures::tokenizers::{byte_level, ended, llama, metaspace};

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

/// No generation prompt.
const UNOPENED: &str = "{% for m in messages %}<|{{ m.role }}|>: {{ m.content }}<|end|>\n{% endfor %}";

fn base(tokenizer: Tokenizer, template: Option<&str>) -> BaseSpec {
    let config = json!({"model_type": "llama", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": 1000});
    let config = DecoderConfig::parse(config.to_string().as_bytes(), Path::new("config.json")).unwrap();
    BaseSpec::with_tokenizer(tokenizer, template, config)
}

fn completion(prompt: &str, completion: &str) -> Content {
    Content::Completion { prompt: prompt.to_owned(), completion: completion.to_owned() }
}

fn chat(turns: &[(Role, &str)]) -> Content {
    Content::Chat(Chat::new(turns.iter().map(|(role, content)| Turn::new(*role, *content)).collect()))
}

/// The text of the tokens that carry loss, special tokens included.
fn learnt(base: &BaseSpec, sample: &Sample) -> String {
    let tokens: Vec<u32> = sample
        .tokens
        .iter()
        .zip(&sample.supervised)
        .filter(|(_, carries)| **carries)
        .map(|(token, _)| *token)
        .collect();
    base.tokenizer.decode(&tokens, false).unwrap()
}

fn whole(base: &BaseSpec, sample: &Sample) -> String {
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
    for tokenizer in [byte_level, llama, metaspace, ended] {
        for template in [Some(TINY), Some(TIGHT), Some(THOUGHT), Some(ENDLESS), Some(UNOPENED), None] {
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
    assert_eq!(common_prefix("好a", "好b"), 3);
    // 你 and 佡 share their first two bytes.
    assert_eq!(common_prefix("x你", "x佡"), 1);
    assert_eq!(common_prefix("", "x"), 0);
}

fn conversation(turns: Value) -> Content {
    let Value::Array(turns) = turns else { panic!("no turns") };
    let turn = |turn: Value| {
        let Value::Object(message) = turn else { panic!("no message") };
        let content = message["content"].as_str().unwrap_or_default().to_owned();
        let role = Role::ALL.into_iter().find(|role| message["role"] == role.name()).unwrap();
        Turn { role, content, message: Some(Box::new(message)) }
    };
    Content::Chat(Chat::new(turns.into_iter().map(turn).collect()))
}

/// What is learnt of a conversation, span by span.
fn spans(template: &str, turns: Value) -> Result<Vec<String>, String> {
    let base = base(byte_level(), Some(template));
    let encoded = base.encode_example(&conversation(turns), &EncodeOptions::new(4096));
    let sample = encoded.map_err(|error| error.to_string())?;
    let mut spans = Vec::new();
    let mut open: Vec<u32> = Vec::new();
    for (token, carries) in sample.tokens.iter().zip(&sample.supervised) {
        if *carries {
            open.push(*token);
        } else if !open.is_empty() {
            spans.push(std::mem::take(&mut open));
        }
    }
    spans.push(open);
    Ok(spans.iter().map(|span| base.tokenizer.decode(span, false).unwrap()).collect())
}

fn said(texts: &[(&str, &str)]) -> Value {
    texts.iter().map(|(role, content)| json!({"role": role, "content": content})).collect()
}

/// A body that most of these share: a header, the content and an end.
const BODY: &str = "{% for m in messages %}{{ '<|' + m.role + '|>\n' + (m.content or '') }}{% for c in m.tool_calls or [] %}\
    {{ '<call>' + c.function.name + ' ' + (c.function.arguments | tojson) }}{% endfor %}{{ '<|end|>\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}";

#[test]
fn an_answer_before_the_first_question_is_learnt_with_its_end() {
    let template = "{% if messages | selectattr('role', 'equalto', 'user') | list | length == 0 %}\
        {{ raise_exception('No user query found in messages.') }}{% endif %}"
        .to_owned()
        + BODY;
    let turns = said(&[("assistant", "Welcome in!"), ("user", "Soup?"), ("assistant", "Thick and hot.")]);
    assert_eq!(
        spans(&template, turns),
        Ok(vec!["Welcome in!<|end|>".to_owned(), "Thick and hot.<|end|>".to_owned()])
    );
}

#[test]
fn a_call_is_learnt_with_all_its_arguments() {
    let strict = "{% if messages[-1].role == 'assistant' and messages[-1].tool_calls %}\
        {{ raise_exception('A call needs its answer.') }}{% endif %}"
        .to_owned()
        + BODY;
    // The same, and the conversation's beginning is refused as well.
    let stricter =
        "{% if messages[-1].role == 'user' %}{{ raise_exception('no') }}{% endif %}".to_owned() + &strict;
    for (arguments, shown) in [
        (json!({"place": "Ulm"}), "{\"place\": \"Ulm\"}"),
        (json!({"days": [1, {"n": 2}], "ok": true}), "{\"days\": [1, {\"n\": 2}], \"ok\": true}"),
        (json!({}), "{}"),
    ] {
        let call =
            json!({"id": "a", "type": "function", "function": {"name": "weather", "arguments": arguments}});
        let turns = json!([{"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": null, "tool_calls": [call.clone(), call]},
            {"role": "tool", "content": "rain"}, {"role": "assistant", "content": "It rains."}]);
        let call = format!("<call>weather {shown}");
        for template in [BODY, &strict, &stricter] {
            let wanted = vec![format!("{call}{call}<|end|>"), "It rains.<|end|>".to_owned()];
            assert_eq!(spans(template, turns.clone()), Ok(wanted), "{template}");
        }
        // A template that knows no calls would teach silence.
        let error = spans(TINY, turns).unwrap_err();
        assert!(error.contains("turn 2") && error.contains("tool call"), "{error}");
    }
}

#[test]
fn headers_are_never_learnt_and_answers_end_once() {
    let turns = said(&[("user", "hello"), ("assistant", "one"), ("user", "all"), ("assistant", "two")]);
    let both = |first: &str, second: &str| Ok(vec![first.to_owned(), second.to_owned()]);
    // No generation prompt.
    assert_eq!(spans(UNOPENED, turns.clone()), both(" one<|end|>", " two<|end|>"));
    // Two end tokens behind the last answer, as Phi-3 has them.
    let twice =
        BODY.replace("{% if add", "{% if not add_generation_prompt %}{{ '<|end|>' }}{% endif %}{% if add");
    assert_eq!(spans(&twice, turns.clone()), both("one<|end|>", "two<|end|>"));
    // An end token only behind the last turn of all, and a header that begins as it does.
    let last = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if loop.last %}<|end|>{% endif %}{% endfor %}\
        {% if add_generation_prompt %}<|assistant|>{% endif %}";
    assert_eq!(spans(last, turns.clone()), both("one", "two<|end|>"));
    // The end token stands before the next question.
    let before = "{% for m in messages %}{% if m.role == 'user' and not loop.first %}<|end|>{% endif %}<|{{ m.role }}|>{{ m.content }}\
        {% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
    assert_eq!(spans(before, turns.clone()), both("one<|end|>", "two<|end|>"));
    // The header and a line break are marked, the end token is not.
    let marked = "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}<|assistant|>\n{{ m.content }}{% endgeneration %}\
        <|end|>\n{% else %}<|user|>\n{{ m.content }}<|end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}";
    assert_eq!(spans(marked, turns.clone()), both("one<|end|>", "two<|end|>"));
    let marked = marked.replace("{% endgeneration %}<|end|>\n", "<|end|>\n{% endgeneration %}");
    assert_eq!(spans(&marked, turns), both("one<|end|>", "two<|end|>"));
}

#[test]
fn turns_that_a_template_drops_are_not_learnt() {
    let turns = said(&[("user", "hello"), ("assistant", "one"), ("user", "all"), ("assistant", "two")]);
    let last_two = BODY.replace("in messages %}{{ '<|'", "in messages[-2:] %}{{ '<|'");
    assert_eq!(spans(&last_two, turns.clone()), Ok(vec!["two<|end|>".to_owned()]));
    // Old answers lose what they thought; nothing may be said before the last question.
    let thoughts = "{% for m in messages %}<|{{ m.role }}|>{{ m.content if loop.last else m.content.split('</think>')[-1] }}<|end|>\
        {% endfor %}{% if add_generation_prompt %}{{ raise_exception('no') if messages | length < 3 }}<|assistant|>{% endif %}";
    let turns = said(&[
        ("user", "hello"),
        ("assistant", "<think>a</think>one"),
        ("user", "all"),
        ("assistant", "<think>b</think>two"),
    ]);
    let wanted = vec!["one<|end|>".to_owned(), "<think>b</think>two<|end|>".to_owned()];
    assert_eq!(spans(thoughts, turns), Ok(wanted));
}

#[test]
fn an_answer_whose_place_is_not_sure_is_an_error() {
    // A conversation must end with the assistant, and nothing ends a turn.
    let template = "{% if messages[-1].role != 'assistant' or messages | length < 4 %}{{ raise_exception('no') }}{% endif %}\
        {% for m in messages %}{{ m.role | upper }} {{ m.content }} {% endfor %}";
    let turns = said(&[("user", "hello"), ("assistant", "one"), ("user", "all"), ("assistant", "two")]);
    let error = spans(template, turns).unwrap_err();
    assert!(error.contains("turn 2") && error.contains("generation"), "{error}");
}

#[test]
fn what_is_marked_off_is_not_learnt_with_everything_else() {
    let turns =
        [(Role::User, "hello"), (Role::Assistant, "one"), (Role::User, "all"), (Role::Assistant, "two")];
    for template in [Some(TINY), None] {
        let base = base(byte_level(), template);
        let options = EncodeOptions { train_on: TrainOn::Everything, ..EncodeOptions::new(4096) };
        let Content::Chat(mut marked) = chat(&turns) else { panic!() };
        let whole = base.encode_example(&Content::Chat(marked.clone()), &options).unwrap();
        let mut message = marked.turns[1].message().into_owned();
        message.insert("train".to_owned(), json!(false));
        marked.turns[1].message = Some(Box::new(message));
        let sample = base.encode_example(&Content::Chat(marked), &options).unwrap();
        assert_eq!(sample.tokens, whole.tokens);
        let (all, some) = (learnt(&base, &whole), learnt(&base, &sample));
        assert!(all.contains("one") && !some.contains("one"), "{all:?} {some:?}");
        assert!(some.contains("all") && some.contains("two"), "{some:?}");
    }
}

/// What the template leaves out, turn by turn.
fn left_out(template: &str, turns: Value) -> Vec<String> {
    let base = base(byte_level(), Some(template));
    let encoded = base.encode(&conversation(turns), &EncodeOptions::new(4096)).unwrap();
    encoded.left_out.iter().map(ToString::to_string).collect()
}

#[test]
fn a_turn_that_is_silently_dropped_is_told() {
    let turns = said(&[
        ("system", "Be kind."),
        ("user", "hello"),
        ("assistant", "one"),
        ("developer", "Be brief."),
        ("user", "all"),
        ("assistant", "two"),
    ]);
    assert_eq!(left_out(BODY, turns.clone()), [""; 0]);
    let deaf = BODY.replace("{{ '<|'", "{% if m.role in ['user', 'assistant'] %}{{ '<|'");
    let deaf = deaf.replace("'<|end|>\n' }}", "'<|end|>\n' }}{% endif %}");
    assert_eq!(left_out(&deaf, turns.clone()), ["turn 1 (system)", "turn 4 (developer)"]);
    let last_two = BODY.replace("in messages %}{{ '<|'", "in messages[-2:] %}{{ '<|'");
    assert_eq!(
        left_out(&last_two, turns.clone()),
        ["turn 1 (system)", "turn 2 (user)", "turn 3 (assistant)", "turn 4 (developer)"]
    );
    // The system's words stand in the question; white space is cut off; a template that counts characters gives no places.
    let moved = "{% set ns = namespace(s='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.s = m.content + ' ' %}{% else %}\
        <|{{ m.role }}|>{{ (ns.s + m.content) | trim }}<|end|>{% set ns.s = '' %}{% endif %}{% endfor %}";
    assert_eq!(left_out(moved, turns.clone()), [""; 0]);
    let counting = "{% for m in messages if m.role != 'system' %}<|{{ m.role }}|>{{ m.content | length }}{{ m.content }}<|end|>{% endfor %}\
        {% if add_generation_prompt %}<|assistant|>{% endif %}";
    assert_eq!(left_out(counting, turns), ["turn 1 (system)"]);
    assert_eq!(left_out(BODY, said(&[("system", " "), ("user", "hello"), ("assistant", "one")])), [""; 0]);
}

#[test]
fn a_thought_is_told_only_where_it_is_the_last_answers() {
    let stripped = BODY.replace("(m.content or '')", "(m.content or '').split('</think>')[-1]");
    let turns = said(&[
        ("user", "hello"),
        ("assistant", "<think>\na\n</think>\n\none"),
        ("user", "all"),
        ("assistant", "two"),
    ]);
    assert_eq!(left_out(&stripped, turns.clone()), [""; 0]);
    assert_eq!(spans(&stripped, turns).unwrap().last().unwrap(), "two<|end|>");
    let own = said(&[("user", "hello"), ("assistant", "<think>\na\n</think>\n\none")]);
    assert_eq!(left_out(&stripped, own), ["the reasoning in turn 2 (assistant)"]);
    let beside = json!([{"role": "user", "content": "hello"}, {"role": "assistant", "content": "one", "reasoning_content": "a"}]);
    assert_eq!(left_out(BODY, beside), ["the reasoning in turn 2 (assistant)"]);
}

#[test]
fn all_that_calls_say_is_learnt_wherever_the_template_puts_it() {
    // Arguments in the order of their names; a text that stands where the template likes.
    let calls = "{% for m in messages %}<|{{ m.role }}|>{{ m.content or '' }}\
        {% for c in m.tool_calls or [] %}<call>{% for k, v in c.function.arguments | dictsort %}[{{ k }}={{ v }}]{% endfor %}{% endfor %}\
        {{ '<|end|>' if m.role == 'assistant' and not m.tool_calls }}{% endfor %}\
        {% if add_generation_prompt %}<|assistant|>{% endif %}";
    let turns = |content: Value| {
        json!([{"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": content, "tool_calls": [
            {"function": {"name": "weather", "arguments": {"place": "Ulm", "days": 2}}},
            {"function": {"name": "weather", "arguments": {"place": "Bonn", "days": 3}}}]},
        {"role": "tool", "content": "rain"}, {"role": "assistant", "content": "It rains."}])
    };
    let call = "<call>[days=2][place=Ulm]<call>[days=3][place=Bonn]";
    let wanted = |first: String| Ok(vec![first, "It rains.<|end|>".to_owned()]);
    assert_eq!(spans(calls, turns(Value::Null)), wanted(call.to_owned()));
    assert_eq!(spans(calls, turns(json!("I look."))), wanted(format!("I look.{call}")));
    let dropped = calls.replace("{{ m.content or '' }}", "{{ (m.content or '') if not m.tool_calls }}");
    assert_eq!(spans(&dropped, turns(json!("I look."))), wanted(call.to_owned()));
    assert_eq!(
        left_out(&dropped, turns(json!("I look."))),
        ["the text beside the calls in turn 2 (assistant)"]
    );
    // Only the first of several calls is shown.
    let first = calls.replace("in m.tool_calls or []", "in (m.tool_calls or [])[:1]");
    assert!(spans(&first, turns(Value::Null)).unwrap_err().contains("leaves out the tool call"));
    // The text beside the calls stands behind their results: no span holds the one and not the other.
    let behind = "{% set ns = namespace(late='') %}{% for m in messages %}<|{{ m.role }}|>\
        {% for c in m.tool_calls or [] %}<call>{{ c.function.arguments | tojson }}{% set ns.late = m.content or '' %}{% endfor %}\
        {{ (m.content or '') if not m.tool_calls }}{% if m.role == 'tool' %}{{ ns.late }}{% endif %}<|end|>{% endfor %}\
        {% if add_generation_prompt %}<|assistant|>{% endif %}";
    assert!(spans(behind, turns(Value::Null)).is_ok());
    let error = spans(behind, turns(json!("I look."))).unwrap_err();
    assert!(error.contains("between the parts of the answer in turn 2"), "{error}");
}

#[test]
fn a_turn_that_closes_every_conversation_is_not_learnt_with_a_call() {
    let closing = "{% for m in messages %}<|end|>{{ m.role }}: {{ m.content or '' }}{% for c in m.tool_calls or [] %}\
        call {{ c.function.arguments | tojson }}{% endfor %}{% endfor %}<|end|>system: Think.<|end|>\
        {% if add_generation_prompt %}assistant: {% endif %}";
    let turns = json!([{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": null, "tool_calls": [
        {"function": {"name": "weather", "arguments": {"place": "Ulm"}}}]}]);
    let learnt = spans(closing, turns).unwrap().concat();
    assert!(learnt.contains("\"Ulm\"}<|end|>") && !learnt.contains("Think"), "{learnt}");
}

#[test]
fn an_opening_is_shared_token_by_token() {
    // The prompt opens a thought with the same first character that the call begins with.
    let template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content or '' }}{% for c in m.tool_calls or [] %}\
        <tool>{{ c.function.arguments | tojson }}</tool>{% endfor %}<|end|>\n{% endfor %}\
        {% if add_generation_prompt %}{{ raise_exception('no') if messages | length > 3 }}<|assistant|><think>{% endif %}";
    let turns = json!([{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": null, "tool_calls": [
        {"function": {"name": "weather", "arguments": {"place": "Ulm"}}}]}]);
    assert_eq!(spans(template, turns), Ok(vec!["<tool>{\"place\": \"Ulm\"}</tool><|end|>".to_owned()]));
    // The template marks the header with the answer, and opens an answer with a thought.
    let marked = "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}<|assistant|>{{ m.content }}<|end|>\n{% endgeneration %}\
        {% else %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|><think>{% endif %}";
    let turns = said(&[("user", "hello"), ("assistant", "one"), ("user", "all"), ("assistant", "two")]);
    assert_eq!(spans(marked, turns), Ok(vec!["one<|end|>".to_owned(), "two<|end|>".to_owned()]));
}

#[test]
fn a_template_that_marks_answers_must_show_their_calls() {
    let marked = "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' %}{% generation %}{{ m.content or '' }}<|end|>\
        {% endgeneration %}{% else %}{{ m.content }}<|end|>{% endif %}{% endfor %}";
    let turns = json!([{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": null, "tool_calls": [
        {"function": {"name": "weather", "arguments": {"place": "Ulm"}}}]}]);
    assert!(spans(marked, turns).unwrap_err().contains("leaves out the tool call"));
}

#[test]
fn a_template_that_always_opens_an_answer_needs_no_other_opening() {
    // An answer in words has a header of its own behind the opening; a call has not.
    let open = "{% for m in messages %}<|{{ m.role }}|>{% if m.tool_calls %}<call>{{ m.tool_calls[0].function.arguments | tojson }}\
        {% else %}{{ '<say>' if m.role == 'assistant' }}{{ m.content }}{% endif %}<|end|>{% endfor %}<|assistant|>";
    let turns = json!([{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": null, "tool_calls": [
        {"function": {"name": "weather", "arguments": {"place": "Ulm"}}}]}]);
    let base = base(byte_level(), Some(open));
    let sample = base.encode_example(&conversation(turns), &EncodeOptions::new(4096)).unwrap();
    assert_eq!(
        whole(&base, &sample),
        "<|user|>Weather?<|end|><|assistant|><call>{\"place\": \"Ulm\"}<|end|>"
    );
    assert_eq!(learnt(&base, &sample), "<call>{\"place\": \"Ulm\"}<|end|>");
}
