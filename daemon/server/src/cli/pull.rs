//! A pull as a bar on the terminal; nothing where nobody sees it.

use hotplate_client::hub::Progress;
use hotplate_client::words;
use indicatif::{ProgressBar, ProgressStyle};

use super::progress::RunProgress;

#[derive(Default)]
pub(crate) struct PullProgress {
    bar: Option<ProgressBar>,
}

impl PullProgress {
    pub(crate) fn show(&mut self, progress: &Progress) {
        if !RunProgress::is_seen() {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let template =
                "{bar:24.cyan/dim} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left  {wide_msg:.dim}";
            // A constant; a broken one falls back to indicatif's own bar.
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(progress.total).with_style(style.progress_chars("━╸─"));
            // What was here already says nothing about the line's speed.
            bar.set_position(progress.done);
            bar.reset_eta();
            bar
        });
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_message(format!(
            "{} ({} of {})",
            words::visible(&progress.file),
            progress.number,
            progress.files
        ));
    }

    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
