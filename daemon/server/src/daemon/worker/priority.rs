//! Training stands back for the person's own programs: its threads are a pool of their own, with a lower scheduling priority. Answers use the
//! common pool at the normal one.
//!
//! A thread may lower its priority and not raise it again, so a pool belongs to one niceness for ever.
//!
//! The default niceness is small (2): standing back further would leave a run beside a compiler less than a third of its speed.

use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The pool of the last niceness asked for.
#[derive(Default)]
pub(super) struct Pools {
    last: Option<(u32, Arc<ThreadPool>)>,
}

impl Pools {
    /// Where work of this niceness runs; `None`: right here, in the common pool.
    pub(super) fn of(&mut self, nice: u32) -> Option<Arc<ThreadPool>> {
        if nice == 0 || !cfg!(target_os = "linux") {
            return None;
        }
        if let Some((known, pool)) = &self.last
            && *known == nice
        {
            return Some(Arc::clone(pool));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(rayon::current_num_threads())
            .thread_name(|index| format!("training {index}"))
            .start_handler(move |_| stand_back(nice))
            .build();
        match pool {
            Ok(pool) => {
                let pool = Arc::new(pool);
                self.last = Some((nice, Arc::clone(&pool)));
                Some(pool)
            }
            Err(error) => {
                tracing::warn!(%error, "no threads of lower priority; training runs at the normal one");
                None
            }
        }
    }
}

/// Runs the work in the pool, if there is one.
pub(super) fn at<T: Send>(pool: Option<&ThreadPool>, work: impl FnOnce() -> T + Send) -> T {
    match pool {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

/// Of the calling thread alone: on Linux each has its own.
#[cfg(target_os = "linux")]
pub(crate) fn stand_back(nice: u32) {
    if let Err(error) = rustix::process::setpriority_process(None, i32::try_from(nice).unwrap_or(19).min(19))
    {
        tracing::warn!(%error, nice, "the priority of a thread could not be lowered");
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn stand_back(_nice: u32) {}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn work_in_the_pool_stands_back_and_the_rest_does_not() {
        let here = || rustix::process::getpriority_process(None).unwrap();
        let normal = here();
        let mut pools = Pools::default();
        let pool = pools.of(7).unwrap();
        assert_eq!(pool.install(here), 7.max(normal));
        assert_eq!(here(), normal);
        assert!(Arc::ptr_eq(&pool, &pools.of(7).unwrap()));
        assert!(pools.of(0).is_none());
        assert_eq!(pool.current_num_threads(), rayon::current_num_threads());
    }
}
