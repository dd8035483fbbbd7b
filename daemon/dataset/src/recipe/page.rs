//! The page of all keys, as `README.md` beside this file has it.

use hotplate_protocol::knobs::KEYS;

const HEAD: &str = "# The recipe

A file called `hotplate.toml` in your dataset's folder. Every line is optional, and so is the file: what you leave out is chosen for you. The same
settings are options of `hotplate train` and `hotplate watch` (`rank` is `--rank`, `max_steps` is `--max-steps`); an option goes before the recipe, and
the recipe before what is chosen. `hotplate check FOLDER` says what is wrong with a recipe, with the line, and which values hold; `hotplate train FOLDER
--dry-run` also says where each came from.

```toml
# hotplate.toml
adapter = \"my-voice\"
rank = 8
prompts = [\"Write a short note about a bakery.\"]
```

A recipe with a mistake in it is not used by halves: nothing is trained until it is mended. In a watched folder, a changed recipe by itself starts no
run; it holds from the next save on. `base` and `adapter` are settled when a folder is first watched: to change them, call `hotplate watch` again.

| key | value | left out |
|---|---|---|
";

pub(super) fn page() -> String {
    let mut page = HEAD.to_owned();
    for key in KEYS {
        let words = key.kind.words().replace('|', "\\|");
        page.push_str(&format!(
            "| `{}` | {words}. {} Example: `{} = {}` | {} |\n",
            key.name, key.help, key.name, key.example, key.default
        ));
    }
    page
}

#[test]
fn the_page_is_the_tables() {
    expect_test::expect_file!["README.md"].assert_eq(&page());
}
