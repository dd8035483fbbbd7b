//! Errors of the engine and the dataset as clients see them: a code, and a sentence that says what to do.

use hotplate_dataset::DatasetError;
use hotplate_engine::base_spec::BaseError;
use hotplate_engine::generate::GenerateError;
use hotplate_engine::peft::AdapterError;
use hotplate_protocol::{ErrorCode, RpcError};
use hotplate_train::TrainError;

pub(crate) fn of_dataset(error: &DatasetError) -> RpcError {
    RpcError::new(ErrorCode::NotFound, error.to_string())
}

pub(crate) fn of_base(error: &BaseError) -> RpcError {
    let code = match error {
        BaseError::PromptTooLong { .. } => ErrorCode::InvalidParams,
        BaseError::Stopped => ErrorCode::RequestCancelled,
        _ => ErrorCode::UnusableBase,
    };
    RpcError::new(code, error.to_string())
}

pub(crate) fn of_adapter(error: &AdapterError) -> RpcError {
    RpcError::new(ErrorCode::UnusableAdapter, error.to_string())
}

pub(crate) fn of_generation(error: &GenerateError) -> RpcError {
    let code = match error {
        GenerateError::EmptyPrompt | GenerateError::PromptTooLong { .. } => ErrorCode::InvalidParams,
        GenerateError::OtherBase { .. } => ErrorCode::UnusableAdapter,
        GenerateError::Tensor(_) | GenerateError::Text(_) | GenerateError::NotFinite { .. } => {
            ErrorCode::Internal
        }
    };
    RpcError::new(code, error.to_string())
}

pub(crate) fn of_training(error: &TrainError) -> RpcError {
    if let TrainError::Write { path, source } = error {
        return of_writing(path, source);
    }
    let code = match error {
        TrainError::NoExamples | TrainError::NoHeldOut => ErrorCode::UnusableDataset,
        TrainError::BadSetting(_) => ErrorCode::InvalidParams,
        TrainError::Misfit(_) => ErrorCode::UnusableAdapter,
        TrainError::Write { .. } => ErrorCode::StorageFailed,
        TrainError::BrokenBase | TrainError::Text(_) => ErrorCode::UnusableBase,
        TrainError::NotFinite { .. }
        | TrainError::Diverged { .. }
        | TrainError::Unfinished
        | TrainError::Sample(_)
        | TrainError::Neutral(_)
        | TrainError::OtherData { .. }
        | TrainError::BadState { .. }
        | TrainError::Tensor(_) => ErrorCode::RunFailed,
    };
    RpcError::new(code, error.to_string())
}

/// An adapter could not be written.
pub(crate) fn of_saving(error: &AdapterError) -> RpcError {
    if let AdapterError::Io { file, source } = error {
        return of_writing(file, source);
    }
    RpcError::new(ErrorCode::StorageFailed, error.to_string())
}

/// A folder or file that cannot be written.
pub(crate) fn of_writing(path: &std::path::Path, error: &std::io::Error) -> RpcError {
    let message = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            format!(
                "the disk is full: {} cannot be written; make room there. Nothing that was saved before is lost",
                path.display()
            )
        }
        _ => format!("{} cannot be written: {error}; check that you may write there", path.display()),
    };
    RpcError::new(ErrorCode::StorageFailed, message)
}

/// What a panic says.
pub(crate) fn reason(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no reason given".to_owned())
}

pub(crate) fn of_panic(what: &str, panic: &(dyn std::any::Any + Send)) -> RpcError {
    let why = reason(panic);
    tracing::error!(what, why, "a panic was caught");
    let message = format!(
        "{what} failed inside the daemon: {why}; this is a fault of Hotplate, the log has more (hotplate logs)"
    );
    RpcError::new(ErrorCode::Internal, message)
}
