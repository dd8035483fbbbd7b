//! Examples before a prompt, for `generate` and `compare`.

use std::path::{Path, PathBuf};

use clap::Args;
use hotplate_protocol::feed::Feed;

use super::folder_in;
use super::numbers::one_or_more;

#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct FeedArgs {
    /// Put the examples of this folder that are nearest to the prompt before it; nothing is trained
    #[arg(long, value_name = "FOLDER")]
    pub feed: Option<PathBuf>,
    /// Examples before the prompt at most [default: 8, of 2048 tokens together]
    #[arg(long, value_name = "N", requires = "feed", value_parser = one_or_more, allow_negative_numbers = true)]
    pub feed_examples: Option<usize>,
}

impl FeedArgs {
    /// What the daemon is asked for; a relative path starts at `folder`.
    pub fn to_feed(&self, folder: &Path) -> Option<Feed> {
        let path = self.feed.as_deref()?;
        Some(Feed { folder: folder_in(folder, path), examples: self.feed_examples })
    }
}
