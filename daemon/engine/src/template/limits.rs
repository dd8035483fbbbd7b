//! What a chat template may cost. It comes from elsewhere, and may neither end the daemon nor keep it waiting.
//!
//! Owns the limits, the look at a template's source before it is compiled, and the threads on which templates are compiled and rendered: their
//! stacks are deep, and who waits for them waits only so long. It must not know what a template means.
//!
//! Fuel does not pay for looking into lists that hold the same list twice, and so on: comparing two of them may never end, and a thread cannot be
//! ended from outside. Such a thread is left at the lowest priority and counted ([`late_templates`]), for whoever can end the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use minijinja::{Error, ErrorKind};
use serde_json::Value as Json;

/// Bytes of a template. Published ones are below a tenth of it.
const LARGEST_TEMPLATE: usize = 1 << 20;
/// Blocks within blocks, brackets within brackets. Published templates have ten.
const DEEPEST_TEMPLATE: usize = 80;
/// Words and signs of one tag: a chain of operators is a tree as deep as it is long.
const LONGEST_TAG: usize = 10_000;
/// Branches of one `if`, each of which lies within the one before.
const MOST_BRANCHES: usize = 2_000;
/// Of one rendering: about an instruction each, or 64 bytes that are made or looked at. A conversation of a million tokens takes a tenth.
pub(super) const FUEL: u64 = 2_000_000;
/// Bytes of what is rendered, and of any text that a function of ours makes on the way.
pub(super) const LARGEST_TEXT: usize = 1 << 26;
/// A width that somebody pads or indents to.
const WIDEST: usize = 1 << 16;
/// Lists within lists, in a message or in a tool's schema.
const DEEPEST_VALUE: usize = 100;
/// Characters of what a template says against its messages.
pub(super) const LONGEST_ERROR: usize = 1000;
/// A second is a slow machine's slowest template.
const DEADLINE: Duration = Duration::from_secs(10);
/// What the fuel can buy of lists within lists is taken down by recursion.
const STACK: usize = 1 << 28;
/// Threads are kept for the next template that long.
const KEPT: Duration = Duration::from_secs(5);

/// Looks at a template before the compiler, which recurses, does.
///
/// # Errors
/// Which limit it goes beyond, and on which line.
pub(super) fn check_source(template: &str) -> Result<(), String> {
    if template.len() > LARGEST_TEMPLATE {
        return Err(format!("it is {} bytes long; at most {LARGEST_TEMPLATE} are read", template.len()));
    }
    let mut blocks = Blocks::default();
    let mut at = 0;
    while let Some(open) = template[at..].find('{').map(|found| at + found) {
        let rest = &template[open..];
        let checked = match rest.as_bytes().get(1) {
            Some(b'#') => Ok(rest[2..].find("#}").map_or(rest.len(), |end| end + 4)),
            Some(b'{') => Tag::read(rest).map(|tag| tag.length),
            Some(b'%') => {
                Tag::read(rest).and_then(|tag| blocks.take(rest, &tag).map(|skipped| tag.length + skipped))
            }
            _ => Ok(1),
        };
        let length = checked.map_err(|why| {
            let line = 1 + template[..open].bytes().filter(|byte| *byte == b'\n').count();
            format!("line {line}: {why}")
        })?;
        at = open + length;
    }
    Ok(())
}

/// One tag of a template, delimiters included.
struct Tag<'a> {
    length: usize,
    /// The first word, and whether an equals sign stands outside of brackets.
    name: &'a str,
    assigns: bool,
}

impl<'a> Tag<'a> {
    fn read(text: &'a str) -> Result<Tag<'a>, String> {
        let bytes = text.as_bytes();
        let closing = if bytes.get(1) == Some(&b'%') { b'%' } else { b'}' };
        let inside = text[2..].trim_start_matches(['-', '+']).trim_start();
        let name =
            inside.split(|char: char| !char.is_alphanumeric() && char != '_').next().unwrap_or_default();
        let (mut brackets, mut words, mut assigns, mut in_word) = (0_usize, 0_usize, false, false);
        let mut at = 2;
        while let Some(&byte) = bytes.get(at) {
            if byte == closing && bytes.get(at + 1) == Some(&b'}') && (closing == b'%' || brackets == 0) {
                return Ok(Tag { length: at + 2, name, assigns });
            }
            let part_of_word = byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
            words += usize::from(!(byte.is_ascii_whitespace() || in_word && part_of_word));
            in_word = part_of_word;
            match byte {
                b'"' | b'\'' => at = literal_end(bytes, at),
                b'(' | b'[' | b'{' => brackets += 1,
                b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
                b'=' if brackets == 0 => assigns = true,
                _ => {}
            }
            if brackets > DEEPEST_TEMPLATE {
                return Err(format!("brackets lie more than {DEEPEST_TEMPLATE} deep"));
            }
            if words > LONGEST_TAG {
                return Err(format!("a tag has more than {LONGEST_TAG} words and signs"));
            }
            at += 1;
        }
        // It has no end, which the compiler says better.
        Ok(Tag { length: text.len(), name, assigns })
    }
}

/// Where the quote stands that ends a literal.
fn literal_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            _ if byte == bytes[start] => break,
            _ => {}
        }
        at += 1;
    }
    at
}

/// The blocks that are open, with the branches that each has.
#[derive(Default)]
struct Blocks {
    branches: Vec<usize>,
}

impl Blocks {
    /// Takes a statement in; answers how many bytes behind it are no template.
    fn take(&mut self, text: &str, tag: &Tag<'_>) -> Result<usize, String> {
        match tag.name {
            "raw" => {
                let behind = &text[tag.length..];
                let end = ["{% endraw", "{%- endraw", "{%+ endraw", "{%endraw", "{%-endraw"]
                    .iter()
                    .filter_map(|end| behind.find(end))
                    .min();
                return Ok(end.unwrap_or(0));
            }
            "if" | "for" | "macro" | "call" | "filter" | "with" | "autoescape" | "block" | "generation" => {
                self.branches.push(0);
            }
            "set" if !tag.assigns => self.branches.push(0),
            "elif" => {
                if let Some(branches) = self.branches.last_mut() {
                    *branches += 1;
                    if *branches > MOST_BRANCHES {
                        return Err(format!("an if has more than {MOST_BRANCHES} branches"));
                    }
                }
            }
            name if name.starts_with("end") && name != "endraw" => {
                self.branches.pop();
            }
            _ => {}
        }
        if self.branches.len() > DEEPEST_TEMPLATE {
            return Err(format!("blocks lie more than {DEEPEST_TEMPLATE} deep"));
        }
        Ok(0)
    }
}

/// # Errors
/// A message or a tool that is nested deeper than any template shows it.
pub(super) fn check_depth(value: &Json) -> Result<(), String> {
    fn within(value: &Json, left: usize) -> bool {
        match value {
            Json::Array(items) => left > 0 && items.iter().all(|item| within(item, left - 1)),
            Json::Object(members) => left > 0 && members.values().all(|item| within(item, left - 1)),
            _ => true,
        }
    }
    if within(value, DEEPEST_VALUE) {
        Ok(())
    } else {
        Err(format!("a message or tool has lists and objects more than {DEEPEST_VALUE} deep"))
    }
}

/// # Errors
/// Wider than anything that is read.
pub(super) fn check_width(width: usize) -> Result<(), Error> {
    if width <= WIDEST {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidOperation, format!("a width of {width}; at most {WIDEST} is written")))
}

/// For a text that a function of ours makes: lists that hold the same list twice, and so on, are longer than the memory is large.
///
/// # Errors
/// It is longer than a prompt can be.
pub(super) fn check_length(text: &str) -> Result<(), Error> {
    if text.len() <= LARGEST_TEXT {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidOperation, format!("a text of more than {LARGEST_TEXT} bytes")))
}

/// Templates that nobody waits for any more and that still run.
static LATE: AtomicUsize = AtomicUsize::new(0);

/// How many templates have not ended in time and run on.
pub fn late_templates() -> usize {
    LATE.load(Ordering::Acquire)
}

/// What has been learnt of a template: one that has not come to its end in time is not tried again while it runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Patience {
    late: Arc<AtomicBool>,
}

const RUNS: u8 = 0;
const ENDED: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Patience {
    /// Does work of a template's on a thread with a deep stack, and waits for it for as long as somebody waits for a prompt.
    ///
    /// # Errors
    /// It has not ended in time, or not in order.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        self.run_within(DEADLINE, work)
    }

    fn run_within<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let too_slow = || format!("it has not ended within {} seconds", deadline.as_secs_f32());
        if self.late.load(Ordering::Acquire) {
            return Err(too_slow());
        }
        let state = Arc::new(AtomicU8::new(RUNS));
        let thread = Arc::new(OnceLock::new());
        let of_work = Arc::clone(&thread);
        let (answer, answered) = mpsc::sync_channel(1);
        let (of_thread, late) = (Arc::clone(&state), Arc::clone(&self.late));
        hand_over(Box::new(move || {
            if let Some(number) = own_number() {
                let _ = of_work.set(number);
            }
            let result = catch_unwind(AssertUnwindSafe(work))
                .unwrap_or_else(|_| Err("it made the template engine give up".to_owned()));
            // Whoever waited may have gone.
            let _ = answer.send(result);
            if of_thread.compare_exchange(RUNS, ENDED, Ordering::AcqRel, Ordering::Acquire).is_err() {
                LATE.fetch_sub(1, Ordering::AcqRel);
                late.store(false, Ordering::Release);
                // Its priority cannot be raised again.
                return Next::End;
            }
            Next::Wait
        }))?;
        match answered.recv_timeout(deadline) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => Err("its thread has ended".to_owned()),
            Err(RecvTimeoutError::Timeout) => {
                self.late.store(true, Ordering::Release);
                LATE.fetch_add(1, Ordering::AcqRel);
                if state.compare_exchange(RUNS, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_err() {
                    LATE.fetch_sub(1, Ordering::AcqRel);
                    self.late.store(false, Ordering::Release);
                    if let Ok(result) = answered.try_recv() {
                        return result;
                    }
                } else if let Some(number) = thread.get() {
                    stand_back(*number);
                }
                Err(too_slow())
            }
        }
    }
}

/// The system's number of the calling thread, where each thread has a priority of its own.
fn own_number() -> Option<i32> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    std::fs::read_link("/proc/thread-self").ok()?.file_name()?.to_str()?.parse().ok()
}

/// Takes a thread's priority away.
fn stand_back(number: i32) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(rustix::process::Pid::from_raw(number), 19) {
        tracing::warn!(%error, "the priority of a template that does not end could not be lowered");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = number;
}

/// What a thread does after its work.
enum Next {
    Wait,
    End,
}

type Work = Box<dyn FnOnce() -> Next + Send>;

/// Threads that wait for work.
static IDLE: Mutex<Vec<Sender<Work>>> = Mutex::new(Vec::new());

fn idle() -> std::sync::MutexGuard<'static, Vec<Sender<Work>>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hand_over(mut work: Work) -> Result<(), String> {
    loop {
        let waiting = idle().pop();
        let Some(thread) = waiting else { break };
        match thread.send(work) {
            Ok(()) => return Ok(()),
            // It has gone meanwhile.
            Err(mpsc::SendError(back)) => work = back,
        }
    }
    let (sender, inbox) = mpsc::channel::<Work>();
    thread::Builder::new()
        .name("template".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let mut next = work();
            while matches!(next, Next::Wait) {
                idle().push(sender.clone());
                match inbox.recv_timeout(KEPT) {
                    Ok(work) => next = work(),
                    Err(_) => return,
                }
            }
        })
        .map(|_| ())
        .map_err(|error| format!("no thread for it: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn why(template: &str) -> String {
        check_source(template).err().unwrap_or_default()
    }

    #[test]
    fn sizes_and_depths_up_to_the_limit_are_read() {
        let nested = |open: &str, close: &str, n: usize| open.repeat(n) + &close.repeat(n);
        let brackets = |n: usize| format!("\n{{{{ {} }}}}", nested("(", ")", n));
        assert_eq!(why(&brackets(DEEPEST_TEMPLATE)), "");
        assert_eq!(why(&brackets(DEEPEST_TEMPLATE + 1)), "line 2: brackets lie more than 80 deep");
        for (open, close) in [
            ("{% if a %}", "{% endif %}"),
            ("{%- for a in b -%}", "{%- endfor -%}"),
            ("{% set a %}", "{% endset %}"),
        ] {
            assert_eq!(why(&nested(open, close, DEEPEST_TEMPLATE)), "", "{open}");
            assert!(why(&nested(open, close, DEEPEST_TEMPLATE + 1)).contains("blocks lie"), "{open}");
        }
        let sum = |n: usize| format!("{{{{ {}1 }}}}", "1+".repeat(n));
        assert_eq!(why(&sum(LONGEST_TAG / 2 - 1)), "");
        assert!(why(&sum(LONGEST_TAG / 2)).contains("words and signs"));
        let branches = |n: usize| format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(n));
        assert_eq!(why(&branches(MOST_BRANCHES)), "");
        assert!(why(&branches(MOST_BRANCHES + 1)).contains("branches"));
        assert_eq!(why(&" ".repeat(LARGEST_TEMPLATE)), "");
        assert!(why(&" ".repeat(LARGEST_TEMPLATE + 1)).contains("bytes long"));
    }

    #[test]
    fn what_is_no_nesting_is_not_counted() {
        let many = |text: &str| text.repeat(DEEPEST_TEMPLATE + 1);
        for text in [
            "{% set a = 1 %}",
            "{% if a %}{% endif %}",
            "{# {% if a %} #}",
            "{{ '{{ ((' }}",
            "{{ {'a': {}} }}",
            "{% raw %}{% if a %}{{ ( }}{% endraw %}",
            "((",
            "{% set a = {'b': [1, '}']} %}",
            "{",
        ] {
            assert_eq!(why(&many(text)), "", "{text}");
        }
        assert_eq!(why("{{ 'open"), "");
        assert_eq!(why("{% if"), "");
        assert_eq!(why("{# open"), "");
    }

    #[test]
    fn values_are_as_deep_as_that() {
        let nested = |n: usize| (0..n).fold(json!(1), |value, _| json!([value]));
        assert_eq!(check_depth(&nested(DEEPEST_VALUE)), Ok(()));
        assert!(check_depth(&nested(DEEPEST_VALUE + 1)).is_err());
        assert!(check_width(WIDEST).is_ok() && check_width(WIDEST + 1).is_err());
    }

    #[test]
    fn who_does_not_end_in_time_is_left_and_not_asked_again_until_it_has() {
        let patience = Patience::default();
        let (go_on, waits) = mpsc::channel::<()>();
        let soon = Duration::from_millis(20);
        let slow = move || {
            let _ = waits.recv();
            Ok(1)
        };
        assert!(patience.run_within(soon, slow).unwrap_err().contains("has not ended within 0.02 seconds"));
        assert!(patience.run(|| Ok(2)).is_err());
        // Others are not kept waiting.
        assert_eq!(Patience::default().run(|| Ok(3)), Ok(3));
        go_on.send(()).unwrap();
        while patience.late.load(Ordering::Acquire) {
            thread::yield_now();
        }
        assert_eq!(patience.run(|| Ok(4)), Ok(4));
    }

    #[test]
    fn a_panic_is_an_error() {
        let failed: Result<(), String> = Patience::default().run(|| panic!("oh dear"));
        assert!(failed.unwrap_err().contains("give up"));
    }
}
