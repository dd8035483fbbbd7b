//! # HP030 `conflict-copy`
//!
//! A program that keeps folders in step (Dropbox, Nextcloud, Syncthing and their likes) met two versions of a file and left the second one beside the
//! first, under a name that says so. Learning both would teach one text twice, once as it was not meant to be.
//!
//! The file is left out.

use std::path::Path;

use super::{Code, Finding, Rule};

pub(super) const RULE: Rule = Rule {
    code: "HP030",
    name: "conflict-copy",
    remedy: "Take over what it holds into the file it is a copy of, then delete it; or give it a name of its own.",
    skips: true,
};

pub(crate) fn conflict_copy(file: &Path) -> Finding {
    let message =
        "its name says that it is a second version of a file, left by a program that keeps folders in step";
    Finding::new(Code::ConflictCopy, file, (1, 1), message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn a_second_version_is_said_and_not_learnt() {
        check(
            &[("a.md", "a note"), ("a.sync-conflict-20260501-120000-ABCDEFG.md", "a note, otherwise")],
            &expect![[r#"
                a.md:1-1 "a note"
                a.sync-conflict-20260501-120000-ABCDEFG.md:1-1 HP030 conflict-copy: its name says that it is a second version of a file, left by a program that keeps folders in step
            "#]],
        );
    }
}
