//! # HP017 `invalid-parquet`
//!
//! A `.parquet` file cannot be read: it is cut off (a download that was not finished, a copy of a pointer), damaged, encrypted, or
//! uses a compression that is not known here (snappy, zstd, gzip and lz4 are).
//!
//! What was read before the damage stays; the rest of the file is left out.

use super::{Code, Finding, Rule};
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP017",
    name: "invalid-parquet",
    remedy: "Fetch or write the file again, or save it as .jsonl.",
    skips: true,
};

pub(crate) fn invalid_parquet(place: RecordLocation<'_>, why: &str) -> Finding {
    // The library's words may end in several lines.
    let why = why.lines().next().unwrap_or("it contradicts itself");
    Finding::new(Code::InvalidParquet, place.file, place.lines, format!("it cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check_bytes;

    #[test]
    fn pieces_of_files() {
        check_bytes(
            &[
                ("a.parquet", b""),
                ("b.parquet", b"PAR1"),
                ("c.parquet", b"PAR1\x15\0\x15\0PAR1"),
                ("d.parquet", b"version https://git-lfs"),
            ],
            &expect![[r"
                a.parquet:1-1 HP017 invalid-parquet: it cannot be read: EOF: Parquet file too small. Size is 0 but need 8
                b.parquet:1-1 HP017 invalid-parquet: it cannot be read: EOF: Parquet file too small. Size is 4 but need 8
                c.parquet:1-1 HP017 invalid-parquet: it cannot be read: EOF: Parquet file too small. Size is 12 but need 1376285
                d.parquet:1-1 HP017 invalid-parquet: it cannot be read: Parquet error: Invalid Parquet file. Corrupt footer
            "]],
        );
    }
}
