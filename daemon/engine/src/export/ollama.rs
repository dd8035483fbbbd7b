//! What `ollama create` reads beside a GGUF file: the Modelfile.

use std::path::Path;

use super::{ExportError, merged, write_gguf_model};
use crate::base_spec::BaseSpec;
use crate::lora::Adapter;

const MODEL: &str = "model.gguf";

/// Writes model and Modelfile into an existing, empty folder. The answer are remarks that the user should read.
///
/// # Errors
/// As [`write_gguf_model`].
pub fn write_ollama(folder: &Path, adapter: &Adapter, base: &BaseSpec) -> Result<Vec<String>, ExportError> {
    let mut remarks = write_gguf_model(&folder.join(MODEL), adapter, base)?;
    merged::write(&folder.join("Modelfile"), modelfile(base).as_bytes())?;
    if base.chats() {
        remarks.push(
            "The Modelfile has no TEMPLATE: Ollama takes one of its own that is like the model's chat template. If \
             `ollama show NAME --template` prints only {{ .Prompt }}, it found none, and a TEMPLATE must be written by hand."
                .to_owned(),
        );
    }
    Ok(remarks)
}

/// `FROM`, and each token that ends an answer.
fn modelfile(base: &BaseSpec) -> String {
    let mut text = format!("FROM ./{MODEL}\n");
    for end in &base.eos {
        // A quotation mark or a line break would end the value.
        match base.tokenizer.piece(*end) {
            Some(stop) if !stop.contains('"') && !stop.contains('\n') => {
                text.push_str(&format!("PARAMETER stop \"{stop}\"\n"));
            }
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn every_end_of_an_answer_is_a_stop() {
        let mut base = BaseSpec::for_tests(fixtures::config());
        base.eos = vec![1, 2];
        let stops = [1, 2].map(|id| format!("PARAMETER stop \"{}\"\n", base.tokenizer.piece(id).unwrap()));
        assert_eq!(modelfile(&base), format!("FROM ./model.gguf\n{}", stops.concat()));
    }
}
