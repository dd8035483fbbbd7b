//! `base/look`: opens what is read of a base besides its weights.

use std::path::Path;

use hotplate_protocol::RpcError;
use hotplate_protocol::methods::look_at_base::{BaseInfo, LookAtBase, LookAtBaseParams};

use super::AtDesk;
use crate::daemon::desk::{Desk, Gone};
use crate::daemon::faults;
use crate::daemon::runs::order::source;
use crate::daemon::runs::place::base_folder;

impl AtDesk for LookAtBase {
    fn answer(desk: &Desk, params: LookAtBaseParams, _gone: &Gone) -> Result<BaseInfo, RpcError> {
        let source = source(base_folder(&params.base)?.as_deref());
        let text = desk.texts.open(&source).map_err(|error| faults::of_base(&error))?;
        Ok(BaseInfo {
            name: text.name.clone(),
            path: source.on_disk().map(Path::to_owned),
            architecture: text.config.architecture.clone(),
            chats: text.chats(),
        })
    }
}
