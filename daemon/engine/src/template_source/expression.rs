//! Expressions: read by Jinja's grammar, written with functions of ours in place of what minijinja does otherwise.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::vec::IntoIter;

use super::escapes::quoted;
use super::tokens::Token;
use crate::python_methods::is_method;

/// Deeper nesting is nobody's template; the stack is finite.
const DEEPEST: usize = 200;
const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
/// What a macro knows of itself.
const OF_MACRO: [&str; 4] = ["arguments", "caller", "catch_kwargs", "catch_varargs"];

/// What a value has whether or not a key is called so.
fn is_attribute(name: &str) -> bool {
    is_method(name) || OF_MACRO.contains(&name)
}

type Result<T> = std::result::Result<T, String>;

/// What `{{ … }}` shows.
pub(super) fn printed(tokens: Vec<Token>, in_macro: bool) -> Result<String> {
    let mut parser = Parser::new(tokens, in_macro);
    let code = parser.tuple(&[], true)?;
    parser.end()?;
    Ok(code)
}

/// Reads a tag's words and writes minijinja's.
pub(super) struct Parser {
    tokens: Peekable<IntoIter<Token>>,
    depth: usize,
    in_macro: bool,
}

impl Parser {
    pub(super) fn new(tokens: Vec<Token>, in_macro: bool) -> Self {
        Self { tokens: tokens.into_iter().peekable(), depth: 0, in_macro }
    }

    pub(super) fn end(&mut self) -> Result<()> {
        match self.tokens.peek() {
            None => Ok(()),
            Some(token) => Err(format!("unexpected {}", shown(token))),
        }
    }

    pub(super) fn is_at(&mut self, operator: &str) -> bool {
        matches!(self.tokens.peek(), Some(Token::Operator(found)) if *found == operator)
    }

    pub(super) fn skip(&mut self, operator: &str) -> bool {
        let found = self.is_at(operator);
        if found {
            self.tokens.next();
        }
        found
    }

    pub(super) fn is_at_name(&mut self, name: &str) -> bool {
        matches!(self.tokens.peek(), Some(Token::Name(found)) if found == name)
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_at_name(name);
        if found {
            self.tokens.next();
        }
        found
    }

    pub(super) fn expect(&mut self, operator: &str) -> Result<()> {
        if self.skip(operator) { Ok(()) } else { Err(self.unexpected(&format!(", expected {operator}"))) }
    }

    pub(super) fn expect_name(&mut self, name: &str) -> Result<()> {
        if self.skip_name(name) { Ok(()) } else { Err(self.unexpected(&format!(", expected {name}"))) }
    }

    pub(super) fn name(&mut self) -> Result<String> {
        match self.tokens.next_if(|token| matches!(token, Token::Name(_))) {
            Some(Token::Name(name)) => Ok(name),
            _ => Err(self.unexpected(", expected a name")),
        }
    }

    fn operator(&mut self, wanted: &[&'static str]) -> Option<&'static str> {
        let found = match self.tokens.peek() {
            Some(Token::Operator(found)) => wanted.iter().find(|wanted| *wanted == found).copied()?,
            _ => return None,
        };
        self.tokens.next();
        Some(found)
    }

    fn second_is(&self, wanted: &Token) -> bool {
        let mut ahead = self.tokens.clone();
        ahead.next();
        ahead.next().as_ref() == Some(wanted)
    }

    pub(super) fn unexpected(&mut self, expected: &str) -> String {
        match self.tokens.peek() {
            None => format!("unexpected end of the tag{expected}"),
            Some(token) => format!("unexpected {}{expected}", shown(token)),
        }
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("nested too deeply".to_owned());
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// One expression, or several with commas between them, which are a tuple. `ends`: names that end it.
    pub(super) fn tuple(&mut self, ends: &[&str], with_condition: bool) -> Result<String> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            let ended = match self.tokens.peek() {
                None | Some(Token::Operator(")")) => true,
                Some(Token::Name(name)) => ends.contains(&name.as_str()),
                Some(_) => false,
            };
            if ended {
                break;
            }
            items.push(if with_condition { self.expression()? } else { self.or()? });
            if !self.skip(",") {
                break;
            }
            is_tuple = true;
        }
        match (is_tuple, items.len()) {
            (false, 1) => Ok(items.remove(0)),
            (false, _) => Err(self.unexpected(", expected an expression")),
            (true, _) => Ok(tuple_of(&items)),
        }
    }

    pub(super) fn expression(&mut self) -> Result<String> {
        self.nested(Self::condition)
    }

    /// An expression, and the names in it.
    pub(super) fn expression_and_names(&mut self) -> Result<(String, Vec<String>)> {
        let ahead = self.tokens.clone();
        let code = self.expression()?;
        let read = ahead.len() - self.tokens.len();
        let name = |token| if let Token::Name(name) = token { Some(name) } else { None };
        Ok((code, ahead.take(read).filter_map(name).collect()))
    }

    fn condition(&mut self) -> Result<String> {
        let mut code = self.or()?;
        while self.skip_name("if") {
            let test = self.or()?;
            code = if self.skip_name("else") {
                let other = self.expression()?;
                format!("({code} if {test} else {other})")
            } else {
                format!("({code} if {test})")
            };
        }
        Ok(code)
    }

    pub(super) fn or(&mut self) -> Result<String> {
        let mut parts = vec![self.and()?];
        while self.skip_name("or") {
            parts.push(self.and()?);
        }
        Ok(joined(parts, " or "))
    }

    fn and(&mut self) -> Result<String> {
        let mut parts = vec![self.not()?];
        while self.skip_name("and") {
            parts.push(self.not()?);
        }
        Ok(joined(parts, " and "))
    }

    fn not(&mut self) -> Result<String> {
        if !self.skip_name("not") {
            return self.comparison();
        }
        let inner = self.nested(Self::not)?;
        Ok(format!("(not {inner})"))
    }

    fn comparison(&mut self) -> Result<String> {
        let mut operands = vec![self.sum()?];
        let mut operators: Vec<&str> = Vec::new();
        loop {
            if let Some(operator) = self.operator(&COMPARISONS) {
                operators.push(operator);
            } else if self.skip_name("in") {
                operators.push("in");
            } else if self.is_at_name("not") && self.second_is(&Token::Name("in".to_owned())) {
                self.tokens.next();
                self.tokens.next();
                operators.push("not in");
            } else {
                break;
            }
            operands.push(self.sum()?);
        }
        let links: Vec<String> = operators
            .iter()
            .zip(operands.windows(2))
            .map(|(operator, pair)| match *operator {
                "in" => format!("__contains({}, {})", pair[1], pair[0]),
                "not in" => format!("(not __contains({}, {}))", pair[1], pair[0]),
                operator => format!("__compare(\"{operator}\", {}, {})", pair[0], pair[1]),
            })
            .collect();
        Ok(if links.is_empty() { operands.remove(0) } else { joined(links, " and ") })
    }

    fn sum(&mut self) -> Result<String> {
        let mut terms = vec![self.concatenation()?];
        while let Some(operator) = self.operator(&["+", "-"]) {
            let right = self.concatenation()?;
            if operator == "+" {
                terms.push(right);
            } else {
                terms = vec![format!("({} - {right})", added(terms))];
            }
        }
        Ok(added(terms))
    }

    fn concatenation(&mut self) -> Result<String> {
        let mut parts = vec![self.product()?];
        while self.skip("~") {
            parts.push(self.product()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { format!("__concat({})", parts.join(", ")) })
    }

    fn product(&mut self) -> Result<String> {
        let mut left = self.power()?;
        while let Some(operator) = self.operator(&["*", "/", "//", "%"]) {
            let right = self.power()?;
            left = match operator {
                "*" => format!("__multiply({left}, {right})"),
                "%" => format!("__mod({left}, {right})"),
                operator => format!("({left} {operator} {right})"),
            };
        }
        Ok(left)
    }

    fn power(&mut self) -> Result<String> {
        let mut left = self.unary(true)?;
        while self.skip("**") {
            let right = self.unary(true)?;
            left = format!("__power({left}, {right})");
        }
        Ok(left)
    }

    fn unary(&mut self, with_filters: bool) -> Result<String> {
        let code = match self.operator(&["-", "+"]) {
            Some(sign) => {
                let inner = self.nested(|parser| parser.unary(false))?;
                if sign == "-" && inner.bytes().all(|byte| byte.is_ascii_digit()) {
                    format!("-{inner}")
                } else {
                    format!("({sign}{inner})")
                }
            }
            None => self.primary()?,
        };
        let code = self.postfix(code)?;
        if with_filters { self.filters(code) } else { Ok(code) }
    }

    fn primary(&mut self) -> Result<String> {
        let Some(token) = self.tokens.next() else { return Err("unexpected end of the tag".to_owned()) };
        match token {
            Token::Name(name) => match name.as_str() {
                "true" | "True" => Ok("true".to_owned()),
                "false" | "False" => Ok("false".to_owned()),
                "none" | "None" => Ok("none".to_owned()),
                "varargs" | "kwargs" if self.in_macro => Err(format!("{name} of a macro is not known here")),
                "self" if !self.is_at(".") => Err("self is not known here".to_owned()),
                _ => Ok(name),
            },
            Token::Text(mut text) => {
                while let Some(Token::Text(more)) =
                    self.tokens.next_if(|token| matches!(token, Token::Text(_)))
                {
                    text.push_str(&more);
                }
                Ok(quoted(&text))
            }
            Token::Integer(value) => Ok(value.to_string()),
            Token::Float(value) if value.is_finite() => Ok(format!("{value:?}")),
            Token::Float(_) => Ok("(1e308 * 10.0)".to_owned()),
            Token::Operator("(") => {
                let inner = self.nested(|parser| {
                    if parser.is_at(")") { Ok("()".to_owned()) } else { parser.tuple(&[], true) }
                })?;
                self.expect(")")?;
                let is_word = |char: char| char.is_alphanumeric() || char == '_';
                Ok(if inner.chars().all(is_word) { inner } else { format!("({inner})") })
            }
            Token::Operator("[") => {
                let items = self.listed("]", Self::expression)?;
                Ok(format!("[{}]", items.join(", ")))
            }
            Token::Operator("{") => {
                let pairs = self.listed("}", |parser| {
                    let key = parser.expression()?;
                    parser.expect(":")?;
                    let value = parser.expression()?;
                    let key = if key.starts_with('"') { key } else { format!("__key({key})") };
                    Ok(format!("{key}: {value}"))
                })?;
                Ok(format!("{{{}}}", pairs.join(", ")))
            }
            other @ Token::Operator(_) => Err(format!("unexpected {}", shown(&other))),
        }
    }

    fn listed(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Result<String>,
    ) -> Result<Vec<String>> {
        let mut items = Vec::new();
        while !self.skip(close) {
            if !items.is_empty() {
                self.expect(",")?;
                if self.skip(close) {
                    break;
                }
            }
            items.push(self.nested(&mut item)?);
        }
        Ok(items)
    }

    fn postfix(&mut self, mut code: String) -> Result<String> {
        loop {
            if self.skip(".") {
                code = self.attribute(&code)?;
            } else if self.skip("[") {
                code = self.subscript(&code)?;
            } else if self.is_at("(") {
                code = self.call(&code)?;
            } else {
                return Ok(code);
            }
        }
    }

    fn attribute(&mut self, code: &str) -> Result<String> {
        match self.tokens.next() {
            Some(Token::Integer(index)) => Ok(format!("{code}[{index}]")),
            Some(Token::Name(name)) => Ok(if is_attribute(name.as_str()) && !self.is_at("(") {
                format!("__attribute({code}, {})", quoted(&name))
            } else {
                // A number's point would be read as a fraction's.
                let code = if code.ends_with(|last: char| last.is_ascii_digit())
                    && code.bytes().all(|byte| byte.is_ascii_digit())
                {
                    format!("({code})")
                } else {
                    code.to_owned()
                };
                format!("{code}.{name}")
            }),
            _ => Err("expected a name or a number behind .".to_owned()),
        }
    }

    fn subscript(&mut self, code: &str) -> Result<String> {
        let mut parts: [Option<String>; 3] = [None, None, None];
        let mut colons = 0;
        while !self.is_at("]") {
            if self.skip(":") {
                colons += 1;
                if colons > 2 {
                    return Err("unexpected : in a slice".to_owned());
                }
            } else if parts[colons].is_none() {
                parts[colons] = Some(self.expression()?);
                if self.is_at(",") {
                    return Err("a subscript with commas is not known here".to_owned());
                }
            } else {
                return Err(self.unexpected(", expected ]"));
            }
        }
        self.expect("]")?;
        let [start, stop, step] = parts;
        if colons > 0 {
            let part = |part: Option<String>| part.unwrap_or_else(|| "none".to_owned());
            return Ok(format!("__slice({code}, {}, {}, {})", part(start), part(stop), part(step)));
        }
        let index = start.ok_or("an empty subscript")?;
        let digits = index.strip_prefix('-').unwrap_or(&index);
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit())
            || (index.starts_with('"') && !is_attribute(index.trim_matches('"')));
        Ok(if is_plain { format!("{code}[{index}]") } else { format!("__item({code}, {index})") })
    }

    fn call(&mut self, code: &str) -> Result<String> {
        let arguments = self.arguments()?;
        if code.rsplit('.').next() == Some("cycle")
            && arguments.iter().all(|argument| argument.starts_with('*'))
        {
            return Err("cycle needs something to go through".to_owned());
        }
        // A recursive loop goes over what it is given as the loop itself does.
        Ok(if code == "loop" {
            format!("loop(__items({}, 0))", arguments.join(", "))
        } else {
            format!("{code}({})", arguments.join(", "))
        })
    }

    fn arguments(&mut self) -> Result<Vec<String>> {
        self.expect("(")?;
        let mut named: Vec<String> = Vec::new();
        let mut spread = (false, false);
        self.listed(")", |parser| {
            if parser.skip("**") {
                spread.1 = true;
                return Ok(format!("**{}", parser.expression()?));
            }
            if parser.skip("*") {
                if spread.0 || spread.1 {
                    return Err("unexpected * in a call".to_owned());
                }
                spread.0 = true;
                return Ok(format!("*{}", parser.expression()?));
            }
            if matches!(parser.tokens.peek(), Some(Token::Name(_))) && parser.second_is(&Token::Operator("="))
            {
                let name = parser.name()?;
                parser.expect("=")?;
                if named.contains(&name) {
                    return Err(format!("the argument {name} stands twice in a call"));
                }
                named.push(name.clone());
                return Ok(format!("{name}={}", parser.expression()?));
            }
            if spread.0 || spread.1 || !named.is_empty() {
                return Err("an argument without a name behind one with a name".to_owned());
            }
            parser.expression()
        })
    }

    /// Filters and tests behind a value.
    fn filters(&mut self, mut code: String) -> Result<String> {
        loop {
            if self.skip("|") {
                let filter = self.filter()?;
                code = format!("{code}|{filter}");
            } else if self.skip_name("is") {
                code = self.test(&code)?;
            } else if self.is_at("(") {
                code = self.call(&code)?;
            } else {
                return Ok(code);
            }
        }
    }

    /// A filter's name and arguments.
    pub(super) fn filter(&mut self) -> Result<String> {
        let mut name = self.name()?;
        while self.skip(".") {
            let _ = write!(name, ".{}", self.name()?);
        }
        if name.contains('.') {
            return Err(format!("the filter {name} is not known"));
        }
        if self.is_at("(") {
            let _ = write!(name, "({})", self.arguments()?.join(", "));
        }
        Ok(name)
    }

    fn test(&mut self, code: &str) -> Result<String> {
        let negated = if self.skip_name("not") { "not " } else { "" };
        let name = self.name()?;
        let arguments = match self.tokens.peek() {
            Some(Token::Operator("(")) => self.arguments()?,
            Some(Token::Name(next)) if ["else", "or", "and"].contains(&next.as_str()) => Vec::new(),
            Some(Token::Name(next)) if next == "is" => {
                return Err("tests cannot be chained with is".to_owned());
            }
            Some(
                Token::Name(_)
                | Token::Text(_)
                | Token::Integer(_)
                | Token::Float(_)
                | Token::Operator("[" | "{"),
            ) => {
                let argument = self.nested(Self::primary)?;
                vec![self.postfix(argument)?]
            }
            _ => Vec::new(),
        };
        // A name of minijinja's own.
        let name = if name == "in" { "__in".to_owned() } else { name };
        Ok(if arguments.is_empty() {
            format!("({code} is {negated}{name})")
        } else {
            format!("({code} is {negated}{name}({}))", arguments.join(", "))
        })
    }

    /// A namespace's attribute that a template may set.
    fn own_attribute(&mut self) -> Result<String> {
        let name = self.name()?;
        if name.starts_with('_') {
            return Err(format!("a name in a namespace may not begin with _, as {name} does"));
        }
        Ok(name)
    }

    /// What may be assigned to: a name, a namespace's attribute, or several of them; and how many.
    pub(super) fn target(&mut self, ends: &[&str]) -> Result<(String, usize)> {
        let mut targets = Vec::new();
        let mut is_tuple = false;
        loop {
            let ended = match self.tokens.peek() {
                None | Some(Token::Operator("=" | ")" | "|")) => true,
                Some(Token::Name(name)) => ends.contains(&name.as_str()),
                Some(_) => false,
            };
            if ended {
                break;
            }
            targets.push(if self.skip("(") {
                let (inner, count) = self.nested(|parser| parser.target(&[]))?;
                self.expect(")")?;
                if count > 1 { format!("({inner})") } else { inner }
            } else {
                let name = self.name()?;
                if self.skip(".") { format!("{name}.{}", self.own_attribute()?) } else { name }
            });
            if !self.skip(",") {
                break;
            }
            is_tuple = true;
        }
        match targets.len() {
            0 => Err(self.unexpected(", expected a name")),
            1 if is_tuple => Ok((format!("{},", targets[0]), 2)),
            1 => Ok((targets.remove(0), 1)),
            count => Ok((targets.join(", "), count)),
        }
    }
}

fn joined(mut parts: Vec<String>, between: &str) -> String {
    if parts.len() == 1 { parts.remove(0) } else { format!("({})", parts.join(between)) }
}

fn added(mut terms: Vec<String>) -> String {
    if terms.len() == 1 { terms.remove(0) } else { format!("__add({})", terms.join(", ")) }
}

fn tuple_of(items: &[String]) -> String {
    match items {
        [one] => format!("({one},)"),
        items => format!("({})", items.join(", ")),
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Name(name) => name.clone(),
        Token::Text(text) => format!("{text:?}"),
        Token::Integer(value) => value.to_string(),
        Token::Float(value) => value.to_string(),
        Token::Operator(operator) => (*operator).to_owned(),
    }
}
