//! # HP016 `unread-list`
//!
//! A `.json` file holds an object with several lists of records, and this one is not for learning: `test`, `validation` or another
//! name that is not `data`, `train`, `examples` or their like. The records of the known lists are read.
//!
//! The list is left out: what somebody kept apart to test by should not be learnt.

use super::{Code, Finding, Rule, shown};
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP016",
    name: "unread-list",
    remedy: "To learn it too, save that list as a file of its own.",
    skips: true,
};

pub(crate) fn unread_list(place: RecordLocation<'_>, name: &str) -> Finding {
    Finding::new(Code::UnreadList, place.file, place.lines, format!("the list {} is not read", shown(name)))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn a_list_kept_apart() {
        check(
            &[(
                "a.json",
                "{\"version\": 1,\n \"test\": [\n  {\"text\": \"t\"}],\n \"train\": [\n  {\"text\": \"a\"},\n  {\"text\": \"b\"}],\n \"dev\": [{}]}",
            )],
            &expect![[r#"
                a.json:5-5 "a"
                a.json:6-6 "b"
                a.json:2-3 HP016 unread-list: the list "test" is not read
                a.json:7-7 HP016 unread-list: the list "dev" is not read
            "#]],
        );
    }
}
