//! `pull`: fetches a model itself; no daemon is needed.

use std::time::{Duration, Instant};

use hotplate_home::hub::{HubCache, HubError, HubName};

use super::CommandError;
use crate::canceller::Canceller;
use crate::command::PullArgs;
use crate::hub::{Progress, fetch};
use crate::shown::Shown;

/// How often progress is shown.
const SAY_EVERY: Duration = Duration::from_millis(200);

/// Fetches until it is done or `canceller` is thrown; what came by then stays.
pub fn pull(args: &PullArgs, canceller: &Canceller, show: &mut dyn FnMut(Shown)) -> Result<(), CommandError> {
    let mut name: HubName = args.name.parse()?;
    if let Some(revision) = &args.revision {
        name = format!("{}@{revision}", name.id).parse()?;
    }
    let cache = HubCache::from_env()?;
    let mut said: Option<(usize, Instant)> = None;
    let fetched = fetch(&cache, &name, canceller, &mut |progress: Progress| {
        let now = Instant::now();
        // Each file's beginning, and now and then how far it is.
        let due = said.is_none_or(|(number, at)| number != progress.number || now - at >= SAY_EVERY);
        if due || progress.done == progress.total {
            said = Some((progress.number, now));
            show(Shown::Pulling(progress));
        }
    })?;
    show(Shown::Pulled(fetched));
    Ok(())
}

impl From<HubError> for CommandError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Cancelled => CommandError::Cancelled,
            error => CommandError::Hub(error),
        }
    }
}
