//! Class maps in files.

use std::path::Path;

use super::{ClassMap, IGNORE, Key, Target};
use crate::{Error, Result};

impl ClassMap {
    /// Reads a map from a file: JSON (`.json`) as in recipes, or a text with a line per id (`5 2`,
    /// `5-9 2`, `0 ignore`), per colour (`128 64 0 2`), and at most one with `other`. Columns are
    /// separated by spaces, tabs, commas or semicolons. A line that begins with `#`, and a first line
    /// without numbers, say nothing.
    ///
    /// # Errors
    /// [`Error::File`] with the line that is wrong; [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        let error = |problem| Error::File { path: path.to_owned(), problem };
        let text = fs_err::read_to_string(path)?;
        let text = text.trim_start_matches('\u{feff}');
        if path.extension().is_some_and(|extension| extension == "json") {
            return serde_json::from_str(text).map_err(|problem| error(problem.to_string()));
        }
        let entries = entries(text).map_err(error)?;
        Self::of(&entries).map_err(|problem| error(format!("class map: {problem}")))
    }
}

/// The lines of a text.
fn entries(text: &str) -> Result<Vec<(String, Target)>, String> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).peekable();
    lines.next_if(|(_, line)| is_heading(&cells(line)));
    let entry = |(number, line): (usize, &str)| {
        entry(&cells(line)).map_err(|problem| format!("line {number} (`{line}`): {problem}"))
    };
    lines.map(entry).collect()
}

fn cells(line: &str) -> Vec<&str> {
    line.split([' ', '\t', ',', ';']).filter(|cell| !cell.is_empty()).collect()
}

fn is_heading(cells: &[&str]) -> bool {
    let word = |cell: &&str| *cell != IGNORE && Key::parse(cell).is_err();
    cells.iter().all(word)
}

fn entry(cells: &[&str]) -> Result<(String, Target), String> {
    let (key, class) = match *cells {
        [id, class] => (id.to_owned(), class),
        [red, green, blue, class] => (format!("{red},{green},{blue}"), class),
        _ => {
            return Err(format!(
                "it has {} columns; expected an id and a class, or red, green, blue and a class",
                cells.len()
            ));
        }
    };
    Key::parse(&key)?;
    let target = match class.parse() {
        Ok(class) => Target::Class(class),
        Err(_) => Target::Word(class.to_owned()),
    };
    target.label()?;
    Ok((key, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<ClassMap, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs_err::write(&path, text).unwrap();
        ClassMap::read(&path).map_err(|error| error.to_string())
    }

    fn json(text: &str) -> ClassMap {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn texts_and_json_say_the_same() {
        let map = json(r#"{"0": "ignore", "1-3": 0, "7": 1, "-1": "ignore"}"#);
        assert_eq!(
            read("a.txt", "id class\n# void\n0 ignore\n-1\tignore\n1-3 0\n\n7 1\n").unwrap(),
            map
        );
        assert_eq!(
            read("a.csv", "id,class\r\n2,0\r\n1,0\r\n3,0\r\n7,1\r\n-1-0,ignore\r\n").unwrap(),
            map
        );
        assert_eq!(read("a.json", r#"{"1": 0, "2-3": 0, "7": 1, "-1-0": "ignore"}"#).unwrap(), map);
        let labels = [-1, 0, 1, 3, 7].map(|stored| map.label(stored));
        assert_eq!(labels, [Some(-1), Some(-1), Some(0), Some(0), Some(1)]);
        assert_eq!([-2, 4, 6, 8].map(|stored| map.label(stored)), [None; 4]);
        assert_eq!((map.classes(), map.is_of_colors()), (2, false));
        // One form for all that say the same.
        assert_eq!(serde_json::to_string(&map).unwrap(), r#"{"-1-0":"ignore","1-3":0,"7":1}"#);
    }

    #[test]
    fn colours_are_keys_too() {
        let map = read("a.csv", "r,g,b,class\n128,64,128,0\n0 0 0 ignore\nother 1\n").unwrap();
        assert!(map.is_of_colors());
        let label = |color| map.label(super::super::color_key(color));
        assert_eq!(label([128, 64, 128]), Some(0));
        assert_eq!((label([0, 0, 0]), label([1, 2, 3])), (Some(-1), Some(1)));
        let text = serde_json::to_string(&map).unwrap();
        assert_eq!(text, r#"{"0,0,0":"ignore","128,64,128":0,"other":1}"#);
        assert_eq!(json(&text), map);
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, problem) in [
            ("1 0\n2 0 0\n", "line 2 (`2 0 0`): it has 3 columns"),
            ("1 0\n1 1\n", "the id 1 is there twice"),
            ("1-5 0\n3 1\n", "the id 3 is there twice"),
            ("1 0\n5-2 1\n", "line 2 (`5-2 1`): `5-2` ends before it begins"),
            ("1 0\n2 -1\n", "-1 is no class"),
            ("1 0\n2 wall\n", "`wall` is no class"),
            ("1 0\nx 1\n", "`x` is no id"),
            ("1 0\n1 2 3 1\n", "not from both"),
            ("1 2 3 0\n1 2 3 1\n", "the colour 1,2,3 is there twice"),
            ("1 2 300 0\n", "`1,2,300` is no id"),
            ("0 ignore\n", "names no class"),
            ("1 0\nother 1\nother 2\n", "`other` is there twice"),
            ("", "names no class"),
        ] {
            let error = read("a.txt", text).unwrap_err();
            assert!(error.contains(problem) && error.contains("a.txt"), "{text}: {error}");
        }
        assert!(read("a.json", r#"{"1": 0.5}"#).is_err());
        assert!(read("a.json", r#"{"1": -1}"#).unwrap_err().contains("class map: `1`: -1 is"));
    }
}
