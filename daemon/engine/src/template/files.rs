//! Where a base keeps its chat templates: one, or several by name.
//!
//! As transformers reads them: `chat_template.jinja` and the files of `additional_chat_templates/` go before `chat_template` in
//! `tokenizer_config.json`, which is a text or a list of named ones. With tools the one named `tool_use` is taken, where there is one; else
//! `default`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::base_error::BaseError;
use crate::base_source::BaseSource;
use crate::tokenizer::TokenizerConfig;

const FILE: &str = "chat_template.jinja";
const FOLDER: &str = "additional_chat_templates";
const DEFAULT: &str = "default";
const TOOL_USE: &str = "tool_use";

/// The templates that are ever used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) default: String,
    /// For conversations with tools.
    pub(crate) tool_use: Option<String>,
}

/// Where a base's folder has templates of their own, or could have.
pub(crate) fn own_paths(folder: &Path) -> Vec<PathBuf> {
    let more = folder.join(FOLDER);
    let mut files = vec![folder.join(FILE)];
    if let Ok(entries) = fs::read_dir(&more) {
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        found.sort_unstable();
        files.extend(found);
    }
    files.push(more);
    files
}

/// The base's templates; `Err` inside says why there is none to take, which matters only to who wants one.
pub(crate) fn find(
    source: &BaseSource,
    config: &TokenizerConfig,
) -> Result<Option<Result<Texts, String>>, BaseError> {
    let mut named = own_files(source)?;
    if named.is_empty() {
        named = match &config.chat_template {
            None => return Ok(None),
            Some(Value::String(text)) => BTreeMap::from([(DEFAULT.to_owned(), text.clone())]),
            Some(Value::Array(list)) => list.iter().filter_map(entry).collect(),
            Some(_) => {
                let why = "chat_template is neither a text nor a list".to_owned();
                return Err(BaseError::BadTemplate { file: source.path("tokenizer_config.json"), why });
            }
        };
    }
    let tool_use = named.remove(TOOL_USE);
    Ok(Some(if let Some(default) = named.remove(DEFAULT) {
        Ok(Texts { default, tool_use })
    } else {
        let names: Vec<&str> =
            named.keys().map(String::as_str).chain(tool_use.is_some().then_some(TOOL_USE)).collect();
        Err(format!(
            "the base has several chat templates ({}) and none of them is named {DEFAULT:?}; name one so",
            names.join(", ")
        ))
    }))
}

fn entry(entry: &Value) -> Option<(String, String)> {
    Some((entry.get("name")?.as_str()?.to_owned(), entry.get("template")?.as_str()?.to_owned()))
}

fn own_files(source: &BaseSource) -> Result<BTreeMap<String, String>, BaseError> {
    let mut named = BTreeMap::new();
    let mut add = |name: &str, file: &str| -> Result<(), BaseError> {
        let Some(bytes) = source.read_if_present(file)? else { return Ok(()) };
        let text = String::from_utf8(bytes.into_owned()).map_err(|_| BaseError::BadTemplate {
            file: source.path(file),
            why: "it is not UTF-8".to_owned(),
        })?;
        named.insert(name.to_owned(), text);
        Ok(())
    };
    add(DEFAULT, FILE)?;
    if let BaseSource::Folder(folder) = source
        && let Ok(entries) = fs::read_dir(folder.join(FOLDER))
    {
        for entry in entries.flatten() {
            let file = entry.file_name();
            if let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".jinja")) {
                add(name, &format!("{FOLDER}/{name}.jinja"))?;
            }
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn look(folder: &Path, config: Value) -> Option<Result<Texts, String>> {
        let config = TokenizerConfig {
            chat_template: Some(config).filter(|config| !config.is_null()),
            ..TokenizerConfig::default()
        };
        find(&BaseSource::Folder(folder.to_owned()), &config).unwrap()
    }

    #[test]
    fn the_default_is_taken_and_files_go_before_settings() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let texts = |default: &str, tool_use: Option<&str>| {
            Some(Ok(Texts { default: default.to_owned(), tool_use: tool_use.map(str::to_owned) }))
        };
        assert_eq!(look(folder, Value::Null), None);
        assert_eq!(look(folder, json!("a")), texts("a", None));
        let named = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
        assert_eq!(look(folder, named.clone()), texts("d", Some("t")));
        let error = look(folder, json!([{"name": "rag", "template": "r"}])).unwrap().unwrap_err();
        assert!(error.contains("rag"), "{error}");
        fs::create_dir(folder.join(FOLDER)).unwrap();
        fs::write(folder.join(FILE), "f").unwrap();
        assert_eq!(look(folder, named.clone()), texts("f", None));
        fs::write(folder.join(FOLDER).join("tool_use.jinja"), "g").unwrap();
        assert_eq!(look(folder, named), texts("f", Some("g")));
    }
}
