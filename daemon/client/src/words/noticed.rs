//! What is wrong with how an answer goes, and what to do about it.

use hotplate_home::figures::count;
use hotplate_protocol::methods::generate::{GenerateResult, Noticed};

use super::answers::author;
use super::visible::path;

/// Letters of what is repeated that are shown.
const SHOWN: usize = 60;

/// A line each; none where nothing was noticed.
pub fn noticed(result: &GenerateResult) -> Vec<String> {
    result.noticed.iter().map(|what| line(result, what)).collect()
}

fn line(result: &GenerateResult, what: &Noticed) -> String {
    let who = author(result);
    match what {
        Noticed::Repeats { text, times } => {
            let said = format!("{who} repeats itself: “{}” stands there {times} times.", short(text));
            let Some(fed) = &result.fed else {
                return format!(
                    "{said} --repetition-penalty 1.2 or a higher --temperature may help, and so may a larger base."
                );
            };
            let fewer = match fed.examples.len() {
                0 | 1 => String::new(),
                many => format!("fewer of them (--feed-examples {}) or ", (many / 2).max(1)),
            };
            format!(
                "{said} Small bases do so behind examples: {fewer}--repetition-penalty 1.2 may help, a larger base does; or learn them: \
                 hotplate train {}",
                path(&fed.folder)
            )
        }
        Noticed::Copies { tokens, example } => {
            let folder = result.fed.as_ref().map_or_else(String::new, |fed| path(&fed.folder));
            format!(
                "{who} copies an example word for word: {} of {} stand in {}:{}. Another prompt, a higher --temperature or a larger base may \
                 help; or learn the examples: hotplate train {folder}",
                count(*tokens, "token"),
                result.token_ids.len(),
                path(&example.file),
                example.line
            )
        }
    }
}

fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use hotplate_protocol::feed::{Fed, FedExample, FedPlace, FeedEnd};
    use hotplate_protocol::methods::generate::FinishReason;

    use super::*;

    #[test]
    fn each_says_what_to_do() {
        let place = |line| FedPlace { file: "a.md".into(), line, last_line: line };
        let mut result = GenerateResult {
            text: String::new(),
            token_ids: vec![1; 40],
            finish_reason: FinishReason::Length,
            prompt_tokens: 1,
            seed: 7,
            adapter: None,
            base: "small".into(),
            fed: None,
            noticed: vec![Noticed::Repeats { text: "I love\n it. ".into(), times: 9 }],
            first_token_ms: 1.0,
            tokens_per_second: 2.0,
        };
        expect_test::expect!["small repeats itself: “I love it.” stands there 9 times. --repetition-penalty 1.2 or a higher --temperature may help, and so may a larger base."]
            .assert_eq(&noticed(&result)[0]);
        result.fed = Some(Fed {
            folder: "/notes".into(),
            examples: [3, 9, 12].map(|line| FedExample { place: place(line), tokens: 9 }).to_vec(),
            tokens: 27,
            room: 99,
            of: 3,
            ended: FeedEnd::Everything,
            no_room: 0,
            other_system: 0,
            refused: 0,
            itself: None,
        });
        result.noticed.push(Noticed::Copies { tokens: 38, example: place(9) });
        expect_test::expect![[r"
            small, fed 3 examples repeats itself: “I love it.” stands there 9 times. Small bases do so behind examples: fewer of them (--feed-examples 1) or --repetition-penalty 1.2 may help, a larger base does; or learn them: hotplate train /notes
            small, fed 3 examples copies an example word for word: 38 tokens of 40 stand in a.md:9. Another prompt, a higher --temperature or a larger base may help; or learn the examples: hotplate train /notes"]]
        .assert_eq(&noticed(&result).join("\n"));
        result.noticed.clear();
        assert!(noticed(&result).is_empty());
    }
}
