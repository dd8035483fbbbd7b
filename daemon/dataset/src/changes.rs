//! What came and what went since last time.

use std::collections::{HashMap, HashSet};

use crate::content::{Example, ExampleId};

/// A changed example is one removed and one added: an id names a content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the order of the dataset.
    pub added: Vec<ExampleId>,
    /// Sorted.
    pub removed: Vec<ExampleId>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

/// Compares the examples that are known (the keys of `before`) with those that are there now.
#[expect(clippy::implicit_hasher, reason = "callers need not name a hasher to collect `before`")]
pub fn changes<V>(before: &HashMap<ExampleId, V>, now: &[Example]) -> Changes {
    let mut present = HashSet::with_capacity(now.len());
    let mut added = Vec::new();
    for example in now {
        if present.insert(example.id) && !before.contains_key(&example.id) {
            added.push(example.id);
        }
    }
    let mut removed: Vec<ExampleId> = before.keys().filter(|id| !present.contains(*id)).copied().collect();
    removed.sort_unstable();
    Changes { added, removed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::Side;
    use crate::testing::text_example;

    #[test]
    fn an_edit_is_one_gone_and_one_new() {
        let before: HashMap<_, _> = ["a", "b"].map(|text| (text_example(text).id, Side::Train)).into();
        let now = [text_example("b, edited"), text_example("a"), text_example("b, edited")];
        let found = changes(&before, &now);
        assert_eq!(found.added, [text_example("b, edited").id]);
        assert_eq!(found.removed, [text_example("b").id]);
        assert!(changes(&before, &[text_example("b"), text_example("a")]).is_empty());
    }
}
