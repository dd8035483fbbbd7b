//! The daemon's own clocks, and the environment variables that set them.

use std::env;
use std::time::Duration;

use hotplate_protocol::methods::prune::KEEP;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How long a base stays in memory without use. `HOTPLATE_MODEL_TTL_SECONDS`.
    pub(crate) model_ttl: Duration,
    /// After how long without clients, runs and watches the daemon leaves. `HOTPLATE_IDLE_EXIT_SECONDS`.
    pub(crate) idle_exit: Duration,
    /// How long the machine must have been idle before a stale adapter is trained anew. `HOTPLATE_STALE_RETRAIN_SECONDS`.
    pub(crate) stale_retrain: Duration,
    /// How long a folder must be quiet before its saves count as finished. `HOTPLATE_SETTLE_SECONDS`.
    pub(crate) debounce: Duration,
    /// How often a folder is looked at where the system tells nothing. `HOTPLATE_POLL_SECONDS`.
    pub(crate) poll_every: Duration,
    /// How long a connection may say nothing before it is closed. `HOTPLATE_HELLO_SECONDS`.
    pub(crate) hello: Duration,
    /// How often a run in progress is saved. `HOTPLATE_CHECKPOINT_SECONDS`.
    pub(crate) checkpoint: Duration,
    /// Versions of each adapter that stay when saves make new ones. `HOTPLATE_KEEP_VERSIONS`.
    pub(crate) keep_versions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model_ttl: Duration::from_mins(30),
            idle_exit: Duration::from_hours(1),
            stale_retrain: Duration::from_secs(30),
            debounce: Duration::from_millis(400),
            poll_every: Duration::from_secs(5),
            hello: Duration::from_secs(10),
            checkpoint: Duration::from_secs(20),
            keep_versions: KEEP,
        }
    }
}

impl Settings {
    pub(crate) fn from_env() -> Settings {
        Settings::from(|name| env::var(name).ok())
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Settings {
        let seconds = |name: &str, default: Duration| match variable(name) {
            None => default,
            Some(text) => {
                let number = text.trim().parse::<f64>().ok();
                number.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_else(|| {
                    tracing::warn!("{name} is {text:?}, which is no number of seconds; the default of {default:?} is used");
                    default
                })
            }
        };
        let default = Settings::default();
        Settings {
            model_ttl: seconds("HOTPLATE_MODEL_TTL_SECONDS", default.model_ttl),
            idle_exit: seconds("HOTPLATE_IDLE_EXIT_SECONDS", default.idle_exit),
            stale_retrain: seconds("HOTPLATE_STALE_RETRAIN_SECONDS", default.stale_retrain),
            debounce: seconds("HOTPLATE_SETTLE_SECONDS", default.debounce),
            poll_every: seconds("HOTPLATE_POLL_SECONDS", default.poll_every),
            hello: seconds("HOTPLATE_HELLO_SECONDS", default.hello),
            checkpoint: seconds("HOTPLATE_CHECKPOINT_SECONDS", default.checkpoint),
            keep_versions: variable("HOTPLATE_KEEP_VERSIONS").map_or(default.keep_versions, |text| {
                text.trim().parse().unwrap_or_else(|_| {
                    tracing::warn!("HOTPLATE_KEEP_VERSIONS is {text:?}, which is no number; the default of {KEEP} is used");
                    KEEP
                })
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_leaves_the_default() {
        let settings = Settings::from(|name| match name {
            "HOTPLATE_MODEL_TTL_SECONDS" => Some("1.5".to_owned()),
            "HOTPLATE_IDLE_EXIT_SECONDS" => Some("soon".to_owned()),
            "HOTPLATE_POLL_SECONDS" => Some("-1".to_owned()),
            _ => None,
        });
        assert_eq!(settings, Settings { model_ttl: Duration::from_millis(1500), ..Settings::default() });
    }
}
