//! Maps from what files store to classes.

mod read;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::label_rule::NO_CLASS;

/// A map from stored ids, or from colours, to classes, as recipes and files give it:
///
/// ```
/// use multimae_data::labels::ClassMap;
///
/// let map: ClassMap = serde_json::from_value(serde_json::json!({
///     "0": "ignore", "1-3": 0, "7": 1, "other": "ignore",
/// }))?;
/// assert_eq!((map.label(2), map.label(7), map.label(0)), (Some(0), Some(1), Some(-1)));
/// assert_eq!(map.classes(), 2);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// Keys are ids, ranges of ids with both ends, or colours `R,G,B`; `other` stands for all that is
/// not named, which is an error without it. Values are classes from 0, or `ignore`. Two maps that
/// say the same are equal, and are written in the same form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, Target>", into = "BTreeMap<String, Target>")]
pub struct ClassMap {
    /// Sorted, without overlaps, and joined where neighbours have the same class.
    spans: Arc<[Span]>,
    /// The label of everything else.
    other: Option<i64>,
    /// Whether keys are colours.
    colors: bool,
}

/// Stored values with the same label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: i64,
    last: i64,
    /// A class, or [`NO_CLASS`].
    label: i64,
}

/// A class as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Target {
    Class(i64),
    Word(String),
}

/// The word for pixels that do not count.
const IGNORE: &str = "ignore";
/// The key of everything that is not named.
const OTHER: &str = "other";

/// The number that stands for a colour.
pub(crate) fn color_key([red, green, blue]: [u8; 3]) -> i64 {
    i64::from(red) << 16 | i64::from(green) << 8 | i64::from(blue)
}

impl ClassMap {
    /// From keys and classes, in any order.
    fn of(entries: &[(String, Target)]) -> Result<Self, String> {
        let (mut ids, mut colors, mut other) = (Vec::new(), Vec::new(), None);
        for (key, target) in entries {
            let label = target.label().map_err(|problem| format!("`{key}`: {problem}"))?;
            match Key::parse(key)? {
                Key::Other if other.replace(label).is_some() => {
                    return Err("`other` is there twice".to_owned());
                }
                Key::Other => {}
                Key::Ids(first, last) => ids.push(Span { first, last, label }),
                Key::Color(color) => {
                    let key = color_key(color);
                    colors.push(Span { first: key, last: key, label });
                }
            }
        }
        if !ids.is_empty() && !colors.is_empty() {
            return Err("a map is from ids or from colours, not from both".to_owned());
        }
        let are_colors = !colors.is_empty();
        let spans = joined(if are_colors { colors } else { ids }, are_colors)?;
        let map = Self { spans: spans.into(), other, colors: are_colors };
        if map.spans.is_empty() || map.classes() == 0 {
            return Err("it names no class".to_owned());
        }
        Ok(map)
    }

    /// The number of classes: one more than the greatest.
    #[must_use]
    pub fn classes(&self) -> usize {
        let labels = self.spans.iter().map(|span| span.label).chain(self.other);
        labels.max().and_then(|most| usize::try_from(most + 1).ok()).unwrap_or_default()
    }

    /// Whether files hold colours rather than ids.
    #[must_use]
    pub fn is_of_colors(&self) -> bool {
        self.colors
    }

    /// The label of a stored id, or of the number `R * 65536 + G * 256 + B` of a colour: a class, -1
    /// where pixels are ignored, `None` where the map does not say.
    #[must_use]
    pub fn label(&self, stored: i64) -> Option<i64> {
        let place = self.spans.partition_point(|span| span.last < stored);
        let span = self.spans.get(place).filter(|span| span.first <= stored);
        span.map(|span| span.label).or(self.other)
    }

    /// A stored value with this label.
    pub(super) fn stored(&self, label: i64) -> Option<i64> {
        self.spans.iter().find(|span| span.label == label).map(|span| span.first)
    }

    /// Whether some pixels are ignored.
    pub(super) fn ignores(&self) -> bool {
        self.spans.iter().map(|span| span.label).chain(self.other).any(|label| label == NO_CLASS)
    }

    /// A stored value as the map names it.
    pub(super) fn name(&self, stored: i64) -> String {
        if !self.colors {
            return stored.to_string();
        }
        let [.., red, green, blue] = stored.to_be_bytes();
        format!("{red},{green},{blue}")
    }
}

impl TryFrom<BTreeMap<String, Target>> for ClassMap {
    type Error = String;

    fn try_from(entries: BTreeMap<String, Target>) -> Result<Self, String> {
        Self::of(&entries.into_iter().collect::<Vec<_>>())
            .map_err(|problem| format!("class map: {problem}"))
    }
}

impl From<ClassMap> for BTreeMap<String, Target> {
    fn from(map: ClassMap) -> Self {
        let key = |span: &Span| match span.first == span.last {
            true => map.name(span.first),
            false => format!("{}-{}", span.first, span.last),
        };
        let spans = map.spans.iter().map(|span| (key(span), Target::of(span.label)));
        spans.chain(map.other.map(|label| (OTHER.to_owned(), Target::of(label)))).collect()
    }
}

impl Target {
    fn of(label: i64) -> Self {
        if label == NO_CLASS { Self::Word(IGNORE.to_owned()) } else { Self::Class(label) }
    }

    fn label(&self) -> Result<i64, String> {
        match self {
            Self::Class(class @ 0..) => Ok(*class),
            Self::Word(word) if word == IGNORE => Ok(NO_CLASS),
            Self::Class(class) => Err(format!("{class} is no class; classes count from 0")),
            Self::Word(word) => Err(format!("`{word}` is no class; give a number or `{IGNORE}`")),
        }
    }
}

/// The stored values that an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Ids(i64, i64),
    Color([u8; 3]),
    Other,
}

impl Key {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == OTHER {
            return Ok(Self::Other);
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Ids(id, id));
        }
        let error =
            || format!("`{text}` is no id (`5`), range (`5-9`), colour (`255,0,128`) or `{OTHER}`");
        if text.contains(',') {
            let parts: Vec<u8> = text
                .split(',')
                .map(|part| part.trim().parse().map_err(|_| error()))
                .collect::<Result<_, _>>()?;
            return <[u8; 3]>::try_from(parts).map(Self::Color).map_err(|_| error());
        }
        // The first character may be the sign of the first id.
        let dash = text.char_indices().skip(1).find(|(_, c)| *c == '-').ok_or_else(error)?.0;
        let (first, last) = (&text[..dash], &text[dash + 1..]);
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self::Ids(first, last)),
            (Ok(_), Ok(_)) => Err(format!("`{text}` ends before it begins")),
            _ => Err(error()),
        }
    }
}

/// Sorted, and joined where ids follow each other.
fn joined(mut spans: Vec<Span>, are_colors: bool) -> Result<Vec<Span>, String> {
    spans.sort_unstable_by_key(|span| (span.first, span.last));
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(before) if span.first <= before.last => {
                let stored = match are_colors {
                    true => {
                        let [.., red, green, blue] = span.first.to_be_bytes();
                        format!("the colour {red},{green},{blue}")
                    }
                    false => format!("the id {}", span.first),
                };
                return Err(format!("{stored} is there twice"));
            }
            Some(before)
                if !are_colors && span.label == before.label && span.first == before.last + 1 =>
            {
                before.last = span.last;
            }
            _ => joined.push(span),
        }
    }
    Ok(joined)
}
