//! Every format, read from a file as a folder's files are, and the recipe; see `tests/fuzz/README.md`.

use std::collections::HashSet;
use std::path::PathBuf;

use hotplate_fuzz::fuzz;

use crate::content::Content;
use crate::recipe;
use crate::testing::count_characters;
use crate::{Dataset, Limits, read_one};

/// A file in memory, where the system has such a folder.
struct Place {
    _folder: tempfile::TempDir,
    file: PathBuf,
}

impl Place {
    fn new(name: &str) -> Place {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.unwrap();
        Place { file: folder.path().join(name), _folder: folder }
    }

    fn read(&self, bytes: &[u8]) -> Dataset {
        std::fs::write(&self.file, bytes).unwrap();
        let limits = Limits {
            max_tokens: 60,
            measure: Some(&count_characters),
            max_record_bytes: 4000,
            ..Limits::default()
        };
        let dataset = read_one(&self.file, &limits).unwrap();
        assert_eq!(dataset.examples.len(), dataset.measured.len());
        for finding in &dataset.findings {
            assert!(1 <= finding.lines.0 && finding.lines.0 <= finding.lines.1, "{finding:?}");
        }
        let mut ids = HashSet::new();
        for example in &dataset.examples {
            assert!(1 <= example.lines.0 && example.lines.0 <= example.lines.1, "{example:?}");
            assert!(!example.content.is_empty() && ids.insert(example.id), "{example:?}");
        }
        dataset
    }
}

fn letters(text: &str) -> usize {
    text.chars().filter(|char| char.is_alphanumeric()).count()
}

const MARKDOWN: &[&str] = &[
    "---\n",
    "+++\n",
    ";;;\n",
    "...\n",
    "title: ",
    "date: 2026\n",
    "draft: true\n",
    "标题: ",
    "- ",
    "> ",
    "# ",
    "\n\n",
    "\r\n",
    "```\n",
    "~~~\n",
    "<!--\n",
    "-->\n",
    "{\n",
    "}\n",
    "\"title\": ",
    "title = ",
    "[a, b]\n",
    "|\n  ",
    ">-\n  ",
    "&a ",
    "*a ",
    "!!str ",
    "? ",
    "\"\"\"",
    "'''",
    "===\n",
    ". ",
    "。",
    "{% raw %}\n",
    "% ",
    ".. title: ",
];

#[test]
fn fuzz_markdown() {
    let place = Place::new("a.md");
    let seeds: &[&[u8]] = &[
        b"---\ntitle: Soup\ntags: [a, b]\nx:\n  - y: |\n      z\n---\n\n# Soup\n\nText.\n\n---\n\nMore.\n",
        b"+++\ntitle = \"Rye\"\ndate = 2026-03-01\ndraft = false\n[extra]\nx = [1, 2]\n+++\nText.\n",
        b"{\n  \"title\": \"Plait\",\n  \"x\": {\"y\": [1]}\n}\n\nText.\n",
        b"title: Oats\ndate: 2026-03-01\n---\nText.\n",
        b"\"title\": \"Oats\",\n\"date\": \"2026\"\n;;;\nText.\n",
        b"Title: Peas\nDate: 2026\n    more\n\nText.\n",
        b"<!--\n.. title: Soup\n.. slug: soup\n-->\nText.\n",
        b"% Soup\n% A. Cook\n\nText.\n",
        b"Breakfast\n---\n\nRye.\n\n```yaml\n---\na: b\n```\n\n> quoted\n---\nA sentence. And another one. And a third one, longer.\n",
    ];
    fuzz("markdown", seeds, MARKDOWN, |bytes| {
        place.read(bytes);
    });
}

#[test]
fn fuzz_plain_text_loses_nothing() {
    let place = Place::new("a.txt");
    let seeds: &[&[u8]] = &[
        b"A note.\n---\nAnother note, which is longer. It has sentences. It goes on and on, and is divided.\n\n# And a heading\n\nMore.\n",
        "汤很浓。面很好。我们又来了。汤很浓。面很好。我们又来了。汤很浓。面很好。我们又来了。汤很浓。面很好。我们又来了。汤很浓。".as_bytes(),
    ];
    fuzz("plain-text", seeds, MARKDOWN, |bytes| {
        let dataset = place.read(bytes);
        let Ok(text) = str::from_utf8(bytes) else { return };
        if !text.contains('\0') && dataset.findings.iter().all(|finding| !finding.code.skips()) {
            let learnt = dataset.examples.iter().map(|example| match &example.content {
                Content::Text(text) => letters(text),
                _ => 0,
            });
            assert_eq!(learnt.sum::<usize>(), letters(text));
            assert!(dataset.measured.iter().all(|measured| measured.tokens <= 60));
        }
    });
}

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u00e9",
    "\\ud83d",
    "null",
    "true",
    "NaN",
    "-Infinity",
    "1e999",
    "\"text\": ",
    "\"prompt\": ",
    "\"completion\": ",
    "\"messages\": [",
    "{\"role\": \"user\", \"content\": \"a\"}",
    "{\"role\": \"assistant\", \"content\": \"b\", \"weight\": 0}",
    "\"tools\": ",
    "\"tool_calls\": ",
    "\"arguments\": ",
    "\"conversations\": ",
    "\"from\": \"gpt\", \"value\": \"c\"",
    "\"instruction\": ",
    "\"output\": ",
    "\"chosen\": ",
    "\"data\": [",
    "\n",
    "\r",
    "\u{feff}",
];

const RECORDS: &[&[u8]] = &[
    b"{\"text\": \"a\"}\n{\"prompt\": \"p\", \"completion\": \"c\"}\n",
    b"{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"u\"}, {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"1\", \"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}}]}, {\"role\": \"tool\", \"content\": \"t\"}, {\"role\": \"assistant\", \"content\": \"b\", \"weight\": 1}], \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {}}}]}\n",
    b"{\"conversations\": [{\"from\": \"human\", \"value\": \"q\"}, {\"from\": \"gpt\", \"value\": \"a\"}], \"system\": \"s\"}\n",
    b"{\"instruction\": \"i\", \"input\": \"n\", \"output\": \"o\", \"history\": [[\"q\", \"a\"]]}\n",
    b"{\"prompt\": [{\"role\": \"user\", \"content\": \"u\"}], \"completion\": [{\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}]}]}\n",
    b"{\"prompt\": \"p\", \"chosen\": \"c\", \"rejected\": \"r\"}\n",
];

#[test]
fn fuzz_jsonl() {
    let place = Place::new("a.jsonl");
    fuzz("jsonl", RECORDS, JSON, |bytes| {
        place.read(bytes);
    });
}

#[test]
fn fuzz_json() {
    let place = Place::new("a.json");
    let seeds: &[&[u8]] = &[
        b"[{\"text\": \"a\"}, {\"prompt\": \"p\", \"completion\": \"c\"}]",
        b"{\"version\": 1, \"data\": [{\"text\": \"a\"},\n{\"text\": \"b\"}], \"test\": []}",
        b"{\"text\": \"one record\"}",
        b"{\"text\": \"a\"}\n{\"text\": \"b\"}\n",
        RECORDS[1],
    ];
    fuzz("json", seeds, JSON, |bytes| {
        place.read(bytes);
    });
}

const TABLE: &[&str] = &[
    ",",
    ";",
    "\t",
    "\"",
    "\"\"",
    "\n",
    "\r\n",
    "\r",
    "text",
    "prompt",
    "completion",
    "messages",
    "[{\"role\": \"user\", \"content\": \"a\"}]",
    "null",
    "NaN",
    "1.0",
    "\u{feff}",
    "sep=;\n",
    "question",
    "answer",
];

#[test]
fn fuzz_csv() {
    let place = Place::new("a.csv");
    let seeds: &[&[u8]] = &[
        b"prompt,completion\np,c\n\"p, 2\",\"c\n\"\"2\"\"\"\n",
        b"text;weight\na;1\nb;0.5\n",
        b"messages\n\"[{\"\"role\"\": \"\"user\"\", \"\"content\"\": \"\"a\"\"}, {\"\"role\"\": \"\"assistant\"\", \"\"content\"\": \"\"b\"\"}]\"\n",
        b"\xff\xfet\0e\0x\0t\0\n\0a\0\n\0",
    ];
    fuzz("csv", seeds, TABLE, |bytes| {
        place.read(bytes);
    });
}

#[test]
fn fuzz_tsv() {
    let place = Place::new("a.tsv");
    fuzz("tsv", &[b"prompt\tcompletion\np\tc\n\"p\t2\"\tc\n", b"text\na\n"], TABLE, |bytes| {
        place.read(bytes);
    });
}

#[test]
fn fuzz_parquet() {
    use std::sync::Arc;

    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    let schema = "message m { required binary prompt (UTF8); optional binary completion (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut whole = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut whole, schema, Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let texts = |texts: [&str; 2]| texts.map(ByteArray::from);
    for (values, levels) in [(texts(["p", "q"]), None), (texts(["c", "d"]), Some([1, 1]))] {
        let mut column = group.next_column().unwrap().unwrap();
        let levels = levels.as_ref().map(<[i16; 2]>::as_slice);
        column.typed::<ByteArrayType>().write_batch(&values, levels, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let place = Place::new("a.parquet");
    assert_eq!(place.read(&whole).examples.len(), 2);
    fuzz("parquet", &[&whole], &["PAR1", "prompt", "UTF8"], |bytes| {
        place.read(bytes);
    });
}

#[test]
fn fuzz_recipe() {
    let words = [
        "base = ",
        "rank = ",
        "prompts = [",
        "]\n",
        "\"\"\"",
        "'''",
        "[a]\n",
        "[[a]]\n",
        "= ",
        ".",
        "{",
        "}",
        "0x",
        "1e9",
        "inf",
        "nan",
        "true",
        "2026-01-01",
        "#",
        "\"",
        "\\u00e9",
        "style = \"instruct\"\n",
        "target_modules = ",
        "learning_rate = ",
    ];
    let seeds: &[&[u8]] = &[
        b"base = \"x\"\nrank = 8\nlearning_rate = 1e-4\nprompts = [\"a\",\n  \"b\"]\n# comment\n",
        b"r = 8\nlora_alpha = 16\n[optimizer]\nname = \"adamw\"\n",
    ];
    fuzz("recipe", seeds, &words, |bytes| {
        if let Ok(text) = str::from_utf8(bytes) {
            let lines = text.lines().count().max(1);
            if let Err(error) = recipe::parse(text) {
                assert!(
                    error.problems.iter().all(|problem| (1..=lines + 1).contains(&problem.line)),
                    "{error}"
                );
            }
        }
    });
}
