//! What a person wants of a run: the command line over the recipe, and what was chosen under both, each with where it came from.
//!
//! A recipe is read when a run is prepared, so that a change of it holds from the next save on. With a mistake in it, runs fail with its line and nothing
//! counts as tried.

use std::path::Path;

use hotplate_dataset::Columns;
use hotplate_dataset::recipe::{self, Recipe, Setting};
use hotplate_engine::quantise::Quantise;
use hotplate_protocol::knobs::{self, Effective, Knobs, Method, Source};
use hotplate_protocol::{ErrorCode, RpcError};
use serde_json::{Map, Value};

use crate::daemon::quantise::asked_or;

/// The knobs that hold, as far as anybody has set them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Overrides {
    pub(crate) knobs: Knobs,
    given: Knobs,
    recipe: Recipe,
}

/// The folder's recipe; an empty one where there is none.
pub(crate) fn recipe_of(folder: &Path) -> Result<Recipe, RpcError> {
    match recipe::read(folder) {
        Ok(found) => Ok(found.unwrap_or_default()),
        Err(error) => Err(RpcError::new(ErrorCode::UnusableRecipe, error.to_string())),
    }
}

impl Overrides {
    /// `given`: on the command line, checked by [`check_knobs`].
    pub(crate) fn new(given: &Knobs, recipe: Recipe) -> Result<Overrides, RpcError> {
        let mut values = recipe.values();
        // Those two are settled before a run is ordered.
        values.retain(|name, _| name != "base" && name != "adapter");
        // The recipe's table and these knobs are the same list; a test holds them together.
        let from_recipe: Knobs = serde_json::from_value(Value::Object(values)).map_err(|error| {
            RpcError::new(ErrorCode::Internal, format!("{} cannot be used: {error}", recipe::FILE))
        })?;
        Ok(Overrides { knobs: given.clone().or(from_recipe), given: given.clone(), recipe })
    }

    pub(crate) fn in_folder(given: &Knobs, folder: &Path) -> Result<Overrides, RpcError> {
        Overrides::new(given, recipe_of(folder)?)
    }

    /// How the base is to be quantised; `own`: as the adapter has learnt with it.
    ///
    /// # Errors
    /// All weights are to be moved, and quantised ones cannot be.
    pub(crate) fn quantise(&self, own: Option<Quantise>) -> Result<Option<Quantise>, RpcError> {
        let full = self.knobs.method == Some(Method::Full);
        match asked_or(self.knobs.quantize, own) {
            Some(_) if full && self.knobs.quantize.is_some() => Err(RpcError::new(
                ErrorCode::InvalidParams,
                "a run of method full moves all weights, and quantised ones cannot be moved; leave quantize out, or train an adapter \
                 (method lora)"
                    .to_owned(),
            )),
            Some(_) if full => Ok(None),
            other => Ok(other),
        }
    }

    /// What columns are called, where anybody says so.
    pub(crate) fn columns(&self) -> Columns {
        columns_of(&self.knobs, self.recipe_line("columns").unwrap_or(1))
    }

    /// Where the recipe says something about a key.
    pub(super) fn recipe_line(&self, key: &str) -> Option<usize> {
        self.recipe.get(key).map(|setting| setting.line)
    }

    fn source_of(&self, name: &str, given: &Map<String, Value>) -> Source {
        match self.recipe.get(name) {
            _ if given.contains_key(name) => Source::CommandLine,
            Some(setting) => Source::Recipe { line: setting.line },
            None => Source::Chosen,
        }
    }

    /// Every knob of `holding`, in order. Of `kept` ones the value is the start version's, whatever anybody wrote.
    pub(crate) fn effective(&self, holding: &Knobs, kept: Option<(u32, &[&str])>) -> Vec<Effective> {
        let given = object(&self.given);
        let mut values = object(holding);
        Knobs::NAMES
            .iter()
            .filter_map(|name| {
                let value = values.remove(*name)?;
                let source = match kept {
                    Some((version, names)) if names.contains(name) => Source::Version { version },
                    _ => self.source_of(name, &given),
                };
                Some(Effective { key: (*name).to_owned(), value, source })
            })
            .collect()
    }
}

fn object(knobs: &Knobs) -> Map<String, Value> {
    match serde_json::to_value(knobs) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// `line`: of the recipe, where it says so.
pub(crate) fn columns_of(knobs: &Knobs, line: usize) -> Columns {
    Columns::new(knobs.columns.as_ref().map(|columns| columns.0.clone()).unwrap_or_default(), line)
}

/// What the folder's recipe calls columns. A recipe with a mistake in it says nothing: here nothing is trained by it.
pub(crate) fn columns_in(folder: &Path) -> Columns {
    Overrides::in_folder(&Knobs::default(), folder).map(|overrides| overrides.columns()).unwrap_or_default()
}

/// Holds knobs of a command line, or of another program, to the rules of the recipe's keys.
pub(crate) fn check_knobs(knobs: &Knobs) -> Result<(), RpcError> {
    // Absent is fine; NaN is not, and JSON makes null of it.
    for (name, value) in object(knobs) {
        if let Some(key) = knobs::key(&name) {
            key.kind.check(&name, &value).map_err(|why| RpcError::new(ErrorCode::InvalidParams, why))?;
        }
    }
    Ok(())
}

/// An error about a value of the recipe, with its place.
pub(crate) fn at_setting(setting: &Setting, error: &RpcError) -> RpcError {
    RpcError::new(error.code, format!("{}:{}: {}", recipe::FILE, setting.line, error.message))
}

#[cfg(test)]
mod tests {
    use hotplate_protocol::knobs::Quantize;

    use super::*;

    #[test]
    fn the_recipes_keys_are_the_knobs() {
        let keys: Vec<&str> = knobs::KEYS
            .iter()
            .map(|key| key.name)
            .filter(|name| !matches!(*name, "base" | "adapter"))
            .collect();
        assert_eq!(keys, Knobs::NAMES);
        for key in knobs::KEYS {
            let recipe = recipe::parse(&format!("{} = {}", key.name, key.example)).unwrap();
            let overrides = Overrides::new(&Knobs::default(), recipe).unwrap();
            let set = overrides.knobs != Knobs::default();
            assert_eq!(set, !matches!(key.name, "base" | "adapter"), "{}", key.name);
            check_knobs(&overrides.knobs).unwrap();
        }
    }

    #[test]
    fn all_weights_are_moved_as_they_are_stored() {
        let quantise = |method, quantize, own| {
            let knobs = Knobs { method, quantize, ..Knobs::default() };
            Overrides::new(&knobs, Recipe::default()).unwrap().quantise(own)
        };
        let (full, q4) = (Some(Method::Full), Some(Quantise::Q4));
        assert_eq!(quantise(None, None, q4), Ok(q4));
        assert_eq!(quantise(None, Some(Quantize::None), q4), Ok(None));
        assert_eq!(quantise(Some(Method::Lora), Some(Quantize::Q4), None), Ok(q4));
        assert_eq!(quantise(full, None, q4), Ok(None));
        assert_eq!(quantise(full, Some(Quantize::None), q4), Ok(None));
        assert!(quantise(full, Some(Quantize::Q8), None).unwrap_err().message.contains("method lora"));
    }

    #[test]
    fn the_command_line_goes_first_then_the_recipe() {
        let recipe = recipe::parse("rank = 8\nalpha = 4\nseed = 3\n").unwrap();
        let given = Knobs { rank: Some(2), ..Knobs::default() };
        let overrides = Overrides::new(&given, recipe).unwrap();
        assert_eq!((overrides.knobs.rank, overrides.knobs.alpha), (Some(2), Some(4.0)));
        let holding =
            Knobs { rank: Some(2), alpha: Some(4.0), seed: Some(3), epochs: Some(7), ..Knobs::default() };
        let shown: Vec<_> = overrides
            .effective(&holding, Some((5, &["seed"])))
            .into_iter()
            .map(|effective| (effective.key, effective.source))
            .collect();
        assert_eq!(
            shown,
            [
                ("epochs".to_owned(), Source::Chosen),
                ("rank".to_owned(), Source::CommandLine),
                ("alpha".to_owned(), Source::Recipe { line: 2 }),
                ("seed".to_owned(), Source::Version { version: 5 }),
            ]
        );
    }

    #[test]
    fn knobs_that_train_nothing_are_refused() {
        assert!(check_knobs(&Knobs::default()).is_ok());
        for (knobs, name) in [
            (Knobs { epochs: Some(0), ..Knobs::default() }, "epochs is 0"),
            (Knobs { learning_rate: Some(f64::NAN), ..Knobs::default() }, "learning_rate"),
            (Knobs { alpha: Some(-1.0), ..Knobs::default() }, "alpha is -1"),
            (Knobs { max_tokens: Some(1), ..Knobs::default() }, "max_tokens is 1"),
            (Knobs { rank: Some(5000), ..Knobs::default() }, "rank is 5000"),
        ] {
            let error = check_knobs(&knobs).unwrap_err();
            assert!(error.message.contains(name), "{error}");
        }
    }
}
