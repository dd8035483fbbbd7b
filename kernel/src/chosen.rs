//! `%use`: the adapter and base that this notebook's commands take where they name none.

use hotplate_client::command::{BaseArg, Command};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub adapter: Option<String>,
    pub base: Option<String>,
    /// Whether this notebook has been told that the toy answers where nothing is chosen.
    pub toy_is_known: bool,
}

impl Chosen {
    /// Fills in what `command` leaves open. A command that names an adapter or a base is left as it is.
    pub(crate) fn fill_in(&self, command: &mut Command) {
        let (adapter, base) = match command {
            Command::Generate(args) => (&mut args.adapter, &mut args.base),
            Command::Compare(args) => (&mut args.adapter, &mut args.base),
            Command::Score(args) => (&mut args.adapter, &mut args.base),
            // Their adapter is the one that is made, and is named by the folder.
            Command::Check(args) => return self.fill_in_base(&mut args.base),
            Command::Train(args) => return self.fill_in_base(&mut args.base),
            Command::Watch(args) => return self.fill_in_base(&mut args.base),
            _ => return,
        };
        if adapter.adapter.is_none() && base.base.is_none() {
            adapter.adapter.clone_from(&self.adapter);
            base.base.clone_from(&self.base);
        }
    }

    pub(crate) fn fill_in_base(&self, base: &mut BaseArg) {
        if base.base.is_none() {
            base.base.clone_from(&self.base);
        }
    }

    pub(crate) fn in_words(&self) -> String {
        match (&self.adapter, &self.base) {
            (None, None) => {
                "Nothing is chosen: commands that name no adapter use the bare base model.".to_owned()
            }
            (Some(adapter), None) => {
                format!("generate, compare and score now use {adapter} where they name nothing else.")
            }
            (None, Some(base)) => {
                format!("The base model is {base} now, where a command names nothing else.")
            }
            (Some(adapter), Some(base)) => {
                format!(
                    "generate, compare and score now use {adapter} on {base} where they name nothing else."
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hotplate_client::command::parse_line;

    use super::*;

    #[test]
    fn what_is_named_comes_first() {
        let chosen = Chosen { adapter: Some("notes".into()), ..Chosen::default() };
        let adapter = |line: &str| {
            let mut command = parse_line(line).unwrap();
            chosen.fill_in(&mut command);
            match command {
                Command::Generate(args) => args.adapter.adapter,
                Command::Compare(args) => args.adapter.adapter,
                Command::Train(args) => args.adapter,
                _ => None,
            }
        };
        assert_eq!(adapter("generate x").as_deref(), Some("notes"));
        assert_eq!(adapter("compare x").as_deref(), Some("notes"));
        assert_eq!(adapter("generate -a other x").as_deref(), Some("other"));
        assert_eq!(adapter("generate --base hotplate-tiny x"), None);
        assert_eq!(adapter("train new/"), None, "training makes an adapter of its own");
    }
}
