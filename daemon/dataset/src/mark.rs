//! Marks that say whether a turn or a record is learnt: `weight` (OpenAI, Mistral, Together), `loss` (ms-swift), `train` and `training`
//! (axolotl), `trainable`; each as a number, a boolean or a text.
//!
//! Marks stay in their message, so that a turn can be asked whether it is learnt and an example's name covers them. A ShareGPT turn keeps its keys only where
//! it is marked, so that known names stay.

use serde_json::Value;

use crate::loose_json;

pub(crate) const MARKS: [&str; 5] = ["weight", "loss", "train", "training", "trainable"];
/// What other trainers have beside them and nothing here reads: parts of a turn, shares of a loss.
pub(crate) const UNREAD_MARKS: [&str; 6] =
    ["loss_mask", "loss_scale", "loss_weight", "mask", "train_detail", "training_detail"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Absent,
    Learn,
    Leave,
    /// It says something that cannot be done: a share of the loss, or a word that is not known. Learnt as if it were not there.
    Unread,
    /// Less than nothing: not learnt, at least.
    Below,
}

impl Mark {
    pub(crate) fn of(value: &Value) -> Mark {
        match value {
            Value::Null => Mark::Absent,
            Value::Bool(true) => Mark::Learn,
            Value::Bool(false) => Mark::Leave,
            Value::Number(number) => number.as_f64().map_or(Mark::Unread, of_number),
            Value::String(_) => loose_json::text(value).map_or(Mark::Unread, of_text),
            Value::Array(_) | Value::Object(_) => Mark::Unread,
        }
    }

    pub(crate) fn is_learnt(self) -> bool {
        !matches!(self, Mark::Leave | Mark::Below)
    }

    pub(crate) fn is_read(self) -> bool {
        !matches!(self, Mark::Unread | Mark::Below)
    }
}

fn of_number(number: f64) -> Mark {
    match number {
        0.0 => Mark::Leave,
        1.0 => Mark::Learn,
        number if number < 0.0 => Mark::Below,
        _ => Mark::Unread,
    }
}

fn of_text(text: &str) -> Mark {
    match text.trim().to_lowercase().as_str() {
        // A cell of nothing.
        "" | "null" | "none" => Mark::Absent,
        "true" | "yes" | "y" | "t" | "on" | "是" => Mark::Learn,
        "false" | "no" | "n" | "f" | "off" | "否" => Mark::Leave,
        word => word.parse::<f64>().map_or(Mark::Unread, of_number),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_booleans_and_texts() {
        for value in [
            json!(0),
            json!(0.0),
            json!(-0.0),
            json!(false),
            json!("0"),
            json!(" No "),
            json!("FALSE"),
            json!("0.0"),
        ] {
            assert_eq!(Mark::of(&value), Mark::Leave, "{value}");
        }
        for value in [json!(1), json!(1.0), json!(true), json!("1"), json!("True"), json!("yes")] {
            assert_eq!(Mark::of(&value), Mark::Learn, "{value}");
        }
        for value in [json!(0.5), json!(2), json!("maybe"), json!("0.5"), json!("nan"), json!([0]), json!({})]
        {
            assert_eq!(Mark::of(&value), Mark::Unread, "{value}");
        }
        assert_eq!(Mark::of(&json!(null)), Mark::Absent);
        assert_eq!(Mark::of(&json!("")), Mark::Absent);
        assert_eq!(Mark::of(&json!(-1)), Mark::Below);
    }
}
