//! The names of the methods of Python's `str`, `list`, `tuple`, `range` and `dict`: what a rewritten template may call, and what no key of the
//! same name replaces. It must not know what they do; that stands in `template/python/`.

pub(crate) const OF_TEXT: [&str; 47] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];
/// Of lists, tuples and ranges.
pub(crate) const OF_SEQUENCE: [&str; 2] = ["count", "index"];
/// Of lists alone. Jinja's sandbox hides those that change one.
pub(crate) const OF_LIST: [&str; 1] = ["copy"];
pub(crate) const CHANGING_LIST: [&str; 8] =
    ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];
/// Jinja's sandbox hides those that change a dict.
pub(crate) const OF_DICT: [&str; 6] = ["copy", "fromkeys", "get", "items", "keys", "values"];
pub(crate) const CHANGING_DICT: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];

/// Whether a text, a list, a tuple, a range or a dict has such a method in Python.
pub(crate) fn is_method(name: &str) -> bool {
    let all: [&[&str]; 6] = [&OF_TEXT, &OF_SEQUENCE, &OF_LIST, &CHANGING_LIST, &OF_DICT, &CHANGING_DICT];
    all.iter().any(|names| names.contains(&name))
}
