//! Which of a repository's files a base is made of.

use hotplate_home::hub::HubError;

/// Names as the hub lists them.
const TEXT: [&str; 12] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    INDEX,
];
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Everything but the weights, in the order of the listing. Other forms of the same weights and everything else stay where they are.
///
/// # Errors
/// What there is cannot be used as a base, and why.
pub(super) fn text_files(id: &str, listed: &[String]) -> Result<Vec<String>, HubError> {
    let unusable = |why: &str| Err(HubError::Unusable { id: id.to_owned(), why: why.to_owned() });
    let has = |name: &str| listed.iter().any(|file| file == name);
    if !has("config.json") {
        return unusable(if has("adapter_config.json") {
            "it is an adapter; name its folder with -a, and pull the base it was made for"
        } else {
            "it has no config.json"
        });
    }
    if !listed.iter().any(|file| is_weights(file)) {
        return unusable(if listed.iter().any(|file| ending(file, "bin") || ending(file, "pth")) {
            "its weights are not in safetensors; look for a repository that has them so"
        } else if listed.iter().any(|file| ending(file, "gguf")) {
            "it has GGUF files only; pull the repository with the original weights"
        } else {
            "it has no weights"
        });
    }
    let wanted = listed.iter().filter(|file| {
        TEXT.contains(&file.as_str())
            || file
                .strip_prefix("additional_chat_templates/")
                .or_else(|| file.strip_prefix("chat_templates/"))
                .is_some_and(|name| !name.contains('/') && ending(name, "jinja"))
    });
    Ok(wanted.cloned().collect())
}

/// The weights: the shards of the index, else the one file, else whatever safetensors lie at the top.
///
/// # Errors
/// The index cannot be read, or names a file that is not there.
pub(super) fn weight_files(
    id: &str,
    listed: &[String],
    index: Option<&[u8]>,
) -> Result<Vec<String>, HubError> {
    let unusable = |why: String| HubError::Unusable { id: id.to_owned(), why };
    if let Some(index) = index {
        let parsed: serde_json::Value =
            serde_json::from_slice(index).map_err(|error| unusable(format!("{INDEX} is broken: {error}")))?;
        let map = parsed.get("weight_map").and_then(serde_json::Value::as_object);
        let map = map.ok_or_else(|| unusable(format!("{INDEX} has no weight_map")))?;
        let mut shards: Vec<String> =
            map.values().filter_map(|file| Some(file.as_str()?.to_owned())).collect();
        shards.sort_unstable();
        shards.dedup();
        if let Some(missing) = shards.iter().find(|shard| !listed.contains(shard)) {
            return Err(unusable(format!("{INDEX} names {missing}, which is not there")));
        }
        return Ok(shards);
    }
    let single = "model.safetensors".to_owned();
    if listed.contains(&single) {
        return Ok(vec![single]);
    }
    Ok(listed.iter().filter(|file| is_weights(file)).cloned().collect())
}

fn is_weights(file: &str) -> bool {
    !file.contains('/') && ending(file, "safetensors") && !file.starts_with("adapter")
}

fn ending(file: &str, wanted: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(_, ending)| ending == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_a_base_needs_and_nothing_else() {
        let all = listed(&[
            "README.md",
            "config.json",
            "consolidated.safetensors",
            "model-1.safetensors",
            "model-2.safetensors",
            INDEX,
            "onnx/model.onnx",
            "onnx/config.json",
            "pytorch_model.bin",
            "tokenizer.json",
            "chat_template.jinja",
            "additional_chat_templates/tool_use.jinja",
            "x.gguf",
        ]);
        let texts = text_files("a/b", &all).unwrap();
        let expected = [
            "config.json",
            INDEX,
            "tokenizer.json",
            "chat_template.jinja",
            "additional_chat_templates/tool_use.jinja",
        ];
        assert_eq!(texts, expected);
        let index = br#"{"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}}"#;
        assert_eq!(
            weight_files("a/b", &all, Some(index)).unwrap(),
            ["model-1.safetensors", "model-2.safetensors"]
        );
        let wrong = br#"{"weight_map": {"a": "gone.safetensors"}}"#;
        assert!(weight_files("a/b", &all, Some(wrong)).unwrap_err().to_string().contains("gone.safetensors"));
        let one = listed(&["config.json", "consolidated.safetensors", "model.safetensors"]);
        assert_eq!(weight_files("a/b", &one, None).unwrap(), ["model.safetensors"]);
    }

    #[test]
    fn fuzz_hub_index() {
        let all = listed(&["config.json", "model-1.safetensors", "model-2.safetensors", INDEX]);
        let index = br#"{"metadata": {"total_size": 1}, "weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors"}}"#;
        let words =
            ["\"weight_map\": {", "model-1.safetensors", "../", "{", "}", "[", "null", "\"", "\\u0000"];
        hotplate_fuzz::fuzz("hub-index", &[index], &words, |bytes| {
            if let Ok(files) = weight_files("a/b", &all, Some(bytes)) {
                assert!(files.iter().all(|file| all.contains(file)));
            }
        });
    }

    #[test]
    fn what_is_no_base_is_told_why() {
        let why = |names: &[&str]| text_files("a/b", &listed(names)).unwrap_err().to_string();
        assert!(why(&["README.md"]).contains("config.json"));
        assert!(why(&["adapter_config.json", "adapter_model.safetensors"]).contains("adapter"));
        assert!(why(&["config.json", "pytorch_model.bin"]).contains("safetensors"));
        assert!(why(&["config.json", "x.gguf"]).contains("GGUF"));
    }
}
