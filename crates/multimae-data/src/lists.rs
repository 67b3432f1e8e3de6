//! Lists of sample names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::capped::Capped;
use crate::extensions::stem_of;
use crate::file_source::FileSource;
use crate::names::composed;
use crate::{Error, Result};

/// The names that the lines of a list may mean.
pub(crate) struct Names<'a> {
    /// Whether there is a sample of this name.
    pub(crate) known: &'a dyn Fn(&str) -> bool,
    /// The places of the modalities' files.
    pub(crate) sources: Vec<FileSource>,
}

/// The file of a list: `<split>.txt`, or `<split>.csv` where there is no such text.
pub(crate) fn path_of(root: &Path, split: &str) -> PathBuf {
    let table = root.join(format!("{split}.csv"));
    let text = root.join(format!("{split}.txt"));
    if !text.is_file() && table.is_file() { table } else { text }
}

/// The text of a list: UTF-8 or, with a byte order mark, UTF-16.
///
/// # Errors
/// [`Error::List`] if it is neither; [`Error::Io`].
pub(crate) fn read(path: &Path) -> Result<String> {
    text(fs_err::read(path)?).map_err(|problem| Error::List { path: path.to_owned(), problem })
}

/// The lines of a list that name samples, as they are written.
///
/// # Errors
/// [`Error::List`] if the file is not text; [`Error::Io`].
pub fn list_lines(path: &Path) -> Result<Vec<String>> {
    Ok(entries(&read(path)?).map(|(_, line)| line.to_owned()).collect())
}

/// The text of the bytes of a list.
///
/// # Errors
/// The problem.
pub(crate) fn text(bytes: Vec<u8>) -> Result<String, String> {
    let wide = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
        let (units, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = units.iter().map(|&unit| read(unit)).collect();
        let text = String::from_utf16(&units).ok().filter(|_| rest.is_empty());
        text.ok_or_else(|| "it begins like UTF-16 text and is damaged; save it as UTF-8".to_owned())
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => {
            let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
            let text = text.ok_or("it is not UTF-8 text; save it as UTF-8")?;
            Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
        }
    }
}

/// The samples that a list names, in its order. The path is for messages.
///
/// # Errors
/// [`Error::List`] if a sample is named twice or none is, or if lines have several columns whose
/// meaning is not certain. A name of no sample is not an error here.
pub(crate) fn parse(text: &str, path: &Path, names: &Names<'_>) -> Result<Vec<String>> {
    let error = |problem| Err(Error::List { path: path.to_owned(), problem });
    let mut lines = HashMap::new();
    let (mut ids, mut duplicates, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    for (index, line) in entries(text) {
        if names.id(line).is_none() && has_columns(line) {
            columns.push(format!("line {index}: {line}"));
        }
        let id = names.id_or_line(line);
        match lines.insert(id.clone(), index) {
            Some(first) => duplicates.push(format!("`{id}` (lines {first} and {index})")),
            None => ids.push(id),
        }
    }
    if !columns.is_empty() {
        return error(format!(
            "lines with several columns, which do not name one sample that is there; files are \
             paired by their names: if these differ by a prefix or a suffix, set `strip_prefix` or \
             `strip_suffix` of the modalities; if the columns say which files belong together, set \
             `column: 1` of the modality in the first one, and so on:{}",
            Capped(&columns, "\n  ")
        ));
    }
    if !duplicates.is_empty() {
        return error(format!("names that are there twice:{}", Capped(&duplicates, "\n  ")));
    }
    if ids.is_empty() {
        return error("it names no sample".to_owned());
    }
    Ok(ids)
}

/// The lines that name samples, with their numbers.
pub(crate) fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Whether a line looks like paths beside each other.
fn has_columns(line: &str) -> bool {
    let first = columns(line).next().unwrap_or_default();
    columns(line).count() > 1 && stem_of(first).is_some()
}

fn columns(line: &str) -> impl Iterator<Item = &str> {
    line.split([' ', '\t', ',', ';']).filter(|column| !column.is_empty())
}

impl Names<'_> {
    /// The sample that a line means, where that is certain: its name, also with an extension, below
    /// the folder of a modality, or in every column other than numbers.
    pub(crate) fn id(&self, line: &str) -> Option<String> {
        let line = composed(line);
        if let Some(id) = self.one(&line) {
            return Some(id);
        }
        // A number that names no sample, such as a focal length, tells nothing.
        let mut ids = columns(&line)
            .map(|column| (column, self.one(column)))
            .filter(|(column, id)| id.is_some() || column.parse::<f64>().is_err())
            .map(|(_, id)| id);
        let first = ids.next()??;
        ids.all(|id| id.as_deref() == Some(&first)).then_some(first)
    }

    /// The sample that a line means, or else the line as it is.
    pub(crate) fn id_or_line(&self, line: &str) -> String {
        self.id(line).unwrap_or_else(|| composed(line))
    }

    fn one(&self, path: &str) -> Option<String> {
        self.below(path).or_else(|| self.below(&path.replace('\\', "/")))
    }

    /// The sample of a path, which may begin above or below the folder of a modality.
    fn below(&self, path: &str) -> Option<String> {
        let named = |name: &str| {
            let found = Some(name).filter(|name| (self.known)(name));
            let found = found.or_else(|| stem_of(name).filter(|name| (self.known)(name)));
            found.map(str::to_owned).or_else(|| self.stripped(name))
        };
        let plain = path.trim_start_matches("./").trim_start_matches('/');
        if let Some(id) = named(path).or_else(|| named(plain)) {
            return Some(id);
        }
        let path = format!("/{plain}");
        self.sources.iter().find_map(|source| {
            let folder = source.folder.trim_start_matches("./").trim_matches('/');
            path.rsplit_once(&format!("/{folder}/")).and_then(|(_, name)| named(name))
        })
    }

    /// The sample of a file whose name holds more than the sample's.
    fn stripped(&self, name: &str) -> Option<String> {
        let sources = self.sources.iter().filter(|source| source.naming.strips());
        sources.filter_map(|source| source.key(name)).find(|id| (self.known)(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>> {
        let known = |name: &str| ["0001", "a/0002", "c.d", "caf\u{e9}", "x y"].contains(&name);
        let sources = ["rgb", "./depth/", "v_*", "*_d.png"].map(FileSource::parse).to_vec();
        parse(text, Path::new("train.txt"), &Names { known: &known, sources })
    }

    #[test]
    fn every_certain_way_to_name_a_sample_is_read() {
        for line in [
            "0001",
            "0001.png",
            "./0001.JPG",
            "rgb/0001.jpg",
            "/rgb/0001.jpg",
            "rgb\\0001.jpg",
            "data/nyu/depth/0001",
            "rgb/0001.jpg depth/0001.png 518.8579",
            "rgb/0001.jpg,depth/0001.png",
            "0001\t0001",
            "v_0001.jpg 0001_d.png 518.8",
        ] {
            assert_eq!(read(line).unwrap(), ["0001"], "{line}");
        }
        assert_eq!(read("# a list\n\n a/0002 \r\nc.d\nx y\n").unwrap(), ["a/0002", "c.d", "x y"]);
        assert_eq!(read("cafe\u{301}.png").unwrap(), ["caf\u{e9}"]);
        assert_eq!(read("/a/v_0002.jpg,/a/0002_d.png\r\n").unwrap(), ["a/0002"]);
        // A name of no sample stays what it is; the pairing names it.
        assert_eq!(read("0001\n0007.png").unwrap(), ["0001", "0007.png"]);
    }

    #[test]
    fn uncertain_columns_and_repeated_samples_are_named() {
        let error = read("kitchen/rgb_1.jpg kitchen/sync_depth_1.png 518.8").unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("line 1: kitchen/rgb_1.jpg") && error.contains("`strip_prefix`"),
            "{error}"
        );
        assert!(error.contains("`column: 1`"), "{error}");
        let error = read("rgb/0001.jpg depth/a/0002.png").unwrap_err().to_string();
        assert!(error.contains("several columns"), "{error}");
        let error = read("0001\nrgb/0001.jpg").unwrap_err().to_string();
        assert!(error.contains("`0001` (lines 1 and 2)"), "{error}");
        assert!(read("# nothing\n").is_err());
    }

    #[test]
    fn texts_are_utf_8_or_marked_utf_16() {
        let text_of = |bytes: &[u8]| text(bytes.to_vec());
        assert_eq!(text_of(b"\xef\xbb\xbf0001\r\n").unwrap(), "0001\r\n");
        let wide: Vec<u8> = "\u{feff}é1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(text_of(&wide).unwrap(), "é1\n");
        let wide: Vec<u8> = "\u{feff}é1\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(text_of(&wide).unwrap(), "é1\n");
        for bytes in [&b"0\x001\0"[..], b"caf\xe9", b"\xff\xfe0"] {
            assert!(text_of(bytes).unwrap_err().contains("save it as UTF-8"));
        }
    }
}
