//! The rim of the crate: reads a folder from disk. All judgement is in the modules that it feeds.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::collect::Collector;
use crate::columns::{Columns, Use};
use crate::content::{ContentHash, Example};
use crate::encoding::{Encoding, Look, ToUtf8, Trial};
use crate::findings::{
    Finding, conflict_copy, dataset_card, missing_column, other_encoding, unreadable, unsupported_file,
};
use crate::folder::{Listing, list};
use crate::formats::{Format, Found, Parser, Source, TableLook, Told, parquet};
use crate::left_out::LeftOut;
use crate::line_ends::LineEnds;
use crate::regular_file;
use crate::shapes::Shape;

/// What a folder holds, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    pub folder: PathBuf,
    /// The files that were read, sorted by path.
    pub files: Vec<FileStamp>,
    /// Each content once, in the order of files and lines.
    pub examples: Vec<Example>,
    /// Of each example in turn, where there was a measure.
    pub measured: Vec<Measured>,
    /// In the order of files and lines.
    pub findings: Vec<Finding>,
}

/// By what a change of a file is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStamp {
    /// Relative to the dataset's folder.
    pub path: PathBuf,
    /// As many as were read.
    pub bytes: u64,
    /// Before reading: a file that changes meanwhile looks old, never new.
    pub modified: SystemTime,
    /// Of the bytes that were read.
    pub hash: ContentHash,
    pub format: Format,
    /// How many records of which shape became examples, or would have but for a duplicate.
    pub shapes: Vec<(Shape, usize)>,
}

/// What training makes of an example.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measured {
    /// Uncut.
    pub tokens: usize,
    /// The same of the longest of its forms: what a text must not exceed to be learnt whole in all of them.
    pub longest_form: usize,
    /// Tokens that carry loss, of those that are not cut off.
    pub learnt: usize,
    /// What the base's chat template leaves out of it.
    pub left_out: Vec<LeftOut>,
}

/// Measures an example as training will see it, or says why training cannot. Called from several threads.
pub type Measure<'a> = dyn Fn(&Example) -> Result<Measured, String> + Sync + 'a;

/// How large an example may be.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// A longer text is divided; of a longer record, the engine cuts the end off. Either is a finding.
    pub max_tokens: usize,
    /// Without it nothing is too long.
    pub measure: Option<&'a Measure<'a>>,
    /// A larger note or JSONL line is left out, and never held in memory as a whole.
    pub max_record_bytes: usize,
    /// What the recipe calls columns.
    pub columns: &'a Columns,
}

impl Default for Limits<'_> {
    fn default() -> Self {
        Self { max_tokens: usize::MAX, measure: None, max_record_bytes: 8 << 20, columns: Columns::NONE }
    }
}

/// Why a folder is no dataset at all. What is wrong inside it is a [`Finding`].
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error("there is no folder {}; check the path", folder.display())]
    NotFound { folder: PathBuf },
    #[error("{} is a file; name the folder that holds your texts", folder.display())]
    NotAFolder { folder: PathBuf },
    #[error("cannot read the folder {}: {source}; check that you may open it", folder.display())]
    Unreadable { folder: PathBuf, source: io::Error },
    #[error("cannot read {}: {source}; check the path", file.display())]
    UnreadableFile { file: PathBuf, source: io::Error },
    #[error("{} is no dataset file by its ending; .txt, .md and .jsonl are read", file.display())]
    NoDatasetFile { file: PathBuf },
}

/// Reads all examples of a folder.
///
/// # Errors
/// Only where the folder itself cannot be listed.
pub fn read(folder: &Path, limits: &Limits<'_>) -> Result<Dataset, DatasetError> {
    let folder = folder.to_owned();
    let listing = match fs::metadata(&folder) {
        Ok(metadata) if !metadata.is_dir() => return Err(DatasetError::NotAFolder { folder }),
        Ok(_) => list(&folder),
        Err(error) => Err(error),
    };
    let Listing { files, unreadable: unreadable_folders, unsupported, cards, conflict_copies, .. } =
        match listing {
            Ok(listing) => listing,
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Err(DatasetError::NotFound { folder });
            }
            // A file in the middle of the path.
            Err(source) if source.kind() == io::ErrorKind::NotADirectory => {
                return Err(DatasetError::NotFound { folder });
            }
            Err(source) => return Err(DatasetError::Unreadable { folder, source }),
        };

    let mut collector = Collector::new(limits);
    let columns = Use::new(limits.columns);
    let mut stamps = Vec::with_capacity(files.len());
    for path in files {
        match read_file(&folder, &path, limits, &columns, &mut collector) {
            Ok(stamp) => stamps.push(FileStamp { shapes: collector.shapes(), ..stamp }),
            Err(error) => collector.finding(unreadable(&path, &error)),
        }
        collector.end_file();
    }
    for (path, error) in &unreadable_folders {
        collector.finding(unreadable(path, error));
        collector.end_file();
    }
    for path in &conflict_copies {
        collector.finding(conflict_copy(path));
        collector.end_file();
    }
    let mut endings: BTreeMap<&str, (&Path, usize)> = BTreeMap::new();
    for (path, ending) in &unsupported {
        endings.entry(ending).or_insert((path, 0)).1 += 1;
    }
    for (card, sign) in &cards {
        collector.finding(dataset_card(card, (1, 1), *sign));
        collector.end_file();
    }
    for (ending, (first, count)) in endings {
        collector.finding(unsupported_file(first, ending, count));
        collector.end_file();
    }
    let line = limits.columns.line();
    let (missing, there) = columns.missing();
    for (field, column) in missing {
        collector.finding(missing_column(line, field, column, &there));
        collector.end_file();
    }
    let (examples, measured, findings) = collector.finish();
    Ok(Dataset { folder, files: stamps, examples, measured, findings })
}

/// Reads the examples of one file; its folder is the dataset's.
///
/// # Errors
/// The file cannot be read, or has no ending that is.
pub fn read_one(file: &Path, limits: &Limits<'_>) -> Result<Dataset, DatasetError> {
    let (folder, path) = match (file.parent(), file.file_name()) {
        (Some(folder), Some(name)) if Format::of(Path::new(name)).is_some() => (folder, Path::new(name)),
        _ => return Err(DatasetError::NoDatasetFile { file: file.to_owned() }),
    };
    let mut collector = Collector::new(limits);
    let stamp = read_file(folder, path, limits, &Use::new(limits.columns), &mut collector)
        .map_err(|source| DatasetError::UnreadableFile { file: file.to_owned(), source })?;
    let stamp = FileStamp { shapes: collector.shapes(), ..stamp };
    collector.end_file();
    let (examples, measured, findings) = collector.finish();
    Ok(Dataset { folder: folder.to_owned(), files: vec![stamp], examples, measured, findings })
}

/// Streams one file through its parser. What was found before an error stays found.
fn read_file(
    folder: &Path,
    path: &Path,
    limits: &Limits<'_>,
    columns: &Use<'_>,
    collector: &mut Collector<'_>,
) -> io::Result<FileStamp> {
    let Some(format) = Format::of(path) else {
        return Err(io::Error::other("its ending is none that is read"));
    };
    let full_path = folder.join(path);
    let (mut file, metadata) = regular_file::open(&full_path)?;
    let modified = metadata.modified()?;
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    let mut add = |found| collector.add(path, found);
    let source = Source { file: path, max_record_bytes: limits.max_record_bytes, columns };
    if format == Format::Parquet {
        each_chunk(&mut file, |chunk| {
            bytes += chunk.len() as u64;
            hasher.update(chunk);
        })?;
        file.rewind()?;
        parquet::read(source, file, &mut add);
    } else {
        let encoding = recognise(&mut file)?;
        other_encoding(path, encoding).into_iter().for_each(|finding| add(Found::Finding(finding)));
        let told = match format {
            Format::Csv | Format::Tsv => look_through(&mut file, format, encoding, limits.max_record_bytes)?,
            _ => Told::default(),
        };
        let mut parser = None;
        let mut read = |text: &[u8]| {
            let parser = parser.get_or_insert_with(|| Parser::new(format, source, text, told.clone()));
            parser.push(text, &mut add);
        };
        let mut text = Text::new(encoding);
        each_chunk(&mut file, |chunk| {
            bytes += chunk.len() as u64;
            hasher.update(chunk);
            text.push(chunk, &mut read);
        })?;
        text.finish(&mut read);
        parser.unwrap_or_else(|| Parser::new(format, source, b"", told)).finish(&mut add);
    }
    let hash = hasher.finalize().into();
    Ok(FileStamp { path: path.to_owned(), bytes, modified, hash, format, shapes: Vec::new() })
}

fn each_chunk(file: &mut File, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => take(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Looks through the file, and again where it is not UTF-8; leaves it at its start.
fn recognise(file: &mut File) -> io::Result<Encoding> {
    let mut look = Look::default();
    each_chunk(file, |chunk| look.push(chunk))?;
    file.rewind()?;
    if let Some(encoding) = look.finish() {
        return Ok(encoding);
    }
    let mut trial = Trial::default();
    each_chunk(file, |chunk| trial.push(chunk))?;
    file.rewind()?;
    Ok(trial.finish())
}

/// What a table's columns hold; leaves the file at its start.
fn look_through(
    file: &mut File,
    format: Format,
    encoding: Encoding,
    max_record_bytes: usize,
) -> io::Result<Told> {
    let mut look = TableLook::new(format, max_record_bytes);
    let mut text = Text::new(encoding);
    each_chunk(file, |chunk| text.push(chunk, &mut |text| look.push(text)))?;
    text.finish(&mut |text| look.push(text));
    file.rewind()?;
    Ok(look.finish())
}

/// A file's bytes as parsers want them: UTF-8, with two kinds of line ends.
struct Text {
    utf8: ToUtf8,
    ends: LineEnds,
}

impl Text {
    fn new(encoding: Encoding) -> Self {
        Self { utf8: ToUtf8::new(encoding), ends: LineEnds::default() }
    }

    fn push(&mut self, bytes: &[u8], on_text: &mut dyn FnMut(&[u8])) {
        let Self { utf8, ends } = self;
        utf8.push(bytes, false, &mut |text| ends.push(text, on_text));
    }

    fn finish(&mut self, on_text: &mut dyn FnMut(&[u8])) {
        let Self { utf8, ends } = self;
        utf8.push(&[], true, &mut |text| ends.push(text, on_text));
        ends.finish(on_text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::read_files;

    #[test]
    fn folders_that_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.txt");
        fs::write(&file, "a").unwrap();
        let error = |path: &Path| read(path, &Limits::default()).unwrap_err();
        assert!(matches!(error(&folder.path().join("gone")), DatasetError::NotFound { .. }));
        assert!(matches!(error(&file.join("below")), DatasetError::NotFound { .. }));
        assert!(matches!(error(&file), DatasetError::NotAFolder { .. }));
        assert!(error(&file).to_string().contains("a.txt is a file; name the folder"));
    }

    #[test]
    fn one_file_is_read_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "a\n---\nb\n---\na").unwrap();
        fs::write(folder.path().join("b.txt"), "c").unwrap();
        let dataset = read_one(&folder.path().join("a.txt"), &Limits::default()).unwrap();
        assert_eq!((dataset.files.len(), dataset.examples.len(), dataset.findings.len()), (1, 2, 1));
        assert_eq!(dataset.examples[1].file, Path::new("a.txt"));
        let error = |name: &str| read_one(&folder.path().join(name), &Limits::default()).unwrap_err();
        assert!(matches!(error("gone.txt"), DatasetError::UnreadableFile { .. }));
        assert!(matches!(error("a.exe"), DatasetError::NoDatasetFile { .. }));
        fs::create_dir(folder.path().join("d.txt")).unwrap();
        assert!(matches!(error("d.txt"), DatasetError::UnreadableFile { .. }));
    }

    #[test]
    fn an_empty_folder_is_an_empty_dataset() {
        let dataset = read_files(&[]);
        assert_eq!((dataset.files.len(), dataset.examples.len(), dataset.findings.len()), (0, 0, 0));
    }

    #[test]
    fn a_file_that_vanished_after_listing_is_a_finding() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits::default();
        let mut collector = Collector::new(&limits);
        let error =
            read_file(folder.path(), Path::new("a.txt"), &limits, &Use::new(Columns::NONE), &mut collector)
                .unwrap_err();
        let finding = unreadable(Path::new("a.txt"), &error);
        assert_eq!(
            finding.message,
            "it is gone, or a link to something that is gone; it was there a moment ago"
        );
    }

    #[test]
    fn stamps_know_bytes_and_hash() {
        let dataset = read_files(&[("b.txt", b"b\r\n"), ("a/c.txt", b""), ("a.txt", b"a")]);
        let shown: Vec<_> =
            dataset.files.iter().map(|stamp| (stamp.path.to_str().unwrap(), stamp.bytes)).collect();
        assert_eq!(shown, [("a/c.txt", 0), ("a.txt", 1), ("b.txt", 3)]);
        assert_eq!(dataset.files[2].hash, ContentHash::of(b"b\r\n"));
    }

    #[test]
    fn the_same_folder_reads_the_same() {
        let files: &[(&str, &[u8])] = &[("a.txt", b"a\n---\nb"), ("b/c.jsonl", b"{\"text\": \"c\"}\n{")];
        let (one, other) = (read_files(files), read_files(files));
        assert_eq!((one.examples, one.findings), (other.examples, other.findings));
    }

    /// A small generator of its own, so that the bytes are the same for ever.
    struct Bytes(u64);

    impl Bytes {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let pieces: &[&[u8]] = &[
            b"---\n",
            b"...\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"\xef\xbb\xbf",
            b"\xff\xfe",
            b"\0",
            b"key: v\n",
            b"{",
            b"}",
            b"[",
            b"]",
            b"\"text\"",
            b":",
            b",",
            b"\"messages\"",
            b"[{\"role\":",
            b"\"user\"",
            b"\"content\"",
            b"\\u",
            b"\\ud83d",
            b"1e999",
            b"null",
            "面".as_bytes(),
            b"\xe9\x9d",
            b"\xe2\x80\xa8",
            b" ",
            b"{\"text\": \"a\"}\n",
            b"{\"prompt\": 1, \"completion\": \"x\"}\n",
        ];
        let mut random = Bytes(0x0005_eed0_f60d);
        let mut found = std::collections::BTreeSet::new();
        let mut examples = 0;
        for round in 0..500 {
            let mut content = Vec::new();
            for _ in 0..random.next() % 20 {
                match random.next() % 8 {
                    0 => content.push(random.next() as u8),
                    1 => content
                        .extend(std::iter::repeat_n(random.next() as u8, (random.next() % 6000) as usize)),
                    _ => content.extend_from_slice(pieces[(random.next() % pieces.len() as u64) as usize]),
                }
            }
            let dataset = read_files(&[
                ("a.txt", &content),
                ("b.md", &content),
                ("c.jsonl", &content),
                ("d.json", &content),
                ("e.csv", &content),
                ("f.parquet", &content),
            ]);
            let lines = content.split(|byte| matches!(byte, b'\n' | b'\r')).count();
            for finding in &dataset.findings {
                let (first, last) = finding.lines;
                assert!(1 <= first && first <= last && last <= lines, "round {round}: {finding:?}");
                found.insert(finding.code);
            }
            for example in &dataset.examples {
                let (first, last) = example.lines;
                assert!(1 <= first && first <= last && last <= lines, "round {round}: {example:?}");
                assert!(!example.content.is_empty(), "round {round}: {example:?}");
            }
            examples += dataset.examples.len();
        }
        assert!(examples > 100 && found.len() >= 7, "{examples} examples and {found:?} are no test");
    }
}
