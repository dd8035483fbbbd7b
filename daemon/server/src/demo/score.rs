//! What the demo has measured.

use serde::Serialize;

/// `demo --json` prints this as its last line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Score {
    /// Nats per token on examples that were held out: without an adapter, and with the trained one.
    pub(super) base_heldout_loss: f64,
    pub(super) tuned_heldout_loss: f64,
    /// The daemon's own clock, from the run's start to its new version.
    pub(super) train_seconds: f64,
    pub(super) train_tokens_per_second: f64,
    /// On this side's clock: from the rename that saved the file to the news that the new version is in use.
    pub(super) save_to_swap_seconds: f64,
    /// On those of the later notes that were held out.
    pub(super) new_notes_loss_before: f64,
    pub(super) new_notes_loss_after: f64,
    /// On this side's clock: from the request to the first piece of text.
    pub(super) first_token_ms: f64,
    pub(super) adapter_versions: usize,
    /// Of the daemon, over its whole life.
    pub(super) peak_rss_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_these_keys_and_no_more() {
        let score = Score {
            base_heldout_loss: 4.0,
            tuned_heldout_loss: 2.0,
            train_seconds: 8.0,
            train_tokens_per_second: 900.0,
            save_to_swap_seconds: 3.0,
            new_notes_loss_before: 3.0,
            new_notes_loss_after: 2.5,
            first_token_ms: 12.0,
            adapter_versions: 2,
            peak_rss_bytes: 1,
        };
        let line = serde_json::to_value(score).unwrap();
        let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys.join(", "),
            "base_heldout_loss, tuned_heldout_loss, train_seconds, train_tokens_per_second, save_to_swap_seconds, \
             new_notes_loss_before, new_notes_loss_after, first_token_ms, adapter_versions, peak_rss_bytes"
        );
    }
}
