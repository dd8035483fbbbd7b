//! Which base model holds where a command names none.

use hotplate_protocol::methods::look_at_base::BaseInfo;

use crate::chosen_base::{BASE_VARIABLE, ChosenBase, ChosenBy, TOY};

/// After `use`, and as its answer.
pub fn base_in_use(chosen: Option<&ChosenBase>, info: Option<&BaseInfo>) -> String {
    let Some(chosen) = chosen else {
        return format!(
            "No base model is chosen: commands that name none use {TOY}, the built-in toy.\nChoose one: hotplate use DIR, FILE or ORG/NAME"
        );
    };
    let ChosenBase { base, name, .. } = chosen;
    let place = if base == name { String::new() } else { format!(" ({base})") };
    let by = match chosen.by {
        ChosenBy::Environment => format!("{BASE_VARIABLE} says so, and goes before hotplate use"),
        ChosenBy::Command => "hotplate use --toy goes back to the toy".to_owned(),
    };
    // What was just noted is not what holds where the environment says otherwise.
    let noted = match (chosen.by, info) {
        (ChosenBy::Environment, Some(info)) => format!("{} is noted. ", info.name),
        _ => String::new(),
    };
    let chats = match info {
        Some(info) if !info.chats && chosen.by == ChosenBy::Command => {
            "\nIt has no chat template: it continues texts, and answers no questions."
        }
        _ => "",
    };
    format!(
        "{noted}Commands that name no base model use {name}{place}; {by}.\nAn adapter keeps the base that it was made for.{chats}"
    )
}

/// One line, where the toy was used because nobody has chosen.
pub fn toy_by_default() -> String {
    // It fits 80 columns.
    format!("No base is chosen, so the toy {TOY} is used; hotplate use BASE sets it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_chose_is_said() {
        let chosen = |by| ChosenBase { base: "/m/a".into(), name: "a/".into(), by };
        assert!(base_in_use(None, None).contains("hotplate-tiny, the built-in toy"));
        let own = base_in_use(Some(&chosen(ChosenBy::Command)), None);
        assert!(
            own.starts_with("Commands that name no base model use a/ (/m/a); hotplate use --toy"),
            "{own}"
        );
        let info = BaseInfo { name: "b".into(), path: None, architecture: "Llama".into(), chats: false };
        let other = base_in_use(Some(&chosen(ChosenBy::Environment)), Some(&info));
        assert!(other.starts_with("b is noted. Commands") && other.contains("HOTPLATE_BASE"), "{other}");
        assert!(base_in_use(Some(&chosen(ChosenBy::Command)), Some(&info)).contains("no chat template"));
        assert!(!toy_by_default().contains('\n') && toy_by_default().len() < 80);
    }
}
