//! # HP014 `preference-data`
//!
//! The record is for preference training (DPO, KTO and their like): a better and a worse answer, or an answer with a verdict. That
//! teaches a choice between answers. Taking the answers as texts to learn would also teach the bad ones, so it is not done
//! silently.
//!
//! The record is left out. To learn the good answers alone, make records of `prompt` and `completion` of them.

use super::{Code, Finding, Rule};
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP014",
    name: "preference-data",
    remedy: "Keep only the good answers, as \"prompt\" and \"completion\" without a verdict.",
    skips: true,
};

pub(crate) fn preference_data(place: RecordLocation<'_>, why: &str) -> Finding {
    let message = format!("{why}; preferences are not learnt");
    Finding::new(Code::PreferenceData, place.file, place.lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn choices_and_verdicts() {
        check(
            &[(
                "a.jsonl",
                r#"{"prompt": "Write.", "chosen": "A good note.", "rejected": "A bad note."}
{"chosen": [{"role": "user", "content": "a"}], "rejected": []}
{"prompt": "Write.", "completion": "A bad note.", "label": false}
{"messages": [{"role": "assistant", "content": "b"}], "kto_tag": true}
{"prompt": "Write.", "completion": "A note.", "label": "shop"}
"#,
            )],
            &expect![[r#"
                a.jsonl:5-5 "Write." -> "A note."
                a.jsonl:1-1 HP014 preference-data: "chosen" and "rejected" are a choice between two answers; preferences are not learnt
                a.jsonl:2-2 HP014 preference-data: "chosen" and "rejected" are a choice between two answers; preferences are not learnt
                a.jsonl:3-3 HP014 preference-data: "label" says whether the answer is good or bad; preferences are not learnt
                a.jsonl:4-4 HP014 preference-data: "kto_tag" says whether the answer is good or bad; preferences are not learnt
            "#]],
        );
    }
}
