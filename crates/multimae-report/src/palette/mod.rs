//! Colours and names of semantic classes.

mod classes;
mod distinct;

use classes::{COCO133, Class, NYU13, NYU40};

pub use distinct::distinct_colors;

/// The colour of void pixels and of labels beyond the palette.
pub const VOID: [u8; 3] = [0; 3];

/// The colours and names of the classes of a label set, indexed by label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Palette {
    classes: Vec<(String, [u8; 3])>,
}

impl Palette {
    /// NYUv2 with 40 classes: label 0 is void and black, labels 1 to 40 are the classes.
    #[must_use]
    pub fn nyu40() -> Self {
        Self::with_void(&NYU40)
    }

    /// NYUv2 with 13 classes: label 0 is void and black, labels 1 to 13 are the classes.
    #[must_use]
    pub fn nyu13() -> Self {
        Self::with_void(&NYU13)
    }

    /// COCO panoptic with 133 classes, without void.
    #[must_use]
    pub fn coco133() -> Self {
        Self::from_table(&COCO133)
    }

    /// `n` classes with distinct colours, named `class 0`, `class 1` and so on.
    #[must_use]
    pub fn generated(n: usize) -> Self {
        Self::named((0..n).map(|id| format!("class {id}")))
    }

    /// Distinct colours for classes with names.
    #[must_use]
    pub fn named<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let colors = distinct_colors(names.len());
        Self { classes: names.into_iter().zip(colors).collect() }
    }

    /// From names and colours.
    #[must_use]
    pub fn new(classes: Vec<(String, [u8; 3])>) -> Self {
        Self { classes }
    }

    /// Without the first class, for labels that count from the first class and mark void by a
    /// label beyond the classes, often 255.
    #[must_use]
    pub fn without_first(mut self) -> Self {
        self.classes.drain(..self.classes.len().min(1));
        self
    }

    /// Number of labels, void included where the palette has it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether the palette has no label at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The colour of a label; [`VOID`] beyond the palette.
    #[must_use]
    pub fn color(&self, label: i64) -> [u8; 3] {
        self.class(label).map_or(VOID, |class| class.1)
    }

    /// The name of a label; `void` beyond the palette.
    #[must_use]
    pub fn name(&self, label: i64) -> &str {
        self.class(label).map_or("void", |class| &class.0)
    }

    fn class(&self, label: i64) -> Option<&(String, [u8; 3])> {
        self.classes.get(usize::try_from(label).ok()?)
    }

    fn with_void(classes: &[Class]) -> Self {
        let mut palette = Self::from_table(classes);
        palette.classes.insert(0, ("void".to_owned(), VOID));
        palette
    }

    fn from_table(classes: &[Class]) -> Self {
        Self { classes: classes.iter().map(|&(name, color)| (name.to_owned(), color)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn all() -> [(Palette, usize); 4] {
        let generated = Palette::generated(150);
        [
            (Palette::nyu40(), 41),
            (Palette::nyu13(), 14),
            (Palette::coco133(), 133),
            (generated, 150),
        ]
    }

    #[test]
    fn sizes_are_right_and_colours_and_names_distinct() {
        for (palette, len) in all() {
            assert_eq!(palette.len(), len);
            let labels = 0..len as i64;
            let colors: HashSet<_> = labels.clone().map(|id| palette.color(id)).collect();
            let names: HashSet<_> = labels.map(|id| palette.name(id)).collect();
            assert_eq!((colors.len(), names.len()), (len, len));
        }
    }

    #[test]
    fn labels_are_where_they_belong() {
        let nyu = Palette::nyu40();
        assert_eq!((nyu.name(0), nyu.color(0)), ("void", VOID));
        assert_eq!((nyu.name(1), nyu.name(40)), ("wall", "otherprop"));
        assert_eq!((nyu.name(41), nyu.color(-1)), ("void", VOID));
        let targets = Palette::nyu40().without_first();
        assert_eq!((targets.len(), targets.name(0), targets.name(255)), (40, "wall", "void"));
        assert_eq!(Palette::nyu13().name(13), "window");
        let coco = Palette::coco133();
        assert_eq!((coco.name(0), coco.color(0)), ("person", [220, 20, 60]));
        assert_eq!((coco.name(132), coco.color(132)), ("rug-merged", [250, 141, 255]));
    }

    #[test]
    fn colours_do_not_depend_on_the_number_of_classes() {
        assert_eq!(distinct_colors(20)[..7], distinct_colors(7));
        assert!(Palette::generated(0).is_empty());
    }
}
