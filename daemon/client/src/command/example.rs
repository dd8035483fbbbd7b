//! The example that ends each command's help.

/// `example!("does this", "hotplate that")` is help text for clap's `after_help`.
macro_rules! example {
    ($($what:literal, $line:literal);+ $(;)?) => {
        concat!("Examples:", $("\n  # ", $what, "\n  ", $line),+)
    };
}
pub(super) use example;
