//! The notation of many shards in one line.

use std::path::Path;

/// More shards than this in one expression are a mistake.
const MOST: usize = 1_000_000;

/// A path that an expression names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedPath {
    /// The modality in square brackets, if there are any.
    pub(super) folder: Option<String>,
    /// The path.
    pub(super) path: String,
    /// The path without its modality: equal for the same shard of all modalities.
    pub(super) group: String,
}

/// Whether a place of data is an expression rather than a path.
pub(super) fn is_expression(root: &Path) -> bool {
    let Some(text) = root.to_str() else { return false };
    !root.exists() && (text.contains("::") || text.contains('{') || text.ends_with(".tar"))
}

/// The paths of an expression: `::` between several, `{000..146}` and `{a,b}` for numbers and words,
/// `[rgb,depth]` for modalities.
///
/// # Errors
/// The problem with the notation.
pub(super) fn expand(text: &str) -> Result<Vec<NamedPath>, String> {
    let mut paths = Vec::new();
    for part in text.split("::").filter(|part| !part.is_empty()) {
        if let Some(scheme) = part.split_once("://").map(|(scheme, _)| scheme) {
            return Err(format!(
                "`{scheme}://` is not read; copy the shards to a disk of this machine, or mount \
                 their storage as a folder"
            ));
        }
        let (before, names, after) = brackets(part)?;
        for name in names {
            let whole = format!("{before}{}{after}", name.unwrap_or_default());
            let groups = braces(&format!("{before}{after}"))?;
            for (path, group) in braces(&whole)?.into_iter().zip(groups) {
                paths.push(NamedPath { folder: name.map(str::to_owned), path, group });
            }
            check_number(paths.len())?;
        }
    }
    if paths.is_empty() {
        return Err("it names no shard".to_owned());
    }
    Ok(paths)
}

/// The text before square brackets, the names inside, the text behind.
fn brackets(text: &str) -> Result<(&str, Vec<Option<&str>>, &str), String> {
    let Some((before, rest)) = text.split_once('[') else { return Ok((text, vec![None], "")) };
    let (names, after) = rest.split_once(']').ok_or("a `[` has no `]`")?;
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    if after.contains('[') {
        return Err("it has square brackets twice; they list the modalities once".to_owned());
    }
    if names.iter().any(|name| name.is_empty()) {
        return Err("a name in square brackets is empty".to_owned());
    }
    Ok((before, names.into_iter().map(Some).collect(), after))
}

/// The texts of braces, the last ones varying fastest.
fn braces(text: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = text.split_once('{') else { return Ok(vec![text.to_owned()]) };
    let (inside, after) = rest.split_once('}').ok_or("a `{` has no `}`")?;
    if inside.contains('{') {
        return Err("braces inside braces are not read; write the expressions with `::`".to_owned());
    }
    let items = match inside.split_once("..") {
        Some((first, last)) => range(first, last)?,
        None => inside.split(',').map(str::to_owned).collect(),
    };
    let rests = braces(after)?;
    check_number(items.len().saturating_mul(rests.len()))?;
    let with = |item: String| rests.iter().map(move |rest| format!("{before}{item}{rest}"));
    Ok(items.into_iter().flat_map(with).collect())
}

/// The numbers from the first to the last one, filled with zeros to the longer of the two if one
/// begins with a zero.
fn range(first: &str, last: &str) -> Result<Vec<String>, String> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|letter| letter.is_ascii_digit());
        let number = if digits { text.parse::<usize>().ok() } else { None };
        number.ok_or_else(|| format!("`{{{first}..{last}}}` has no numbers as its ends"))
    };
    let (from, to) = (number(first)?, number(last)?);
    if from > to {
        return Err(format!("`{{{first}..{last}}}` ends before it begins"));
    }
    check_number(to - from + 1)?;
    let filled = [first, last].iter().any(|text| text.len() > 1 && text.starts_with('0'));
    let width = if filled { first.len().max(last.len()) } else { 0 };
    Ok((from..=to).map(|number| format!("{number:0width$}")).collect())
}

fn check_number(paths: usize) -> Result<(), String> {
    if paths <= MOST {
        return Ok(());
    }
    Err(format!("it names {paths} shards, and at most {MOST} are read; check its numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        expand(text).unwrap().into_iter().map(|named| named.path).collect()
    }

    #[test]
    fn braces_are_expanded_as_shells_do() {
        assert_eq!(paths("t-{008..011}.tar"), ["t-008.tar", "t-009.tar", "t-010.tar", "t-011.tar"]);
        assert_eq!(paths("{9..10}.tar"), ["9.tar", "10.tar"]);
        assert_eq!(paths("{a,b}/{0..1}.tar"), ["a/0.tar", "a/1.tar", "b/0.tar", "b/1.tar"]);
        assert_eq!(paths("a.tar::b/{0..1}.tar"), ["a.tar", "b/0.tar", "b/1.tar"]);
    }

    #[test]
    fn square_brackets_name_modalities() {
        let named = expand("r/[rgb, depth]/shard-{00..01}.tar").unwrap();
        let is = |at: usize, folder: &str, path: &str, group: &str| {
            assert_eq!(named[at].folder.as_deref(), Some(folder));
            assert_eq!((named[at].path.as_str(), named[at].group.as_str()), (path, group));
        };
        is(0, "rgb", "r/rgb/shard-00.tar", "r//shard-00.tar");
        is(3, "depth", "r/depth/shard-01.tar", "r//shard-01.tar");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, says) in [
            ("a-{0..x}.tar", "no numbers"),
            ("a-{9..2}.tar", "ends before"),
            ("a-{0..2.tar", "no `}`"),
            ("a-{{0..2}}.tar", "inside braces"),
            ("[a,b]/[c].tar", "twice"),
            ("[a,,b].tar", "empty"),
            ("a-{0..9999999}.tar", "at most"),
            ("s3://bucket/{0..1}.tar", "s3://"),
            ("::", "no shard"),
        ] {
            let problem = expand(text).unwrap_err();
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }
}
