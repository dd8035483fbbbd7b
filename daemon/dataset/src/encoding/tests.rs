use encoding_rs::{BIG5, EUC_KR, GBK, MACINTOSH, SHIFT_JIS, UTF_8, WINDOWS_1250, WINDOWS_1251, WINDOWS_1252};
use expect_test::expect;

use super::*;
use crate::testing::{check_bytes, read_files};

fn told(bytes: &[u8]) -> Encoding {
    let mut all = Vec::new();
    for chunk in [1, 7, 4096] {
        let mut look = Look::default();
        bytes.chunks(chunk).for_each(|chunk| look.push(chunk));
        all.push(look.finish().unwrap_or_else(|| {
            let mut trial = Trial::default();
            bytes.chunks(chunk).for_each(|chunk| trial.push(chunk));
            trial.finish()
        }));
    }
    assert!(all.iter().all(|each| *each == all[0]), "{all:?}");
    all[0]
}

fn in_encoding(encoding: &'static encoding_rs::Encoding, text: &str) -> Vec<u8> {
    let (bytes, _, lost) = encoding.encode(text);
    assert!(!lost, "{text:?} is not in {}", encoding.name());
    bytes.into_owned()
}

fn utf16(text: &str, little_endian: bool) -> Vec<u8> {
    text.encode_utf16()
        .flat_map(|unit| if little_endian { unit.to_le_bytes() } else { unit.to_be_bytes() })
        .collect()
}

const FRENCH: &str =
    "Le café de la gare est fermé, et le pain y était très bon. « Ça suffit », dit-elle – déjà l’été.";
const GERMAN: &str = "Größe;Straße;Öl\n„Schön“ heißt das Café für zwölf Euro: 12 €\n";
const CHINESE: &str = "问题,答案\n面馆的汤很浓，吃完一身汗。,老板娘说：“下雨天更好吃！”\n";
const LETTERS: [&str; 4] =
    ["Müller", "smörgåsbord", "Ångström und São Paulo", "¿Qué pasó en el año 1999? ¡Nada, señor!"];

#[test]
fn what_is_utf8_is_nothing_else() {
    for text in ["", "plain", FRENCH, GERMAN, CHINESE, "Ã©", "联通", "\u{feff}x", "🍜", "ÄÖ"] {
        assert_eq!(told(text.as_bytes()), Encoding::Utf8, "{text}");
    }
    let mut mixed = CHINESE.as_bytes().to_vec();
    mixed.extend(b"caf\xe9");
    assert_eq!(told(&mixed), Encoding::Utf8, "and the one byte is named");
}

#[test]
fn what_spreadsheets_save_is_told() {
    for text in [FRENCH, GERMAN].into_iter().chain(LETTERS) {
        assert_eq!(told(&in_encoding(WINDOWS_1252, text)), Encoding::Windows1252, "{text}");
    }
    assert_eq!(told(b"text\ncaf\xe9\nfine\n"), Encoding::Windows1252);
    let traditional = "今天下雨，我們去麵館吃麵。湯很濃，老闆娘很親切。";
    for text in [CHINESE, traditional, "问,答\n好,不好\n", "{\"text\": \"雨天的面馆\"}"] {
        assert_eq!(told(&in_encoding(GBK, text)), Encoding::Gb18030, "{text}");
    }
    let rare = encoding_rs::GB18030.encode("面馆🍜今天休息，明天再来吃面。").0.into_owned();
    assert_eq!(told(&rare), Encoding::Gb18030);
    for text in [
        FRENCH,
        GERMAN,
        CHINESE,
        "hi",
        "text\nfine\n",
        "雨天的面馆，汤很浓。",
        "Привет, мир\n",
        "こんにちは\n",
        "🍜 soup",
    ] {
        for little_endian in [true, false] {
            let bytes = utf16(text, little_endian);
            assert_eq!(told(&bytes), Encoding::Utf16 { little_endian, marked: false }, "{text}");
            let marked = [utf16("\u{feff}", little_endian), bytes].concat();
            assert_eq!(told(&marked), Encoding::Utf16 { little_endian, marked: true }, "{text}");
        }
    }
}

#[test]
fn what_could_be_something_else_is_not_guessed() {
    const RUSSIAN: &str = "Привет, мир. Сегодня хорошая погода, и мы идём гулять в парк.";
    const POLISH: &str = "Zażółć gęślą jaźń, proszę bardzo, miły człowieku z Łodzi.";
    const CZECH: &str = "Příliš žluťoučký kůň úpěl ďábelské ódy na řece.";
    for (encoding, text) in [
        (WINDOWS_1251, RUSSIAN),
        (encoding_rs::KOI8_R, RUSSIAN),
        (WINDOWS_1250, POLISH),
        (WINDOWS_1250, CZECH),
        (MACINTOSH, FRENCH),
        (MACINTOSH, GERMAN),
        (EUC_KR, "오늘은 비가 와서 국수집에 갔다. 국물이 아주 진하고 맛있었다."),
        (SHIFT_JIS, "今日は雨なので、うどん屋に行きました。とてもおいしかったです。"),
        (encoding_rs::EUC_JP, "今日は雨なので、うどん屋に行きました。とてもおいしかったです。"),
        (BIG5, "今天下雨，我們去麵館吃麵。湯很濃，老闆娘很親切。"),
    ] {
        assert_eq!(told(&in_encoding(encoding, text)), Encoding::Utf8, "{} {text}", encoding.name());
    }
    // DOS's é and ü; a picture; UTF-32; half a pair; nothing but a mark.
    for bytes in [
        &b"caf\x82 au lait, d\x82j\x85 vu, M\x81ller"[..],
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x03",
        b"\xff\xfe\0\0h\0\0\0i\0\0\0",
        b"h\0i\0\0\xd8",
        b"\xff",
        b"text\n\xd3\xea\n",
        b"\xc4\xd6",
        b"h\0i\0!",
    ] {
        assert_eq!(told(bytes), Encoding::Utf8, "{bytes:?}");
    }
    assert_eq!(UTF_8.name(), "UTF-8");
}

#[test]
fn every_format_is_read_in_every_encoding_with_its_own_lines() {
    let gbk = |text| in_encoding(GBK, text);
    let latin = |text| in_encoding(WINDOWS_1252, text);
    let json = "[\r\n {\"text\": \"雨天\"},\r\n {\"text\": 5}\r\n]";
    check_bytes(
        &[
            ("a.txt", &gbk("雨天的面馆\r\n汤很浓。\r\n---\r\n第二篇")),
            ("b.md", &latin("# Café\n\nDéjà vu.\n")),
            ("c.csv", &utf16("\u{feff}Question;Answer\r\nwhat?;\"two\r\nlines\"\r\nc;d\r\n", true)),
            ("d.tsv", &utf16("问题\t答案\n甲\t乙\n", true)),
            ("e.json", &utf16(json, false)),
            ("f.jsonl", &gbk("{\"text\": \"面\"}\n\n{\"text\": \"汤\"\n")),
        ],
        &expect![[r##"
            a.txt:1-2 "雨天的面馆\n汤很浓。"
            a.txt:4-4 "第二篇"
            b.md:1-3 "# Café\n\nDéjà vu."
            c.csv:2-3 "what?" -> "two\nlines"
            c.csv:4-4 "c" -> "d"
            d.tsv:2-2 "甲" -> "乙"
            e.json:2-2 "雨天"
            f.jsonl:1-1 "面"
            a.txt:1-1 HP024 other-encoding: the file is not UTF-8; it is read as GB18030 (Chinese)
            b.md:1-1 HP024 other-encoding: the file is not UTF-8; it is read as windows-1252 (western European)
            c.csv:1-1 HP024 other-encoding: the file is not UTF-8; it is read as UTF-16LE (the mark at its start says so)
            d.tsv:1-1 HP024 other-encoding: the file is not UTF-8; it is read as UTF-16LE (without a mark)
            e.json:1-1 HP024 other-encoding: the file is not UTF-8; it is read as UTF-16BE (without a mark)
            e.json:3-3 HP010 wrong-type: "text" must be text; this is a number
            f.jsonl:1-1 HP024 other-encoding: the file is not UTF-8; it is read as GB18030 (Chinese)
            f.jsonl:3-3, column 13 HP003 invalid-json: the line ends too early: it ended while parsing an object
        "##]],
    );
}

#[test]
fn a_line_may_end_in_three_ways_in_every_format() {
    let files = |end: &str| -> Vec<(String, Vec<u8>)> {
        [
            ("a.txt", "one\ntwo\n---\nthree\n"),
            ("b.md", "---\ntitle: T\n---\nbody\n"),
            ("c.csv", "text,id\n\"a\nb\",1\nc,2\n"),
            ("d.tsv", "question\tanswer\nq\ta\n"),
            ("e.jsonl", "{\"text\": \"e1\"}\n\n{\"text\": 5}\n{\"text\": \"e2\"}\n"),
            ("f.json", "[{\"text\":\n\"f1\"},\n{\"text\": \"f2\"}]\n"),
        ]
        .map(|(name, text)| (name.to_owned(), text.replace('\n', end).into_bytes()))
        .into()
    };
    let read = |end: &str| {
        let files = files(end);
        let files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        let dataset = read_files(&files);
        (dataset.examples, dataset.findings)
    };
    let (examples, findings) = read("\n");
    assert_eq!((examples.len(), findings.len()), (10, 1));
    for end in ["\r\n", "\r"] {
        assert_eq!(read(end), (examples.clone(), findings.clone()), "{end:?}");
    }
}
