//! What a run is told about its adapter's shape.

use serde::{Deserialize, Serialize};

use super::selection::{Patterns, is_end_of};
use super::{LoraError, Place, Selection};
use crate::config::DecoderConfig;

/// Ranks beyond this are no adapter: more than the width of any base.
pub(crate) const LARGEST_RANK: usize = 1 << 16;

/// Which modules get a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// Every linear layer of every block; not the head, not the embedding.
    AllLinear,
    /// Ends of module names, from a dot on: `q_proj`, `layers.3.mlp.up_proj`, `lm_head`, `embed_tokens`.
    Names(Vec<String>),
    /// A regular expression for whole module names.
    Regex(String),
}

/// Rank, scale and places of a fresh adapter, in PEFT's terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoraSpec {
    pub rank: usize,
    pub alpha: f64,
    /// Scale by alpha over the root of the rank (<https://arxiv.org/abs/2312.03732>) rather than by alpha over the rank.
    pub rslora: bool,
    /// Other ranks for modules whose name's end matches; the first match counts.
    pub rank_pattern: Vec<(String, usize)>,
    /// The same for alpha.
    pub alpha_pattern: Vec<(String, f64)>,
    pub targets: Targets,
}

impl Default for LoraSpec {
    fn default() -> Self {
        LoraSpec {
            rank: 16,
            alpha: 16.0,
            rslora: false,
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            targets: Targets::AllLinear,
        }
    }
}

/// A pair that a fresh adapter will have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Planned {
    pub place: Place,
    pub rank: usize,
    pub scale: f64,
}

impl LoraSpec {
    /// The pairs for a base, in parameter order.
    ///
    /// # Errors
    /// Ranks or alphas out of range, patterns that are no regular expressions, targets that name no module of the base.
    pub fn plan(&self, config: &DecoderConfig) -> Result<Vec<Planned>, LoraError> {
        let bad = LoraError::BadSpec;
        self.check_numbers().map_err(bad)?;
        let selection = Selection::new(&self.targets).map_err(|why| bad(format!("targets: {why}")))?;
        let ranks = self.rank_pattern.iter().map(|(pattern, rank)| (pattern.as_str(), *rank));
        let ranks = Patterns::new(ranks).map_err(|why| bad(format!("rank_pattern: {why}")))?;
        let alphas = self.alpha_pattern.iter().map(|(pattern, alpha)| (pattern.as_str(), *alpha));
        let alphas = Patterns::new(alphas).map_err(|why| bad(format!("alpha_pattern: {why}")))?;
        let all = Place::all(config);
        let modules: Vec<String> = all.iter().map(Place::to_string).collect();
        if let Targets::Names(names) = &self.targets
            && let Some(name) =
                names.iter().find(|name| !modules.iter().any(|module| is_end_of(name, module)))
        {
            return Err(bad(format!("targets: no module of the base is called {name:?}; {}", known(config))));
        }
        let mut planned = Vec::new();
        for (place, module) in all.into_iter().zip(&modules) {
            if selection.has(place) {
                let rank = ranks.of(module).unwrap_or(self.rank);
                let scale = scale(alphas.of(module).unwrap_or(self.alpha), rank, self.rslora);
                planned.push(Planned { place, rank, scale });
            }
        }
        if planned.is_empty() {
            return Err(bad(format!("targets choose no module of the base; {}", known(config))));
        }
        Ok(planned)
    }

    /// Trainable values of a fresh adapter.
    ///
    /// # Errors
    /// See [`plan`](Self::plan).
    pub fn parameters(&self, config: &DecoderConfig) -> Result<usize, LoraError> {
        let size = |planned: Planned| {
            let (outputs, inputs) = planned.place.shape(config);
            planned.rank * (outputs + inputs)
        };
        Ok(self.plan(config)?.into_iter().map(size).sum())
    }

    fn check_numbers(&self) -> Result<(), String> {
        let ranks =
            self.rank_pattern.iter().map(|(pattern, rank)| (format!("rank_pattern {pattern:?}"), *rank));
        for (name, rank) in std::iter::once(("the rank".to_owned(), self.rank)).chain(ranks) {
            if !(1..=LARGEST_RANK).contains(&rank) {
                return Err(format!("{name} is {rank}; it must be between 1 and {LARGEST_RANK}"));
            }
        }
        let alphas =
            self.alpha_pattern.iter().map(|(pattern, alpha)| (format!("alpha_pattern {pattern:?}"), *alpha));
        for (name, alpha) in std::iter::once(("alpha".to_owned(), self.alpha)).chain(alphas) {
            if !((alpha as f32).is_finite() && alpha > 0.0) {
                return Err(format!("{name} is {alpha}; it must be above 0"));
            }
        }
        Ok(())
    }
}

/// PEFT's scale of a pair.
pub(crate) fn scale(alpha: f64, rank: usize, rslora: bool) -> f64 {
    if rslora { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 }
}

fn known(config: &DecoderConfig) -> String {
    let linears: Vec<&str> = super::Linear::of(config).iter().map(|linear| linear.module()).collect();
    format!("there are {}, embed_tokens and lm_head", linears.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn plan(spec: &LoraSpec) -> Result<Vec<Planned>, LoraError> {
        spec.plan(&fixtures::config())
    }

    #[test]
    fn patterns_change_rank_and_scale_where_they_match() {
        let spec = LoraSpec {
            rank: 4,
            alpha: 8.0,
            rank_pattern: vec![("^model.layers.0.self_attn.q_proj".to_owned(), 2), ("q_proj".to_owned(), 16)],
            alpha_pattern: vec![("(q|v)_proj".to_owned(), 32.0)],
            targets: Targets::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]),
            ..LoraSpec::default()
        };
        let found: Vec<(usize, f64)> =
            plan(&spec).unwrap().iter().map(|pair| (pair.rank, pair.scale)).collect();
        assert_eq!(found, [(2, 16.0), (4, 8.0), (16, 2.0), (4, 8.0)]);
        let root = plan(&LoraSpec { rslora: true, ..spec }).unwrap();
        assert!((root[2].scale - 8.0).abs() < 1e-12 && (root[1].scale - 16.0).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let of = |spec: LoraSpec| plan(&spec).unwrap_err().to_string();
        let targets = |targets| of(LoraSpec { targets, ..LoraSpec::default() });
        let error = targets(Targets::Names(vec!["c_attn".to_owned()]));
        assert!(error.contains("c_attn") && error.contains("q_proj"), "{error}");
        assert!(targets(Targets::Regex("q_proj".to_owned())).contains("choose no module"));
        assert!(targets(Targets::Regex("[".to_owned())).contains("regular expression"));
        assert!(targets(Targets::Names(Vec::new())).contains("choose no module"));
        assert!(of(LoraSpec { rank: 0, ..LoraSpec::default() }).contains("rank"));
        assert!(of(LoraSpec { alpha: f64::NAN, ..LoraSpec::default() }).contains("alpha"));
        let pattern = vec![("q_proj".to_owned(), 0)];
        assert!(of(LoraSpec { rank_pattern: pattern, ..LoraSpec::default() }).contains("rank_pattern"));
        let pattern = vec![("q_proj(".to_owned(), 1.0)];
        assert!(of(LoraSpec { alpha_pattern: pattern, ..LoraSpec::default() }).contains("alpha_pattern"));
    }

    #[test]
    fn a_spec_survives_json() {
        let spec = LoraSpec { targets: Targets::Regex(".*q_proj".to_owned()), ..LoraSpec::default() };
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<LoraSpec>(&json).unwrap(), spec);
        assert_eq!(serde_json::from_str::<LoraSpec>("{}").unwrap(), LoraSpec::default());
        assert_eq!(serde_json::to_string(&Targets::AllLinear).unwrap(), r#""all_linear""#);
    }
}
