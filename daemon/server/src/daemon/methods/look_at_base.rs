//! `base/look`: opens what is read of a base besides its weights.

use std::path::Path;

use hotplate_protocol::RpcError;
use hotplate_protocol::methods::look_at_base::{BaseInfo, LookAtBase, LookAtBaseParams};

use super::AtFiles;
use crate::daemon::file_pool::{FilePool, Gone};
use crate::daemon::rpc_errors;
use crate::daemon::runs::place::base_folder;
use crate::daemon::runs::train_request::source;

impl AtFiles for LookAtBase {
    fn answer(file_pool: &FilePool, params: LookAtBaseParams, _gone: &Gone) -> Result<BaseInfo, RpcError> {
        let source = source(base_folder(&params.base)?.as_deref());
        let text = file_pool.texts.open(&source).map_err(|error| rpc_errors::of_base(&error))?;
        Ok(BaseInfo {
            name: text.name.clone(),
            path: source.on_disk().map(Path::to_owned),
            architecture: text.config.architecture.clone(),
            chats: text.chats(),
        })
    }
}
