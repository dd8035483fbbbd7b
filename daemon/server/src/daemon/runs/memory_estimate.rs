//! Whether a run fits into memory, and which setting would make it fit. Refused before it starts, rather than killed in the middle.

use hotplate_engine::config::DecoderConfig;
use hotplate_engine::quantise::Quantise;
use hotplate_home::figures::bytes;
use hotplate_protocol::{ErrorCode, RpcError};
use hotplate_train::{Method, Recompute, TrainSettings};
use serde::{Deserialize, Serialize};

/// What a run needs beside the base, as it is set and in ways that need less.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemoryEstimate {
    /// Of the base in memory.
    pub(crate) base: u64,
    pub(crate) as_set: u64,
    /// Ways of setting it that need less, the least change first: the options, and the bytes.
    pub(crate) less: Vec<(String, u64)>,
}

/// Of a row: what goes through the decoder at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Tokens of a mean example, and of the longest.
    pub(super) mean: usize,
    pub(super) longest: usize,
}

pub(super) fn need(
    settings: &TrainSettings,
    config: &DecoderConfig,
    base: u64,
    sizes: Sizes,
) -> MemoryEstimate {
    let row = |settings: &TrainSettings| {
        let tokens = sizes.mean.saturating_mul(settings.batch).max(sizes.longest);
        settings.memory_bytes(config, tokens)
    };
    let as_set = row(settings);
    let recompute = || TrainSettings { recompute: Recompute::Always, ..settings.clone() };
    let one = || TrainSettings { batch: 1, accumulate: settings.examples_per_step(), ..recompute() };
    let option = |settings: &TrainSettings| format!("--batch 1 --accumulate {}", settings.accumulate);
    let mut ways = vec![("--recompute always".to_owned(), recompute())];
    if settings.batch > 1 {
        ways.push((format!("--recompute always {}", option(&one())), one()));
    }
    if settings.method == Method::Full {
        ways.push(("--method lora".to_owned(), TrainSettings { method: Method::Lora, ..settings.clone() }));
        let both = TrainSettings { method: Method::Lora, ..one() };
        ways.push((format!("--method lora --recompute always {}", option(&both)), both));
    } else if settings.lora.rank > 4 {
        let mut small = one();
        small.lora.rank = 4;
        small.lora.rank_pattern.clear();
        ways.push((format!("--rank 4 --recompute always {}", option(&small)), small));
    }
    let half = (sizes.longest / 2).max(64);
    if half < sizes.longest {
        let mut short = one();
        short.row_tokens = short.row_tokens.min(half);
        ways.push((format!("--recompute always {} --max-tokens {half}", option(&short)), short));
    }
    let less = ways.into_iter().map(|(options, settings)| {
        let tokens = if options.contains("--max-tokens") { half } else { sizes.longest };
        let bytes = match settings.batch {
            1 => settings.memory_bytes(config, tokens),
            _ => row(&settings),
        };
        (options, bytes)
    });
    let less = less.filter(|(_, bytes)| *bytes < as_set).collect();
    MemoryEstimate { base, as_set, less }
}

impl MemoryEstimate {
    /// `free`: bytes that may be taken; `resident`: whether the base is in memory already. `command`: what a person would type, up to the options.
    pub(crate) fn check(&self, free: Option<u64>, resident: bool, command: &str) -> Result<(), RpcError> {
        let Some(free) = free else { return Ok(()) };
        let base = if resident { 0 } else { self.base };
        let all = base.saturating_add(self.as_set);
        if all <= free {
            return Ok(());
        }
        let of_base = if resident || base == 0 {
            String::new()
        } else {
            format!(", {} of it for the base", bytes(base))
        };
        let start = format!("this run needs {}{of_base}; {} are free", bytes(all), bytes(free));
        let fits = self.less.iter().find(|(_, bytes)| base.saturating_add(*bytes) <= free);
        let least = self.less.iter().min_by_key(|(_, bytes)| *bytes);
        let message = match (fits, least) {
            (Some((options, less)), _) => {
                format!(
                    "{start}; with {options} it needs {}: {command} {options}",
                    bytes(base.saturating_add(*less))
                )
            }
            (None, _) if base > free => {
                format!(
                    "{start}, which is less than the base alone; close other programs, or take a smaller base"
                )
            }
            (None, Some((options, less))) => format!(
                "{start}; even with {options} it needs {}: close other programs, or take a smaller base",
                bytes(base.saturating_add(*less))
            ),
            (None, None) => format!("{start}; close other programs, or take a smaller base"),
        };
        Err(RpcError::new(ErrorCode::RunFailed, message))
    }
}

/// Of a base in memory.
pub(crate) fn base_bytes(config: &DecoderConfig, quantise: Option<Quantise>) -> u64 {
    let all = TrainSettings { method: Method::Full, ..TrainSettings::default() };
    let head = if config.tied_embeddings { 0 } else { config.vocab * config.hidden };
    // Bits of a value; how much of a quantised base is embedding and head depends on the base.
    let bits = match quantise {
        None => 32,
        Some(Quantise::Q8) => 9,
        Some(Quantise::Q4) => 7,
    };
    bits * (all.trainable_parameters(config) + head) as u64 / 8
}

/// A base that is to be loaded, for whatever.
pub(crate) fn check_base_fits(name: &str, needed: u64, free: Option<u64>) -> Result<(), RpcError> {
    match free {
        Some(free) if needed > free => Err(RpcError::new(
            ErrorCode::UnusableBase,
            format!(
                "the base {name} needs {} of memory; {} are free; close other programs, or take a smaller base",
                bytes(needed),
                bytes(free)
            ),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need() -> MemoryEstimate {
        MemoryEstimate {
            base: 2_000_000_000,
            as_set: 7_100_000_000,
            less: vec![
                ("--recompute always".to_owned(), 3_000_000_000),
                ("--recompute always --batch 1 --accumulate 4".to_owned(), 300_000_000),
            ],
        }
    }

    fn said(free: u64, resident: bool) -> String {
        need().check(Some(free), resident, "hotplate train notes/").unwrap_err().message
    }

    #[test]
    fn what_fits_goes_through() {
        assert!(need().check(None, false, "").is_ok());
        assert!(need().check(Some(9_100_000_000), false, "").is_ok());
        assert!(need().check(Some(7_100_000_000), true, "").is_ok());
        assert!(check_base_fits("b", 5, Some(5)).is_ok() && check_base_fits("b", 5, None).is_ok());
    }

    #[test]
    fn what_does_not_is_told_what_would() {
        assert_eq!(
            said(4_000_000_000, false),
            "this run needs 9.1 GB, 2.0 GB of it for the base; 4.0 GB are free; with --recompute always --batch 1 --accumulate 4 it needs 2.3 GB: \
             hotplate train notes/ --recompute always --batch 1 --accumulate 4"
        );
        assert!(
            said(4_000_000_000, true).contains(
                "with --recompute always it needs 3.0 GB: hotplate train notes/ --recompute always"
            )
        );
        assert!(said(2_100_000_000, false).contains("even with --recompute always --batch 1"));
        assert!(said(1_000_000_000, false).contains("less than the base alone"));
        let error = check_base_fits("qwen", 5_000_000_000, Some(1_000_000_000)).unwrap_err();
        assert!(error.message.contains("qwen needs 5.0 GB of memory; 1.0 GB are free"), "{error}");
    }
}
