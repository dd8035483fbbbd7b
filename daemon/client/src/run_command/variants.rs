//! `generate --n`: several texts for one prompt. They are asked for at the same time, because the daemon writes them together.

use std::panic::resume_unwind;
use std::thread;

use hotplate_protocol::methods::generate::{Generate, GenerateParams};

use super::CommandError;
use crate::canceller::Canceller;
use crate::connection::Connection;
use crate::shown::Shown;

/// Texts that are asked for at a time: many enough to be quick, few enough to leave room for others.
const AT_ONCE: usize = 8;

/// They are shown in order, each as soon as it and those before it are there. Says which base wrote them.
pub(super) fn variants(
    connection: &Connection,
    params: &GenerateParams,
    count: u64,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<String, CommandError> {
    let mut base = String::new();
    let numbers: Vec<u64> = (1..=count).collect();
    for numbers in numbers.chunks(AT_ONCE) {
        thread::scope(|scope| -> Result<(), CommandError> {
            let calls = numbers.iter().map(|number| {
                let mut params = params.clone();
                // What the seed of the whole was counts on: the same command gives the same texts.
                params.sampling.seed = params.sampling.seed.map(|seed| seed.wrapping_add(number - 1));
                scope.spawn(move || connection.call_with::<Generate>(&params, canceller, &mut |_| {}))
            });
            let calls: Vec<_> = calls.collect();
            for (number, call) in numbers.iter().zip(calls) {
                let result = call.join().unwrap_or_else(|panic| resume_unwind(panic))?;
                base.clone_from(&result.base);
                show(Shown::Variant { number: *number as usize, of: count as usize, result });
            }
            Ok(())
        })?;
    }
    Ok(base)
}
