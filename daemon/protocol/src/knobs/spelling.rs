//! What somebody may have meant.

/// The closest candidate, if it is close enough to be meant: case, hyphens and underscores count for nothing, and of a word of n characters
/// about a third may be wrong.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| -> Vec<char> {
        text.chars()
            .take(64)
            .filter(char::is_ascii_alphanumeric)
            .map(|each| each.to_ascii_lowercase())
            .collect()
    };
    let word = plain(word);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| {
            *distance <= candidate.len().max(word.len()).div_ceil(3).min(4) && *distance < word.len()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and exchanges of neighbours (optimal string alignment).
fn distance(one: &[char], other: &[char]) -> usize {
    let width = other.len() + 1;
    let mut before_last = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    for (row, left) in one.iter().enumerate() {
        let mut current = vec![row + 1; width];
        for (column, right) in other.iter().enumerate() {
            let mut best = (last[column] + usize::from(left != right))
                .min(last[column + 1] + 1)
                .min(current[column] + 1);
            let exchanged = row > 0 && column > 0 && *left == other[column - 1] && one[row - 1] == *right;
            if exchanged && left != right {
                best = best.min(before_last[column - 1] + 1);
            }
            current[column + 1] = best;
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let near = |word| nearest(word, ["rank", "alpha", "learning_rate", "max_steps", "batch"]);
        assert_eq!(near("rnak"), Some("rank"));
        assert_eq!(near("Rank"), Some("rank"));
        assert_eq!(near("learning-rate"), Some("learning_rate"));
        assert_eq!(near("learnign_rat"), Some("learning_rate"));
        assert_eq!(near("btach"), Some("batch"));
        assert_eq!(near("x"), None);
        assert_eq!(near(""), None);
        assert_eq!(near("temperature"), None);
        assert_eq!(near(&"面".repeat(1000)), None);
    }
}
