//! The names of a modality's files, where the files of a sample have different ones.

use serde::{Deserialize, Serialize};

use crate::extensions::stem_of;

/// The names of a modality's files. By default, the files of a sample have the same name in every
/// folder.
///
/// ```
/// use multimae_data::Naming;
///
/// let depth = Naming { strip_prefix: "sync_depth_".to_owned(), ..Naming::default() };
/// assert_eq!(depth.key("sync_depth_00045.png"), Some("00045"));
/// assert_eq!(depth.key("rgb_00045.jpg"), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Naming {
    /// The beginning of every file's name, which is no part of the sample's: `sync_depth_`. Files
    /// without it are not of this modality.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub strip_prefix: String,
    /// The end of every file's name, likewise, before the extension (`_domain_depth_zbuffer`) or
    /// with it (`.png`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub strip_suffix: String,
    /// The column of the files in lists that have several, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl Naming {
    /// The rule of a pattern: `rgb_*`, `*_domain_rgb`, `*.png`.
    pub(crate) fn of_pattern(pattern: &str) -> Option<Self> {
        let (prefix, suffix) = pattern.split_once('*')?;
        let (strip_prefix, strip_suffix) = (prefix.to_owned(), suffix.to_owned());
        Some(Self { strip_prefix, strip_suffix, column: None })
    }

    /// Whether the files of a sample have the same name in every folder, and lists one column.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The part of a file's name that names its sample; `None` for files of other modalities.
    /// `file`: the name without folders, with its extension.
    #[must_use]
    pub fn key<'a>(&self, file: &'a str) -> Option<&'a str> {
        let stem = match self.strip_suffix.starts_with('.') || self.has_extension() {
            true => file,
            false => file.rsplit_once('.').map_or(file, |(stem, _)| stem),
        };
        if !self.strips() {
            return Some(stem);
        }
        let key = stem.strip_prefix(&self.strip_prefix)?.strip_suffix(&self.strip_suffix)?;
        // Nothing is left of a name that is the affixes alone.
        (!key.is_empty()).then_some(key)
    }

    /// Whether names are shortened.
    pub(crate) fn strips(&self) -> bool {
        !self.strip_prefix.is_empty() || !self.strip_suffix.is_empty()
    }

    fn has_extension(&self) -> bool {
        stem_of(&self.strip_suffix).is_some()
    }

    /// The files of this rule in a folder, as a pattern: `rgb_*`. Empty for all files.
    pub(crate) fn pattern(&self) -> String {
        match self.strips() {
            true => format!("{}*{}", self.strip_prefix, self.strip_suffix),
            false => String::new(),
        }
    }

    /// The problem of a rule, if it has one.
    pub(super) fn problem(&self) -> Option<String> {
        let affixes = [("strip_prefix", &self.strip_prefix), ("strip_suffix", &self.strip_suffix)];
        let odd = affixes.iter().find(|(_, affix)| affix.contains(['/', '\\', '*']));
        if let Some((key, affix)) = odd {
            return Some(format!(
                "`{key}: {affix}` is no part of a file's own name; write folders in `folder`, and \
                 no `*`"
            ));
        }
        (self.column == Some(0)).then(|| "`column` counts from 1".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affixes_must_be_there_and_leave_a_name() {
        let both = Naming::of_pattern("a_*_b").unwrap();
        assert_eq!(both.key("a_1_b.png"), Some("1"));
        assert_eq!(both.key("a_1.2_b.npy"), Some("1.2"));
        for other in ["1_b.png", "a_1.png", "a_b.png", "a__b.png", "", "a_1_b.png.txt"] {
            assert_eq!(both.key(other), None, "{other}");
        }
        assert_eq!(both.pattern(), "a_*_b");
        assert_eq!(Naming::default().key("x.y.png"), Some("x.y"));
        assert_eq!(Naming::default().pattern(), "");
    }

    #[test]
    fn a_suffix_may_hold_the_extension() {
        let jpeg = Naming::of_pattern("*.jpg").unwrap();
        assert_eq!((jpeg.key("1.jpg"), jpeg.key("1.png"), jpeg.key("1")), (Some("1"), None, None));
        let depth = Naming::of_pattern("*_depth.png").unwrap();
        assert_eq!((depth.key("1_depth.png"), depth.key("1_depth.npy")), (Some("1"), None));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        for affix in ["a/b_", "a\\b", "a*b"] {
            let rule = Naming { strip_prefix: affix.to_owned(), ..Naming::default() };
            assert!(rule.problem().unwrap().contains("`strip_prefix: a"));
        }
        assert!(Naming { column: Some(0), ..Naming::default() }.problem().is_some());
        assert!(Naming { column: Some(1), ..Naming::default() }.problem().is_none());
    }
}
