//! Divides a text that is longer than a training item may be, so that nothing of it is lost: at headings, else between paragraphs,
//! lines, sentences or words. A pure function of the text and a measure.
//!
//! It goes from the start and fills each piece before it begins the next one. So a text that grows at its end, as a diary does,
//! keeps its first pieces as they are, and what was learnt of it stays learnt.
//!
//! Each piece is an example like any other; only one that begins with a heading of its own has a title. Examples are divided when they are measured, so this
//! crate still knows no tokens.

use std::ops::Range;

use crate::formats::Blocks;
use crate::formats::heading_level;

/// So many measurements find where a piece must end.
const MOST_TRIES: usize = 12;
/// A token of most tokenizers has about so many bytes; the first guess.
const BYTES_OF_A_TOKEN: usize = 4;

/// What a piece may end at, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Joint {
    /// Before a heading of this level; 1 is the highest.
    Heading(usize),
    Paragraph,
    Line,
    Sentence,
    Word,
    Character,
}

/// The parts of `text`, in order, none with more than `most` by `measure` where that can be had. Joined, they are the text.
///
/// `measure` must not fall when a text gets longer; `None` where it has no answer, then the text stays whole.
pub(crate) fn divide(text: &str, most: usize, measure: &dyn Fn(&str) -> Option<usize>) -> Vec<Range<usize>> {
    let joints = joints(text);
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let Some(reach) = reach(text, start, most, measure) else {
            pieces.push(start..text.len());
            break;
        };
        let end = if reach >= text.len() { text.len() } else { joint(text, &joints, start, reach) };
        pieces.push(start..end);
        start = end;
    }
    pieces
}

/// How far from `start` a piece can go; at least one character.
fn reach(text: &str, start: usize, most: usize, measure: &dyn Fn(&str) -> Option<usize>) -> Option<usize> {
    let left = text.len() - start;
    let (mut fits, mut fails) = (0, left + 1);
    let mut guess = most.saturating_mul(BYTES_OF_A_TOKEN).clamp(1, left);
    for _ in 0..MOST_TRIES {
        let end = text.floor_char_boundary(start + guess);
        let length = end - start;
        if length <= fits && fits > 0 || length == 0 {
            break;
        }
        let tokens = measure(text.get(start..end)?)?;
        if tokens <= most {
            fits = length;
            // Near enough: a border lies before it anyway.
            if length == left || tokens * 16 >= most * 15 {
                break;
            }
        } else {
            fails = length;
        }
        let ratio = (length * most / tokens.max(1)).max(1);
        guess = if ratio > fits && ratio < fails { ratio } else { fits.midpoint(fails) };
        guess = guess.min(left);
    }
    let one = text.get(start..)?.chars().next().map_or(1, char::len_utf8);
    Some(start + fits.max(one))
}

/// The best place to end at in the second half of `start..reach`, the last of its kind; where little is left behind it, the one that
/// leaves two halves.
fn joint(text: &str, joints: &[(usize, Joint)], start: usize, reach: usize) -> usize {
    let half = start + (reach - start) / 2;
    let left = text.len() - reach;
    let aim = if left < (reach - start) / 2 { start + (text.len() - start) / 2 } else { reach };
    let from = joints.partition_point(|(at, _)| *at < half.max(start + 1));
    let to = joints.partition_point(|(at, _)| *at <= reach);
    let coarse = joints.get(from..to).unwrap_or_default();
    let best = |found: &mut dyn Iterator<Item = (usize, Joint)>| {
        found.min_by_key(|(at, joint)| (*joint, at.abs_diff(aim))).map(|(at, _)| at)
    };
    best(&mut coarse.iter().copied()).or_else(|| best(&mut fine(text, start, half, reach))).unwrap_or(reach)
}

/// Where headings, paragraphs and lines begin.
fn joints(text: &str) -> Vec<(usize, Joint)> {
    let mut joints: Vec<(usize, Joint)> = Vec::new();
    let mut blocks = Blocks::default();
    let mut at = 0;
    let mut after_blank = false;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let bare = line.trim_end();
        let in_code = blocks.in_code();
        let heading = heading_level(bare).filter(|_| !in_code);
        // A line of `=` or `-` makes a heading of the line above.
        let underline = if after_blank || in_code { None } else { underline_level(bare) };
        if let Some(level) = underline
            && let Some((_, joint @ Joint::Paragraph)) = joints.last_mut()
        {
            *joint = Joint::Heading(level);
        }
        let joint = match heading {
            Some(level) => Joint::Heading(level),
            None if after_blank && !in_code => Joint::Paragraph,
            None => Joint::Line,
        };
        if !bare.is_empty() && underline.is_none() {
            joints.push((at, joint));
        }
        after_blank = bare.is_empty();
        blocks.line(number + 1, bare.as_bytes());
        at += line.len();
    }
    joints
}

fn underline_level(line: &str) -> Option<usize> {
    let all = |mark: u8| line.len() >= 3 && line.bytes().all(|byte| byte == mark);
    if all(b'=') {
        Some(1)
    } else if all(b'-') {
        Some(2)
    } else {
        None
    }
}

/// Where sentences, words and characters begin, from `half` to `reach`.
fn fine(text: &str, start: usize, half: usize, reach: usize) -> impl Iterator<Item = (usize, Joint)> {
    let from = text.floor_char_boundary(half.max(start + 1));
    let mut before = text.get(start..from).and_then(|text| text.chars().next_back());
    let mut stopped = false;
    let chars = text.get(from..).unwrap_or_default().char_indices();
    chars.map(move |(at, char)| (from + at, char)).take_while(move |(at, _)| *at <= reach).map(
        move |(at, char)| {
            let blank = before.is_some_and(char::is_whitespace);
            if let Some(before) = before {
                let stop = matches!(before, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '；');
                stopped = stop
                    || stopped
                        && matches!(before, '"' | '\'' | '”' | '’' | '»' | ')' | '」' | '』' | ' ' | '）');
            }
            let wide = matches!(before, Some('。' | '！' | '？' | '；' | '」' | '』' | '”' | '）'));
            before = Some(char);
            let joint = if char.is_whitespace() {
                Joint::Character
            } else if stopped && (blank || wide) && char.is_alphanumeric() {
                Joint::Sentence
            } else if blank {
                Joint::Word
            } else {
                Joint::Character
            };
            (at, joint)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token a character.
    fn pieces(text: &str, most: usize) -> Vec<&str> {
        let measure = |text: &str| Some(text.trim().chars().count());
        let pieces = divide(text, most, &measure);
        let pieces: Vec<&str> = pieces.into_iter().map(|range| &text[range]).collect();
        assert_eq!(pieces.concat(), text);
        for piece in &pieces {
            assert!(measure(piece).unwrap() <= most, "{piece:?}");
        }
        pieces
    }

    #[test]
    fn the_best_joint_is_taken() {
        let text = "# One\n\nA short part.\n\nMore of it.\n\n## One b\n\nIts own part.\n\n# Two\n\nThe second one.\n";
        assert_eq!(
            pieces(text, 64),
            [
                "# One\n\nA short part.\n\nMore of it.\n\n## One b\n\nIts own part.\n\n",
                "# Two\n\nThe second one.\n"
            ]
        );
        assert_eq!(
            pieces("First of all.\n\nSecond part.\n\nThird part.", 30),
            ["First of all.\n\n", "Second part.\n\nThird part."]
        );
        assert_eq!(
            pieces("Soup\n---\nHot.\n\nBread\n---\nWarm.", 22),
            ["Soup\n---\nHot.\n\n", "Bread\n---\nWarm."]
        );
        assert_eq!(pieces("line one\nline two\nline three", 20), ["line one\nline two\n", "line three"]);
        assert_eq!(
            pieces("One sentence. And two. And a third.", 24),
            ["One sentence. ", "And two. And a third."]
        );
        assert_eq!(pieces("汤很浓。面很好。我们又来了。", 10), ["汤很浓。面很好。", "我们又来了。"]);
        assert_eq!(pieces("words without an end here", 16), ["words without ", "an end here"]);
        assert_eq!(pieces("aaaaaaaaaaaaaaaaaaaaaaaaa", 10).len(), 3);
    }

    #[test]
    fn code_is_kept_together_where_it_can_be() {
        let text =
            "Before the code, a text.\n\n```\n# no heading\n\n# none\n```\n\nAfter the code, more text.\n";
        assert_eq!(pieces(text, 60)[1], "After the code, more text.\n");
    }

    #[test]
    fn what_grows_at_its_end_keeps_its_first_pieces() {
        let day = |number: usize| format!("# Day {number}\n\nIt rained for {number} hours. Nobody came.\n\n");
        let diary: String = (1..20).map(day).collect();
        let longer = diary.clone() + &day(20) + &day(21) + &day(22);
        let (before, after) = (pieces(&diary, 130), pieces(&longer, 130));
        let same = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
        assert!(same + 2 >= before.len() && before.len() > 5, "{same} of {}", before.len());
    }

    #[test]
    fn what_cannot_be_measured_or_divided_stays() {
        assert_eq!(divide("some text", 2, &|_| None), vec![0..9]);
        assert_eq!(divide("abc", 0, &|text| Some(text.len())), vec![0..1, 1..2, 2..3]);
        assert!(divide("", 5, &|_| Some(1)).is_empty());
    }
}
