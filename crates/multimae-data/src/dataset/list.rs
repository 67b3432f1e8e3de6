//! Lists of sample names.

use std::collections::HashMap;
use std::path::Path;

use crate::capped::Capped;
use crate::{Error, Result};

/// The names in a list, in its order.
pub(super) fn read(path: &Path) -> Result<Vec<String>> {
    parse(&fs_err::read_to_string(path)?, path)
}

/// The names in the text of a list, in its order. The path is for messages.
pub(super) fn parse(text: &str, path: &Path) -> Result<Vec<String>> {
    let error = |problem| Err(Error::List { path: path.to_owned(), problem });
    let mut lines = HashMap::new();
    let mut names = Vec::new();
    let mut duplicates = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let name = line.trim();
        if name.is_empty() || name.starts_with('#') {
            continue;
        }
        match lines.insert(name.to_owned(), index + 1) {
            Some(first) => duplicates.push(format!("`{name}` (lines {first} and {})", index + 1)),
            None => names.push(name.to_owned()),
        }
    }
    if !duplicates.is_empty() {
        return error(format!("names that are there twice:{}", Capped(&duplicates, "\n  ")));
    }
    if names.is_empty() {
        return error("it names no sample".to_owned());
    }
    Ok(names)
}
