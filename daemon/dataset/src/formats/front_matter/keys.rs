//! What the keys of a front matter block mean, in the words of blog engines and of those who write with them.

use super::entries::Entry;

/// Keys that name a text. Compared without case, like all below.
#[rustfmt::skip]
const TITLE: &[&str] = &[
    "title", "标题", "標題", "题目", "題目", "タイトル", "제목", "titel", "titre", "título", "titulo", "titolo", "заголовок", "название",
    "tytuł", "otsikko", "başlık", "العنوان", "عنوان", "כותרת", "शीर्षक", "tiêu đề", "judul", "название поста",
];

const DRAFT: &[&str] = &[
    "draft",
    "isdraft",
    "草稿",
    "下書き",
    "초안",
    "entwurf",
    "brouillon",
    "borrador",
    "rascunho",
    "bozza",
    "черновик",
];

const PUBLISHED: &[&str] = &["published", "ispublished", "发布", "發佈", "公開"];

const STATUS: &[&str] = &["status", "poststatus", "状态", "狀態"];

/// Keys that blog engines and note programs write, beside those above. Blanks, `-` and `_` are taken out.
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    "abstract", "alias", "aliases", "author", "authors", "banner", "categories", "category", "comments", "cover", "coverimage",
    "created", "createdat", "cssclass", "cssclasses", "date", "datecreated", "datemodified", "dateupdated", "description", "eleventynavigation",
    "excerpt", "expirydate", "extra", "featured", "featuredimage", "image", "images", "keywords", "lang", "language", "lastmod",
    "lastupdated", "layout", "license", "linktitle", "locale", "mathjax", "menu", "metadescription", "modified", "navorder", "pagetitle", "params",
    "permalink", "pubdate", "publishdate", "published", "redirectfrom", "series", "shorttitle", "sidebarlabel", "sidebarposition", "slug", "subtitle",
    "summary", "tag", "tags", "taxonomies", "template", "thumbnail", "toc", "topics", "translationkey", "updated", "updatedat", "url", "uuid", "weight",
    "作者", "分类", "分類", "日期", "时间", "時間", "标签", "標籤", "摘要", "描述", "日付", "タグ", "カテゴリー", "著者", "날짜", "태그", "datum", "autor",
    "kategorien", "auteur", "étiquettes", "fecha", "etiquetas", "categorías", "autore", "data", "categorie", "дата", "теги", "автор", "التاريخ",
];

/// Keys that only the card of a dataset has, as the hub's own pages write them.
#[rustfmt::skip]
const CARD: &[&str] = &[
    "annotationscreators", "configs", "datasetinfo", "languagecreators", "license", "licensename", "multilinguality", "paperswithcodeid", "prettyname",
    "sizecategories", "sourcedatasets", "taskcategories", "taskids",
];

/// What is asked of a block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) title: Option<String>,
    /// The key and value that say that the text is not finished.
    pub(crate) draft: Option<String>,
    /// A key that only a dataset's card has.
    pub(crate) card: Option<String>,
}

impl Meta {
    pub(super) fn of(entries: &[Entry]) -> Meta {
        let value = |keys: &[&str]| {
            let entry = entries.iter().find(|entry| keys.contains(&plain(&entry.key).as_str()));
            entry.and_then(|entry| Some((entry.key.as_str(), entry.value.as_deref()?.trim())))
        };
        let is = |value: &str, words: &[&str]| words.contains(&value.to_lowercase().as_str());
        let titles: Vec<String> = TITLE.iter().map(|key| plain(key)).collect();
        let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
        let draft = value(DRAFT)
            .filter(|(_, value)| is(value, &["true", "yes", "on", "y", "1", "是"]))
            .or_else(|| {
                value(PUBLISHED).filter(|(_, value)| is(value, &["false", "no", "off", "n", "0", "否"]))
            })
            .or_else(|| value(STATUS).filter(|(_, value)| is(value, DRAFT)));
        Meta {
            title: value(&titles)
                .map(|(_, title)| title.to_owned())
                .filter(|title| !title.is_empty() && title != "~"),
            draft: draft.map(|(key, value)| format!("{key}: {value}")),
            card: entries
                .iter()
                .find(|entry| CARD.contains(&plain(&entry.key).as_str()))
                .map(|entry| entry.key.clone()),
        }
    }
}

/// How sure it is that a list of keys is front matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sureness {
    /// It names the text, or two of the keys are known.
    Titled,
    /// One key is known.
    Known,
    /// Values as programs have them: numbers, dates, single words, lists.
    Data,
    /// No key is known, and values have blanks.
    Unknown,
    /// A value is a sentence: a note of which every line begins with a word and a colon.
    Prose,
}

pub(super) fn sureness(entries: &[Entry]) -> Sureness {
    let known = entries.iter().filter(|entry| is_known(&entry.key)).count();
    if known >= 2 || entries.iter().any(|entry| is_title(&entry.key)) {
        return Sureness::Titled;
    }
    let values = || entries.iter().filter_map(|entry| entry.value.as_deref());
    match known {
        1 => Sureness::Known,
        _ if values().any(is_sentence) => Sureness::Prose,
        _ if values().all(|value| !value.trim().contains(char::is_whitespace)) => Sureness::Data,
        _ => Sureness::Unknown,
    }
}

pub(super) fn is_title(key: &str) -> bool {
    let key = plain(key);
    TITLE.iter().any(|known| plain(known) == key)
}

pub(super) fn is_known(key: &str) -> bool {
    let key = plain(key);
    [DRAFT, PUBLISHED, STATUS, OTHERS].iter().any(|keys| keys.contains(&key.as_str())) || is_title(&key)
}

fn is_sentence(value: &str) -> bool {
    let value = value.trim();
    value.ends_with(['。', '！', '？'])
        || (value.ends_with(['.', '!', '?', '…']) && value.split_whitespace().nth(1).is_some())
}

/// Without case, blanks, `-` and `_`.
fn plain(key: &str) -> String {
    key.chars().filter(|char| !matches!(char, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

/// The key of a line such as `title: Soup` or `"title": "Soup",`; a whole sentence is none.
pub(super) fn key_of(line: &str) -> Option<&str> {
    const LONGEST: usize = 40;
    let key = match line.chars().next()? {
        quote @ ('"' | '\'') => {
            let (key, rest) = line.get(1..)?.split_once(quote)?;
            rest.trim_start().starts_with(':').then_some(key)?
        }
        first if first.is_alphanumeric() || first == '_' => {
            let end = line.char_indices().find(|(at, char)| {
                *char == ':'
                    && line.get(at + 1..).is_none_or(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
            });
            line.get(..end?.0)?.trim_end()
        }
        _ => return None,
    };
    let good = !key.is_empty()
        && key.chars().count() <= LONGEST
        && !key.contains(['.', ',', ';', '!', '?', '。', '，']);
    good.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(list: &[(&str, &str)]) -> Vec<Entry> {
        list.iter()
            .map(|(key, value)| Entry { key: (*key).to_owned(), value: Some((*value).to_owned()) })
            .collect()
    }

    #[test]
    fn what_is_a_draft() {
        let draft = |key, value| Meta::of(&entries(&[(key, value)])).draft;
        for (key, value) in [
            ("draft", "true"),
            ("Draft", "Yes"),
            ("published", "false"),
            ("Status", "draft"),
            ("草稿", "true"),
            ("is_draft", "1"),
        ] {
            assert_eq!(draft(key, value).as_deref(), Some(format!("{key}: {value}").as_str()));
        }
        for (key, value) in [
            ("draft", "false"),
            ("published", "true"),
            ("published", "2026-01-01"),
            ("status", "published"),
            ("draft", ""),
        ] {
            assert_eq!(draft(key, value), None, "{key}: {value}");
        }
    }

    #[test]
    fn titles_in_several_tongues_and_no_title() {
        let title = |key, value| Meta::of(&entries(&[("x", "y"), (key, value)])).title;
        for key in ["title", "Title", "TITLE", "标题", "タイトル", "Tiêu đề"] {
            assert_eq!(title(key, " Soup ").as_deref(), Some("Soup"), "{key}");
        }
        assert_eq!((title("title", "~"), title("title", ""), title("name", "Soup")), (None, None, None));
    }

    #[test]
    fn lines_with_a_key() {
        for (line, key) in [
            ("title: Soup", "title"),
            ("date created: 2026", "date created"),
            ("标题: x", "标题"),
            ("tags:", "tags"),
            ("\"title\": \"x\",", "title"),
            ("'my key' : x", "my key"),
            ("url: http://x.y", "url"),
        ] {
            assert_eq!(key_of(line), Some(key), "{line}");
        }
        for line in [
            "",
            "- item",
            "http://x.y",
            "I went there, and: nothing",
            "# title: x",
            " indented: x",
            "12:30 lunch",
            "\"quoted\" text",
        ] {
            assert_eq!(key_of(line), None, "{line}");
        }
    }

    #[test]
    fn tables_are_in_their_plain_form() {
        for key in [DRAFT, PUBLISHED, STATUS, OTHERS, CARD].concat() {
            assert_eq!(plain(key), key);
        }
    }
}
