//! The compiler's coverage counters, where `tests/fuzz/run` had them put in: which edges of the program an execution went over.
//!
//! Without them nothing is ever new, and seeds alone are changed.

#[cfg(coverage_counters)]
mod kept {
    #![expect(unsafe_code, reason = "the compiler hands over the counters as two pointers")]

    use std::sync::Mutex;

    /// Each compiled object's counters, and what was seen of each.
    static COUNTERS: Mutex<Vec<(usize, Vec<u8>)>> = Mutex::new(Vec::new());

    /// Called before `main` for each object that was compiled with counters.
    #[unsafe(no_mangle)]
    extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
        let length = end as usize - start as usize;
        if let Ok(mut counters) = COUNTERS.lock()
            && counters.iter().all(|(known, _)| *known != start as usize)
        {
            counters.push((start as usize, vec![0; length]));
        }
    }

    /// Looks at each object's counters, as they are now and as they were seen.
    fn each(mut look: impl FnMut(&mut [u8], &mut [u8])) {
        let Ok(mut counters) = COUNTERS.lock() else { return };
        for (start, seen) in counters.iter_mut() {
            // SAFETY: the compiler's counters, which live as long as the program; other threads may count meanwhile, which costs
            // an edge that is seen late.
            let now = unsafe { std::slice::from_raw_parts_mut(*start as *mut u8, seen.len()) };
            look(now, seen);
        }
    }

    pub(crate) fn clear() {
        each(|now, _| now.fill(0));
    }

    pub(crate) fn anything_new() -> bool {
        let mut new = false;
        each(|now, seen| {
            // Most are zero: eight are passed over at once.
            for (now, seen) in now.chunks(8).zip(seen.chunks_mut(8)) {
                if now.iter().fold(0, |any, count| any | count) != 0 {
                    for (count, seen) in now.iter().zip(seen) {
                        let step = step(*count);
                        new |= *seen & step != step;
                        *seen |= step;
                    }
                }
            }
        });
        new
    }

    /// So often, in steps of two, a bit each.
    fn step(count: u8) -> u8 {
        match count {
            0 => 0,
            1 => 1,
            2 => 2,
            3 => 4,
            4..=7 => 8,
            8..=15 => 16,
            16..=31 => 32,
            32..=127 => 64,
            _ => 128,
        }
    }

    pub(crate) fn edges() -> usize {
        let mut count = 0;
        each(|_, seen| count += seen.iter().filter(|seen| **seen != 0).count());
        count
    }
}

#[cfg(not(coverage_counters))]
mod kept {
    pub(crate) fn clear() {}

    pub(crate) fn anything_new() -> bool {
        false
    }

    pub(crate) fn edges() -> usize {
        0
    }
}

pub(crate) use kept::{anything_new, clear, edges};
