//! Which field of a record a column is, by what it is called: as the recipe says, else as people call it in English and in Chinese.
//!
//! Works on names alone. What a field's value must be is a shape's to know.

use std::cell::RefCell;
use std::collections::BTreeSet;

use hotplate_protocol::knobs::FIELDS;

/// What a recipe says: `columns = { prompt = "Frage", completion = "Antwort" }`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Pairs of a field and the column that is it.
    named: Vec<(String, String)>,
    /// Where the recipe says so.
    line: usize,
}

impl Columns {
    /// `named`: pairs of a field and a column; `line`: where the recipe says so, 1 where it does not.
    pub fn new(named: Vec<(String, String)>, line: usize) -> Self {
        Self { named, line: line.max(1) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Nothing is named.
    pub const NONE: &Columns = &Columns { named: Vec::new(), line: 1 };

    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// The columns that are named, in order.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|(_, column)| column.as_str())
    }

    /// Whether a column of this name is named, with whatever case and blanks.
    pub(crate) fn names(&self, column: &str) -> bool {
        !self.is_empty() && {
            let plain = plain(column);
            self.columns().any(|named| named == column || self::plain(named) == plain)
        }
    }

    /// Of these columns, those that are named, each with its field.
    pub(crate) fn among<'a>(&self, there: &[&'a str]) -> Vec<Rename<'a>> {
        let find = |column: &str| {
            let exact = there.iter().find(|name| **name == column);
            exact.or_else(|| there.iter().find(|name| plain(name) == plain(column))).copied()
        };
        // A key of `FIELDS`: the recipe has been checked.
        let field = |field: &str| FIELDS.iter().find(|known| **known == field).copied();
        self.named
            .iter()
            .filter_map(|(name, column)| Some(Rename { column: find(column)?, field: field(name)? }))
            .collect()
    }
}

/// The columns that a recipe names, and what was found of them while records were read.
pub(crate) struct Use<'a> {
    pub(crate) columns: &'a Columns,
    /// Names of columns, up to a limit.
    there: RefCell<BTreeSet<String>>,
    found: RefCell<BTreeSet<String>>,
}

/// More names than this are not worth remembering.
const MOST_NAMES: usize = 200;

impl<'a> Use<'a> {
    pub(crate) fn new(columns: &'a Columns) -> Self {
        Self { columns, there: RefCell::default(), found: RefCell::default() }
    }

    /// A record has these columns, and those of the recipe among them.
    pub(crate) fn note<'b>(&self, there: impl IntoIterator<Item = &'b String>, found: &[Rename<'_>]) {
        let mut known = self.there.borrow_mut();
        for name in there {
            if known.len() < MOST_NAMES && !known.contains(name) {
                known.insert(name.clone());
            }
        }
        let mut fields = self.found.borrow_mut();
        for rename in found.iter().filter(|rename| !fields.contains(rename.field)).collect::<Vec<_>>() {
            fields.insert(rename.field.to_owned());
        }
    }

    /// Columns that the recipe names and no record has, each with its field; and the names that there are.
    pub(crate) fn missing(self) -> (Vec<(&'a str, &'a str)>, Vec<String>) {
        let found = self.found.into_inner();
        let missing = self.columns.named.iter().filter(|(field, _)| !found.contains(field));
        let missing = missing.map(|(field, column)| (field.as_str(), column.as_str())).collect();
        (missing, self.there.into_inner().into_iter().collect())
    }
}

/// A column and the field that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rename<'a> {
    pub(crate) column: &'a str,
    pub(crate) field: &'static str,
}

/// Two columns that could be the same field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unclear<'a> {
    pub(crate) field: &'static str,
    pub(crate) columns: [&'a str; 2],
}

/// What a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// A field that people call as we do.
    Field(&'static str),
    Prompt,
    Instruction,
    /// What an instruction or a question is about.
    Input,
    Completion,
    /// Words that also mean a person; only beside each other are they sides of a talk.
    Asker,
    Answerer,
    /// A text, if a title stands beside it.
    Body,
}

/// Names by meaning, as [`plain`] makes them.
const NAMES: &[(Meaning, &[&str])] = &[
    (
        Meaning::Prompt,
        &[
            "prompt",
            "question",
            "query",
            "user_input",
            "user_prompt",
            "questions",
            "problem",
            "问题",
            "問題",
            "问",
            "問",
            "提问",
            "提問",
            "问句",
            "提示词",
            "提示詞",
            "提示",
            "题目",
            "題目",
        ],
    ),
    (Meaning::Instruction, &["instruction", "指令"]),
    (Meaning::Input, &["input", "context", "输入", "輸入", "上下文"]),
    (
        Meaning::Completion,
        &[
            "completion",
            "answer",
            "response",
            "reply",
            "output",
            "answers",
            "solution",
            "答案",
            "答",
            "回答",
            "回复",
            "回覆",
            "答复",
            "答覆",
            "输出",
            "輸出",
            "响应",
            "回應",
        ],
    ),
    (Meaning::Asker, &["user", "human", "q", "用户", "用戶"]),
    (Meaning::Answerer, &["assistant", "gpt", "ai", "bot", "chatbot", "a", "助手"]),
    (Meaning::Field("text"), &["text", "文本", "正文"]),
    (Meaning::Body, &["body", "content", "article", "内容", "內容"]),
    (Meaning::Field("title"), &["title", "标题", "標題"]),
    (Meaning::Field("system"), &["system", "system_prompt", "系统", "系統", "系统提示", "系统提示词"]),
    (Meaning::Field("messages"), &["messages"]),
    (Meaning::Field("conversations"), &["conversations"]),
    (Meaning::Field("history"), &["history"]),
    (Meaning::Field("tools"), &["tools"]),
];

fn meaning(column: &str) -> Option<Meaning> {
    let plain = plain(column);
    NAMES.iter().find(|(_, names)| names.contains(&plain.as_str())).map(|(meaning, _)| *meaning)
}

/// Whether a column of this name could be a field.
pub(crate) fn is_like_a_field(column: &str) -> bool {
    meaning(column).is_some()
}

/// A name without what nobody means by it: case, marks and blanks around, and what joins its words.
pub(crate) fn plain(column: &str) -> String {
    let around = |each: char| each.is_whitespace() || matches!(each, '\u{feff}' | ':' | '：' | '?' | '？');
    let words: Vec<String> = column
        .trim_matches(around)
        .to_lowercase()
        .split(|each: char| each.is_whitespace() || matches!(each, '_' | '-'))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    words.join("_")
}

/// The fields that these columns are, where they make an example together. `None`: they do not.
pub(crate) fn by_name<'a>(there: &[&'a str]) -> Option<Result<Vec<Rename<'a>>, Unclear<'a>>> {
    let meanings: Vec<(&'a str, Meaning)> =
        there.iter().filter_map(|column| Some((*column, meaning(column)?))).collect();
    let of = |wanted: Meaning| -> Vec<&'a str> {
        meanings.iter().filter(|(_, meaning)| *meaning == wanted).map(|(column, _)| *column).collect()
    };
    let all_that_mean = |fields: &[&'static str]| -> Vec<Rename<'a>> {
        fields
            .iter()
            .filter_map(|field| match of(Meaning::Field(field)).as_slice() {
                [column] => Some(Rename { column, field }),
                _ => None,
            })
            .collect()
    };
    for list in ["messages", "conversations"] {
        if let [column] = of(Meaning::Field(list)).as_slice() {
            let mut renames = all_that_mean(&["system", "tools"]);
            renames.push(Rename { column, field: list });
            return Some(Ok(renames));
        }
    }
    if let Some(found) = pair(&of) {
        return Some(found.map(|mut renames| {
            let beside = all_that_mean(&["system", "history"]);
            if !beside.is_empty() {
                // A conversation with more than a question in front of its answer.
                for rename in &mut renames {
                    rename.field = match rename.field {
                        "prompt" => "instruction",
                        "completion" => "output",
                        field => field,
                    };
                }
            }
            renames.extend(beside);
            renames
        }));
    }
    let title = all_that_mean(&["title"]);
    let (texts, bodies) = (of(Meaning::Field("text")), of(Meaning::Body));
    let column = match (texts.as_slice(), bodies.as_slice()) {
        ([column], _) => *column,
        ([], [column]) if !title.is_empty() => *column,
        _ => return None,
    };
    Some(Ok(title.into_iter().chain([Rename { column, field: "text" }]).collect()))
}

/// A question and its answer.
fn pair<'a>(of: &dyn Fn(Meaning) -> Vec<&'a str>) -> Option<Result<Vec<Rename<'a>>, Unclear<'a>>> {
    let (mut asked, mut answered) = (of(Meaning::Prompt), of(Meaning::Completion));
    let (instructions, inputs) = (of(Meaning::Instruction), of(Meaning::Input));
    if asked.is_empty() && instructions.is_empty() && inputs.is_empty() && answered.is_empty() {
        (asked, answered) = (of(Meaning::Asker), of(Meaning::Answerer));
    }
    let rename = |column: &'a str, field: &'static str| Rename { column, field };
    let answer = match answered.as_slice() {
        [] => return None,
        [answer] => *answer,
        [one, other, ..] => {
            let is_pair = !(asked.is_empty() && instructions.is_empty() && inputs.is_empty());
            return is_pair.then_some(Err(Unclear { field: "completion", columns: [one, other] }));
        }
    };
    Some(Ok(match (asked.as_slice(), instructions.as_slice(), inputs.as_slice()) {
        ([], [], []) => return None,
        ([question], [], []) | ([], [], [question]) => {
            vec![rename(question, "prompt"), rename(answer, "completion")]
        }
        ([instruction], [], [input]) | ([], [instruction], [input]) => {
            vec![rename(instruction, "instruction"), rename(input, "input"), rename(answer, "output")]
        }
        ([], [instruction], []) => vec![rename(instruction, "instruction"), rename(answer, "output")],
        ([one, other, ..], _, _)
        | ([one], [other, ..], _)
        | ([], [one, other, ..], _)
        | (_, _, [one, other, ..]) => {
            return Some(Err(Unclear { field: "prompt", columns: [one, other] }));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(columns: &[&str]) -> String {
        match by_name(columns) {
            None => "nothing".to_owned(),
            Some(Err(Unclear { field, columns: [one, other] })) => format!("{field}: {one} or {other}?"),
            Some(Ok(renames)) => {
                let shown: Vec<_> =
                    renames.iter().map(|rename| format!("{}={}", rename.field, rename.column)).collect();
                shown.join(" ")
            }
        }
    }

    #[test]
    fn questions_and_answers_by_all_their_names() {
        for (question, answer) in [
            ("Question", "Answer"),
            (" QUERY ", "Response"),
            ("Input", "output"),
            ("Prompt", "Reply"),
            ("User", "Assistant"),
            ("Q", "A"),
            ("\u{feff}问题", "答案"),
            ("问", "答"),
            ("提问", "回答"),
            ("輸入", "輸出"),
            ("Question:", "Answer："),
        ] {
            assert_eq!(
                named(&["id", question, answer]),
                format!("prompt={question} completion={answer}"),
                "{question}"
            );
        }
        assert_eq!(named(&["instruction", "Response"]), "instruction=instruction output=Response");
        assert_eq!(named(&["指令", "输入", "输出"]), "instruction=指令 input=输入 output=输出");
        assert_eq!(
            named(&["question", "context", "answer"]),
            "instruction=question input=context output=answer"
        );
        assert_eq!(
            named(&["Question", "Answer", "System Prompt"]),
            "instruction=Question output=Answer system=System Prompt"
        );
        assert_eq!(named(&["Messages", "Question"]), "messages=Messages");
        assert_eq!(named(&["标题", "正文"]), "title=标题 text=正文");
        assert_eq!(named(&["Title", "Body"]), "title=Title text=Body");
    }

    #[test]
    fn what_could_be_two_things_is_neither() {
        assert_eq!(named(&["question", "query", "answer"]), "prompt: question or query?");
        assert_eq!(named(&["question", "answer", "response"]), "completion: answer or response?");
        assert_eq!(named(&["instruction", "input", "context", "output"]), "prompt: input or context?");
        for columns in [
            &["question"][..],
            &["answer"],
            &["body"],
            &["user", "answer"],
            &["user", "text2"],
            &["name", "body"],
            &[],
        ] {
            assert_eq!(named(columns), "nothing", "{columns:?}");
        }
    }

    #[test]
    fn a_recipe_finds_its_columns() {
        let columns = Columns::new(
            vec![
                ("prompt".into(), "Frage".into()),
                ("completion".into(), "die antwort".into()),
                ("text".into(), "x".into()),
            ],
            3,
        );
        let found = columns.among(&["Frage", "FRAGE", "Die Antwort"]);
        assert_eq!(
            found,
            [
                Rename { column: "Frage", field: "prompt" },
                Rename { column: "Die Antwort", field: "completion" }
            ]
        );
        assert!(columns.names("Die_Antwort") && !columns.names("Antwort"));
    }
}
