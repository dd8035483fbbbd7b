//! # HP020 `template-leakage`
//!
//! The text holds a marker of some chat template: `<|im_end|>`, `[INST]`, `<|eot_id|>`. It was copied from a rendered conversation, or
//! a template was applied before; training applies the base's own, so that the model would learn to write markers, or would see
//! a turn end in the middle of one.
//!
//! The example is still learnt, markers included.

use std::path::Path;

use super::{Code, Finding, Rule, shown};
use crate::content::Content;

pub(super) const RULE: Rule = Rule {
    code: "HP020",
    name: "template-leakage",
    remedy: "Delete the markers; make \"messages\" of the turns if there are several.",
    skips: false,
};

/// Of the families that people use. `<s>` is not among them: it is HTML too.
const MARKERS: &[&str] = &[
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|end|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "<｜Assistant｜>",
    "<｜User｜>",
];

/// How such markers begin.
const STARTS: &[&str] = &["<|", "<start_of", "<end_of", "[INST", "[/INST", "<<", "<｜"];

/// The first marker in the content.
fn marker(content: &Content) -> Option<&'static str> {
    let in_text = |text: &str| {
        STARTS
            .iter()
            .any(|start| text.contains(start))
            .then(|| MARKERS.iter().copied().find(|marker| text.contains(marker)))
            .flatten()
    };
    match content {
        Content::Text(text) => in_text(text),
        Content::Completion { prompt, completion } => in_text(prompt).or_else(|| in_text(completion)),
        Content::Chat(chat) => chat.turns.iter().find_map(|turn| in_text(&turn.content)),
    }
}

pub(crate) fn template_leakage(file: &Path, lines: (usize, usize), content: &Content) -> Option<Finding> {
    let message = format!("it holds {}, a marker of a chat template", shown(marker(content)?));
    Some(Finding::new(Code::TemplateLeakage, file, lines, message))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn markers_of_all_families() {
        check(
            &[
                ("a.txt", "[INST] Write. [/INST] A note."),
                (
                    "b.jsonl",
                    "{\"messages\": [{\"role\": \"assistant\", \"content\": \"Soup.<|im_end|>\"}]}\n",
                ),
                ("c.txt", "a < b, x << 3, <s>struck</s>, |im_end|, [INSTALL]"),
            ],
            &expect![[r#"
                a.txt:1-1 "[INST] Write. [/INST] A note."
                b.jsonl:1-1 assistant: "Soup.<|im_end|>"
                c.txt:1-1 "a < b, x << 3, <s>struck</s>, |im_end|, [INSTALL]"
                a.txt:1-1 HP020 template-leakage: it holds "[INST]", a marker of a chat template
                b.jsonl:1-1 HP020 template-leakage: it holds "<|im_end|>", a marker of a chat template
            "#]],
        );
    }
}
