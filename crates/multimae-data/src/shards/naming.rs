//! The rule by which the members of a tar belong to samples.

use crate::extensions::EXTENSIONS;
use crate::names::is_stray;

/// The name of a member: `a/b/0001.depth.png` is the field `depth.png` of the sample `a/b/0001`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemberName<'a> {
    /// The path up to the first dot of its last component.
    pub(super) key: &'a str,
    /// The rest, in lower case.
    pub(super) field: String,
}

impl<'a> MemberName<'a> {
    /// Splits the path of a member by WebDataset's rule. `None` if it is no member of a sample: its
    /// last component has no dot, or nothing before it; it is metadata, `__...__`; or it is
    /// [stray](is_stray).
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let mut path = path;
        while let Some(rest) = path.strip_prefix("./") {
            path = rest;
        }
        let path = path.trim_start_matches('/');
        let first = path.split('/').next().unwrap_or_default();
        if first.len() > 4 && first.starts_with("__") && first.ends_with("__") {
            return None;
        }
        if path.split('/').any(is_stray) {
            return None;
        }
        let last = path.rfind('/').map_or(0, |slash| slash + 1);
        let dot = last + path.get(last..)?.find('.')?;
        let (key, field) = (path.get(..dot)?, path.get(dot + 1..)?);
        (dot > last && !field.is_empty()).then(|| Self { key, field: field.to_lowercase() })
    }
}

/// A field without its extension, and the extension: `depth.png` is `("depth", "png")`, and `jpg` is
/// `("", "jpg")`.
pub(super) fn split_field(field: &str) -> (&str, &str) {
    field.rsplit_once('.').unwrap_or(("", field))
}

/// Whether a field, in lower case, has the extension of a file that can be read.
pub(super) fn is_readable(field: &str) -> bool {
    EXTENSIONS.contains(&split_field(field).1)
}

/// Whether the name of a shard ends in its number: `00001`, `shard-00001`, `train_12`. Other shards
/// hold a class each, as `n01440764`, whose name is part of the ids.
pub(super) fn is_numbered(stem: &str) -> bool {
    let rest = stem.trim_end_matches(|letter: char| letter.is_ascii_digit());
    rest.len() < stem.len() && (rest.is_empty() || rest.ends_with(['-', '_', '.']))
}

/// The parts of a shard's name between `-`, `_` and `.`, without its number: its split is one of
/// them.
pub(super) fn words(stem: &str) -> impl Iterator<Item = &str> {
    let is_number = |word: &&str| word.bytes().all(|letter| letter.is_ascii_digit());
    stem.split(['-', '_', '.']).filter(move |word| !is_number(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(path: &str) -> Option<(&str, String)> {
        MemberName::of(path).map(|name| (name.key, name.field))
    }

    #[test]
    fn keys_end_at_the_first_dot_of_the_last_component() {
        let is = |path: &str, key: &str, field: &str| {
            assert_eq!(
                split(path).map(|(k, f)| (k.to_owned(), f)),
                Some((key.to_owned(), field.to_owned())),
                "{path}"
            );
        };
        is("0001.jpg", "0001", "jpg");
        is("a/b/0001.Depth.PNG", "a/b/0001", "depth.png");
        is("./a.b/0001.jpg", "a.b/0001", "jpg");
        is("frame.0001.color.jpg", "frame", "0001.color.jpg");
        for path in ["a.b/c", "c", "a/.hidden.png", ".jpg", "__note__", "__note__/a.jpg", "a."] {
            assert_eq!(split(path), None, "{path}");
        }
        assert_eq!(split("__MACOSX/._a.jpg"), None);
    }

    #[test]
    fn numbered_names_and_classes_are_told_apart() {
        for stem in ["00001", "shard-00001", "train_12", "imagenet1k-train-0000"] {
            assert!(is_numbered(stem), "{stem}");
        }
        for stem in ["n01440764", "train", "", "cat5"] {
            assert!(!is_numbered(stem), "{stem}");
        }
        assert_eq!(words("imagenet1k-train-0000").collect::<Vec<_>>(), ["imagenet1k", "train"]);
    }
}
