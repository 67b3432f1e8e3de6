//! The metadata of safetensors files, as other programs expect them.
//!
//! Programs of PyTorch want `format: pt`, and some refuse any other value. Our own entries are under
//! `multimae.`, so that they meet no one else's; inside the program they have their names without it.

use std::collections::HashMap;

use indexmap::IndexMap;

/// The entry that every program reads.
const FORMAT: (&str, &str) = ("format", "pt");
const OWN: &str = "multimae.";
/// The entry that says what a file of ours holds.
const KIND: &str = "kind";
/// Values of `format` in files of before, and the kinds that they stand for.
const FORMER: [(&str, &str); 3] = [
    ("multimae", "pretrained"),
    ("multimae-finetuned", "finetuned"),
    ("multimae-adapter", "adapter"),
];

/// The metadata of a file with these entries.
pub(super) fn stored(entries: &IndexMap<String, String>) -> HashMap<String, String> {
    let own = entries.iter().map(|(key, value)| (format!("{OWN}{key}"), value.clone()));
    let (format, pt) = FORMAT;
    own.chain([(format.to_owned(), pt.to_owned())]).collect()
}

/// The entries of a file with this metadata, in the order of their names.
pub(super) fn entries<'a>(
    stored: impl Iterator<Item = (&'a String, &'a str)>,
) -> IndexMap<String, String> {
    let entry = |(key, value): (&'a String, &'a str)| {
        if key == FORMAT.0 {
            let former = FORMER.iter().find(|(format, _)| *format == value);
            return former.map(|(_, kind)| (KIND.to_owned(), (*kind).to_owned()));
        }
        Some((key.strip_prefix(OWN).unwrap_or(key).to_owned(), value.to_owned()))
    };
    let mut entries: IndexMap<String, String> = stored.filter_map(entry).collect();
    entries.sort_unstable_keys();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stored: &HashMap<String, String>) -> IndexMap<String, String> {
        entries(stored.iter().map(|(key, value)| (key, value.as_str())))
    }

    fn map<M: FromIterator<(String, String)>>(pairs: &[(&str, &str)]) -> M {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn entries_come_back_without_their_prefix() {
        let own: IndexMap<String, String> = map(&[("card", "{}"), ("kind", "finetuned")]);
        let stored = stored(&own);
        let expected =
            map(&[("format", "pt"), ("multimae.card", "{}"), ("multimae.kind", "finetuned")]);
        assert_eq!(stored, expected);
        assert_eq!(read(&stored), own);
    }

    #[test]
    fn files_of_before_say_their_kind_by_the_format() {
        for (format, kind) in FORMER {
            let old = map(&[("format", format), ("step", "7")]);
            assert_eq!(read(&old), map::<IndexMap<_, _>>(&[("kind", kind), ("step", "7")]));
        }
    }
}
