//! Statements: each becomes its like in minijinja's, with Jinja's scopes.

use super::expression::Parser;
use super::tokens::Token;

const BLOCK: (&str, &str) = ("{%", "%}");
const PRINT: (&str, &str) = ("{{", "}}");

/// A tag's brackets and what stands in them.
type Tags = Vec<((&'static str, &'static str), String)>;

/// What was opened and how it is closed.
enum Open {
    /// As it is.
    Same(&'static str),
    /// By these tags.
    As {
        end: &'static str,
        tags: Tags,
    },
    Macro,
}

/// The statements so far, of which some are open.
pub(super) struct Statements {
    open: Vec<Open>,
    marks: Option<[char; 2]>,
    tells_answers: bool,
}

impl Statements {
    pub(super) fn new(marks: Option<[char; 2]>) -> Self {
        Self { open: Vec::new(), marks, tells_answers: false }
    }

    pub(super) fn tells_answers(&self) -> bool {
        self.tells_answers
    }

    pub(super) fn in_macro(&self) -> bool {
        self.open.iter().any(|open| matches!(open, Open::Macro))
    }

    /// The tags that stand for one statement.
    pub(super) fn block(&mut self, tokens: Vec<Token>) -> Result<Tags, String> {
        let mut words = Parser::new(tokens, self.in_macro());
        let name = words.name().map_err(|_| "a tag's name is missing".to_owned())?;
        let tags = self.statement(&name, &mut words)?;
        words.end()?;
        Ok(tags)
    }

    fn statement(&mut self, name: &str, words: &mut Parser) -> Result<Tags, String> {
        let code = match name {
            "for" => self.for_loop(words)?,
            "if" | "elif" => {
                let test = words.tuple(&[], false)?;
                words.skip(":");
                if name == "if" {
                    self.open.push(Open::Same("endif"));
                }
                format!("{name} {test}")
            }
            "else" => {
                words.skip(":");
                name.to_owned()
            }
            "break" | "continue" => name.to_owned(),
            "set" => return self.set(words),
            "with" => return self.with(words),
            "macro" => self.macro_of(words)?,
            "call" => {
                let signature = if words.is_at("(") { signature(words)? } else { String::new() };
                let call = words.expression()?;
                self.open.push(Open::Same("endcall"));
                format!("call{signature} {call}")
            }
            "filter" => {
                let filters = filters(words)?;
                self.open.push(Open::Same("endfilter"));
                format!("filter {filters}")
            }
            "block" => {
                let block = words.name()?;
                let _ = words.skip_name("scoped") | words.skip_name("required");
                self.open.push(Open::Same("endblock"));
                format!("block {block}")
            }
            "print" => return Ok(vec![(PRINT, words.tuple(&[], true)?)]),
            "generation" => {
                self.tells_answers = true;
                let with = (BLOCK, "with".to_owned());
                let end = (BLOCK, "endwith".to_owned());
                let (start, end) = match self.marks {
                    None => (vec![with], vec![end]),
                    Some([open, close]) => {
                        let mark = |mark: char| (PRINT, format!("\"{mark}\""));
                        (vec![mark(open), with], vec![end, mark(close)])
                    }
                };
                self.open.push(Open::As { end: "endgeneration", tags: end });
                return Ok(start);
            }
            "autoescape" => {
                if words.expression()? != "false" {
                    return Err("autoescape is not known here".to_owned());
                }
                let end = vec![(BLOCK, "endwith".to_owned())];
                self.open.push(Open::As { end: "endautoescape", tags: end });
                "with".to_owned()
            }
            // There is nothing to include from: an error where it is reached.
            "include" | "import" | "extends" | "from" => {
                while words.expression().is_ok() || words.skip(",") {}
                return Ok(vec![(PRINT, format!("__nothing_to_load(\"{name}\")"))]);
            }
            end if end.starts_with("end") => return self.end(end, words),
            other => return Err(format!("the statement {other} is not known")),
        };
        Ok(vec![(BLOCK, code)])
    }

    fn end(&mut self, name: &str, words: &mut Parser) -> Result<Tags, String> {
        if name == "endblock" {
            let _ = words.name();
        }
        let tags = match self.open.pop() {
            Some(Open::Same(end)) if end == name => vec![(BLOCK, name.to_owned())],
            Some(Open::Macro) if name == "endmacro" => vec![(BLOCK, name.to_owned())],
            Some(Open::As { end, tags }) if end == name => tags,
            _ => return Err(format!("unexpected {name}")),
        };
        Ok(tags)
    }

    fn for_loop(&mut self, words: &mut Parser) -> Result<String, String> {
        let (target, count) = words.target(&["in"])?;
        words.expect_name("in")?;
        let items = words.tuple(&["recursive"], false)?;
        let test = if words.skip_name("if") { format!(" if {}", words.expression()?) } else { String::new() };
        let recursive = if words.skip_name("recursive") { " recursive" } else { "" };
        words.skip(":");
        self.open.push(Open::Same("endfor"));
        Ok(format!("for {target} in __items({items}, {count}){test}{recursive}"))
    }

    fn set(&mut self, words: &mut Parser) -> Result<Tags, String> {
        let (target, count) = words.target(&[])?;
        if words.skip("=") {
            let value = words.tuple(&[], true)?;
            let value = if count > 1 { format!("__parts({value}, {count})") } else { value };
            return Ok(vec![(BLOCK, format!("set {target} = {value}"))]);
        }
        let filters = if words.skip("|") { format!(" | {}", filters(words)?) } else { String::new() };
        let ends = ["endwith", "endset"].map(|end| (BLOCK, end.to_owned()));
        self.open.push(Open::As { end: "endset", tags: ends.to_vec() });
        Ok(vec![(BLOCK, format!("set {target}{filters}")), (BLOCK, "with".to_owned())])
    }

    /// All values are looked at before any name is set.
    fn with(&mut self, words: &mut Parser) -> Result<Tags, String> {
        let (mut values, mut names) = (Vec::new(), Vec::new());
        while words.end().is_err() {
            if !names.is_empty() {
                words.expect(",")?;
            }
            let target = words.name()?;
            words.expect("=")?;
            let value = words.expression()?;
            let kept = format!("__with{}", names.len());
            values.push(format!("{kept} = {value}"));
            names.push(format!("{target} = {kept}"));
        }
        let mut end = vec![(BLOCK, "endwith".to_owned())];
        let mut start = vec![(BLOCK, format!("with {}", values.join(", ")))];
        if !names.is_empty() {
            end.push((BLOCK, "endwith".to_owned()));
            start.push((BLOCK, format!("with {}", names.join(", "))));
        }
        self.open.push(Open::As { end: "endwith", tags: end });
        Ok(start)
    }

    fn macro_of(&mut self, words: &mut Parser) -> Result<String, String> {
        let name = words.name()?;
        let signature = signature(words).map_err(|why| format!("macro {name}: {why}"))?;
        self.open.push(Open::Macro);
        Ok(format!("macro {name}{signature}"))
    }
}

fn filters(words: &mut Parser) -> Result<String, String> {
    let mut filters = vec![words.filter()?];
    while words.skip("|") {
        filters.push(words.filter()?);
    }
    Ok(filters.join(" | "))
}

/// The names that a macro or call block takes.
fn signature(words: &mut Parser) -> Result<String, String> {
    words.expect("(")?;
    let (mut names, mut parts): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    while !words.skip(")") {
        if !names.is_empty() {
            words.expect(",")?;
            if words.skip(")") {
                break;
            }
        }
        let name = words.name()?;
        if names.contains(&name) {
            return Err(format!("the argument {name} stands twice"));
        }
        if words.skip("=") {
            let (value, used) = words.expression_and_names()?;
            if used.iter().any(|used| names.contains(used)) {
                return Err(format!(
                    "a default that another argument gives ({name}={value}) is not known here"
                ));
            }
            parts.push(format!("{name}={value}"));
        } else if parts.iter().any(|part| part.contains('=')) {
            return Err(format!("the argument {name} has no default and stands behind one that has"));
        } else {
            parts.push(name.clone());
        }
        names.push(name);
    }
    Ok(format!("({})", parts.join(", ")))
}
