//! Text literals: Python's escapes read, minijinja's written.

/// What a literal's inside means in Python.
pub(super) fn unescaped(inside: &str) -> Result<String, String> {
    let mut out = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(char) = rest.chars().next() else { break };
        rest = &rest[char.len_utf8()..];
        match char {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(char),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            'x' => rest = coded(&mut out, 'x', rest, 2)?,
            'u' => rest = coded(&mut out, 'u', rest, 4)?,
            'U' => rest = coded(&mut out, 'U', rest, 8)?,
            'N' => rest = named(&mut out, rest)?,
            '0'..='7' => {
                let more = rest.bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                let digits = format!("{char}{}", &rest[..more]);
                rest = &rest[more..];
                out.extend(u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32));
            }
            other => out.extend(['\\', other]),
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn coded<'a>(out: &mut String, kind: char, rest: &'a str, digits: usize) -> Result<&'a str, String> {
    let text = rest.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let text = text.ok_or_else(|| format!("\\{kind} in a text needs {digits} hexadecimal digits"))?;
    let char = u32::from_str_radix(text, 16).ok().and_then(char::from_u32);
    out.push(char.ok_or_else(|| format!("\\{kind}{text} in a text is no character"))?);
    Ok(&rest[digits..])
}

fn named<'a>(out: &mut String, rest: &'a str) -> Result<&'a str, String> {
    let name = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    let (name, rest) = name.ok_or("\\N in a text needs a name in braces")?;
    out.push(unicode_names2::character(name).ok_or_else(|| format!("no character is named {name}"))?);
    Ok(rest)
}

/// A literal that minijinja reads as `text`; on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}
