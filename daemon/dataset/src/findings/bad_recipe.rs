//! # HP013 `bad-recipe`
//!
//! A line of `hotplate.toml` cannot be used: a key that does not exist (a typo, or another trainer's name for it), a value of the wrong kind or
//! out of range, or a text that is no TOML. All keys are on the page beside the module [`recipe`](crate::recipe).
//!
//! Nothing is trained until the recipe is mended: half of it is left out as little as used. The examples are not to blame and stay as they are.

use std::path::Path;

use super::{Code, Finding, Rule};
use crate::recipe::{FILE, Problem};

pub(super) const RULE: Rule = Rule {
    code: "HP013",
    name: "bad-recipe",
    remedy: "Mend the line: nothing is trained with half a recipe.",
    skips: true,
};

/// What is wrong with the recipe, as a finding.
pub fn bad_recipe(problem: &Problem) -> Finding {
    Finding::new(Code::BadRecipe, Path::new(FILE), (problem.line, problem.line), problem.message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_keeps_its_line() {
        let error = crate::recipe::parse("\nrnak = 8\n").unwrap_err();
        let finding = bad_recipe(&error.problems[0]);
        assert_eq!(
            crate::testing::line_of(&finding),
            "hotplate.toml:2-2 HP013 bad-recipe: there is no key rnak; did you mean rank?"
        );
    }
}
