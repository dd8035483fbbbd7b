//! Where folders are read: on threads of each reading's own, with a lower priority. Their tokens are counted on all processors; neither an
//! answer nor another reading may wait behind them.

use rayon::ThreadPoolBuilder;

use super::worker::priority::stand_back;

const NICE: u32 = 5;

/// Reads on threads of its own.
pub(crate) fn apart<T: Send>(read: impl FnOnce() -> T + Send) -> T {
    let pool = ThreadPoolBuilder::new()
        .thread_name(|index| format!("reading {index}"))
        .start_handler(|_| stand_back(NICE))
        .build();
    match pool {
        Ok(pool) => pool.install(read),
        Err(error) => {
            tracing::warn!(%error, "no threads for reading a folder; answers may wait for it");
            read()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_the_common_threads_nor_those_of_another_reading() {
        let name = || std::thread::current().name().map(str::to_owned);
        let (outer, inner) = apart(|| (name(), rayon::join(|| (), name).1));
        assert!(outer.unwrap().starts_with("reading ") && inner.unwrap().starts_with("reading "));
        // One that is begun while as many as there are processors go on does not wait for them.
        let threads = rayon::current_num_threads();
        let (begun, go_on) = (std::sync::Barrier::new(threads + 1), std::sync::Barrier::new(threads + 1));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    apart(|| {
                        begun.wait();
                        go_on.wait();
                    });
                });
            }
            begun.wait();
            assert_eq!(apart(|| 7), 7);
            go_on.wait();
        });
    }
}
