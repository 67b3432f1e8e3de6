//! The classes of what is seen: the ids of NYUv2 with 40 classes.

/// Names of the ids 0 to 40; 0 is void, which these rooms do not have.
pub const LABEL_NAMES: [&str; 41] = [
    "void",
    "wall",
    "floor",
    "cabinet",
    "bed",
    "chair",
    "sofa",
    "table",
    "door",
    "window",
    "bookshelf",
    "picture",
    "counter",
    "blinds",
    "desk",
    "shelves",
    "curtain",
    "dresser",
    "pillow",
    "mirror",
    "floor mat",
    "clothes",
    "ceiling",
    "books",
    "refrigerator",
    "television",
    "paper",
    "towel",
    "shower curtain",
    "box",
    "whiteboard",
    "person",
    "night stand",
    "toilet",
    "sink",
    "lamp",
    "bathtub",
    "bag",
    "other structure",
    "other furniture",
    "other prop",
];

/// The classes that the rooms have. The number is the NYUv2-40 id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Label {
    Wall = 1,
    Floor = 2,
    Cabinet = 3,
    Bed = 4,
    Chair = 5,
    Sofa = 6,
    Table = 7,
    Door = 8,
    Window = 9,
    Bookshelf = 10,
    Picture = 11,
    Counter = 12,
    Desk = 14,
    Curtain = 16,
    Pillow = 18,
    FloorMat = 20,
    Ceiling = 22,
    Books = 23,
    Television = 25,
    Box = 29,
    Lamp = 35,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_names() {
        assert_eq!(LABEL_NAMES[Label::FloorMat as usize], "floor mat");
        assert_eq!(LABEL_NAMES[Label::Box as usize], "box");
        assert_eq!(LABEL_NAMES[Label::Lamp as usize], "lamp");
    }
}
