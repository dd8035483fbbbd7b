//! Which modules an adapter adapts: PEFT's rules (`check_target_module_exists` and `get_pattern_key` in its `tuners_utils.py` and
//! `other.py`), so that a recipe and a file mean here what they mean there.

use fancy_regex::Regex;

use super::{Place, Targets};

/// Compiled targets with the restrictions that PEFT knows beside them.
#[derive(Debug)]
pub struct Selection {
    targets: Chosen,
    excluded: Option<Chosen>,
    /// Only these blocks; PEFT honours it for lists of names alone.
    layers: Option<Vec<usize>>,
    /// Names that may stand before a block's number; any where there is none.
    layers_patterns: Vec<Regex>,
}

#[derive(Debug)]
enum Chosen {
    AllLinear,
    Names(Vec<String>),
    Regex(Box<Regex>),
}

impl Chosen {
    fn new(targets: &Targets) -> Result<Chosen, String> {
        Ok(match targets {
            Targets::AllLinear => Chosen::AllLinear,
            Targets::Names(names) => Chosen::Names(names.clone()),
            Targets::Regex(pattern) => Chosen::Regex(Box::new(regex(&format!("^(?:{pattern})$"), pattern)?)),
        })
    }

    fn has(&self, place: Place, module: &str) -> bool {
        match self {
            // All but the output layer, as PEFT has it; the embedding is no linear layer.
            Chosen::AllLinear => matches!(place, Place::Block(..)),
            Chosen::Names(names) => names.iter().any(|name| is_end_of(name, module)),
            Chosen::Regex(regex) => matches(regex, module),
        }
    }
}

impl Selection {
    /// # Errors
    /// The pattern that is no regular expression.
    pub fn new(targets: &Targets) -> Result<Selection, String> {
        Ok(Selection {
            targets: Chosen::new(targets)?,
            excluded: None,
            layers: None,
            layers_patterns: Vec::new(),
        })
    }

    /// Modules that are left alone whatever the targets say.
    ///
    /// # Errors
    /// The pattern that is no regular expression.
    pub fn without(mut self, excluded: &Targets) -> Result<Selection, String> {
        self.excluded = Some(Chosen::new(excluded)?);
        Ok(self)
    }

    /// Blocks with these numbers only; `patterns` are the names that may stand before the number.
    ///
    /// # Errors
    /// The pattern that is no regular expression.
    pub fn in_layers(mut self, layers: Vec<usize>, patterns: &[String]) -> Result<Selection, String> {
        let compiled = patterns
            .iter()
            .map(|pattern| regex(&format!(r"^(?:|.*?\.){pattern}\.(?P<index>\d+)\."), pattern));
        self.layers_patterns = compiled.collect::<Result<_, _>>()?;
        self.layers = Some(layers);
        Ok(self)
    }

    pub fn has(&self, place: Place) -> bool {
        let module = place.to_string();
        if self.excluded.as_ref().is_some_and(|excluded| excluded.has(place, &module)) {
            return false;
        }
        if !self.targets.has(place, &module) {
            return false;
        }
        match (&self.layers, &self.targets) {
            (Some(layers), Chosen::Names(_)) => {
                let Place::Block(layer, _) = place else { return false };
                let named = self.layers_patterns.is_empty()
                    || self.layers_patterns.iter().any(|regex| matches(regex, &module));
                named && layers.contains(&layer)
            }
            _ => true,
        }
    }
}

/// PEFT's rule for names in a list: the whole name, or its end from a dot on.
pub(crate) fn is_end_of(name: &str, module: &str) -> bool {
    module.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// `rank_pattern` or `alpha_pattern`, compiled: each key is a regular expression for the end of a module's name, from a dot or its
/// start on; the first that matches counts.
#[derive(Debug)]
pub(crate) struct Patterns<T>(Vec<Entry<T>>);

#[derive(Debug)]
struct Entry<T> {
    pattern: String,
    regex: Regex,
    value: T,
}

impl<T: Copy> Patterns<T> {
    pub(crate) fn new<'a>(entries: impl IntoIterator<Item = (&'a str, T)>) -> Result<Self, String> {
        let compiled = entries.into_iter().map(|(pattern, value)| {
            let regex = regex(&format!(r"^(?:.*\.)?(?:{pattern})$"), pattern)?;
            Ok(Entry { pattern: pattern.to_owned(), regex, value })
        });
        compiled.collect::<Result<_, String>>().map(Patterns)
    }

    pub(crate) fn of(&self, module: &str) -> Option<T> {
        self.all_of(module).next().map(|(_, value)| value)
    }

    /// Every key that matches, in order; only the first one counts.
    pub(crate) fn all_of(&self, module: &str) -> impl Iterator<Item = (&str, T)> {
        let matching = self.0.iter().filter(move |entry| matches(&entry.regex, module));
        matching.map(|entry| (entry.pattern.as_str(), entry.value))
    }
}

fn regex(whole: &str, pattern: &str) -> Result<Regex, String> {
    /// A pattern from outside must not take for ever.
    const STEPS: usize = 100_000;
    fancy_regex::RegexBuilder::new(whole)
        .backtrack_limit(STEPS)
        .build()
        .map_err(|_| format!("{pattern:?} is no regular expression that this version knows"))
}

/// A pattern that runs into its limit matches nothing.
fn matches(regex: &Regex, text: &str) -> bool {
    regex.is_match(text).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn chosen(selection: Result<Selection, String>) -> Vec<String> {
        let selection = selection.unwrap();
        let places = Place::all(&fixtures::config());
        places.into_iter().filter(|place| selection.has(*place)).map(|place| place.to_string()).collect()
    }

    fn names(names: &[&str]) -> Targets {
        Targets::Names(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn all_linear_is_all_but_embedding_and_head() {
        let all = chosen(Selection::new(&Targets::AllLinear));
        assert_eq!(all.len(), 14);
        assert!(all.iter().all(|name| name.starts_with("model.layers.")));
    }

    #[test]
    fn names_are_ends_from_a_dot_on() {
        let of = |list: &[&str]| chosen(Selection::new(&names(list)));
        assert_eq!(of(&["1.self_attn.q_proj", "lm_head"]), ["model.layers.1.self_attn.q_proj", "lm_head"]);
        assert_eq!(of(&["proj"]), [""; 0]);
        assert_eq!(of(&["model.embed_tokens"]), ["model.embed_tokens"]);
    }

    #[test]
    fn a_regex_must_match_the_whole_name_and_may_look_around() {
        let of = |pattern: &str| chosen(Selection::new(&Targets::Regex(pattern.to_owned())));
        assert_eq!(of("q_proj"), [""; 0]);
        assert_eq!(of(r".*\.0\..*\.(q|v)_proj").len(), 2);
        assert_eq!(of(r"(?!.*mlp).*layers.*").len(), 8);
        assert_eq!(of("q_proj|lm_head"), ["lm_head"]);
        assert!(Selection::new(&Targets::Regex("(".to_owned())).is_err());
    }

    #[test]
    fn layers_and_exclusions_restrict() {
        let targets = names(&["q_proj", "embed_tokens"]);
        let some = |layers: &[usize], patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            chosen(Selection::new(&targets).unwrap().in_layers(layers.to_vec(), &patterns))
        };
        assert_eq!(some(&[1], &[]), ["model.layers.1.self_attn.q_proj"]);
        assert_eq!(some(&[0, 7], &["layers"]), ["model.layers.0.self_attn.q_proj"]);
        assert_eq!(some(&[0], &["h"]), [""; 0]);
        let without = Selection::new(&targets).unwrap().without(&names(&["q_proj"]));
        assert_eq!(chosen(without), ["model.embed_tokens"]);
    }

    #[test]
    fn a_pattern_without_end_matches_nothing_in_good_time() {
        let bomb = Targets::Regex(r"(?=(.*.*)*x)((.*)*)*y".to_owned());
        let before = std::time::Instant::now();
        if let Ok(selection) = Selection::new(&bomb) {
            assert!(!selection.has(Place::Head));
        }
        assert!(before.elapsed().as_secs() < 10);
    }
}
