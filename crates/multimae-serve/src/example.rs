//! A rendered room to try a model on: every modality, as files of the model's data.

use std::sync::{Arc, Mutex, PoisonError};

use multimae_data::{DataModality, Encoding, Quantity};
use multimae_synth::{Frame, FrameMap, LABEL_NAMES, render};

/// Height and width of rooms.
const SIZE: (usize, usize) = (240, 320);

/// Renders rooms and remembers the last: its files are asked for one by one.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    last: Mutex<Option<(u64, Arc<Frame>)>>,
}

impl Rooms {
    /// The room of a seed.
    pub(crate) fn room(&self, seed: u64) -> Arc<Frame> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((of, frame)) if *of == seed => Arc::clone(frame),
            _ => {
                let frame = Arc::new(render(seed, 0, SIZE));
                *last = Some((seed, Arc::clone(&frame)));
                frame
            }
        }
    }
}

/// The map of a room that a modality stores, if there is one.
pub(crate) fn map_of(modality: &DataModality) -> Option<FrameMap> {
    match &modality.encoding {
        Encoding::Color { .. } => Some(FrameMap::Rgb),
        // Rooms are in millimetres.
        Encoding::Continuous { channels: 1, divisor, quantity: Quantity::Distance, .. }
            if *divisor == 1000.0 =>
        {
            Some(FrameMap::Depth)
        }
        Encoding::Labels { classes, offset, .. } if nyu40(*classes, *offset) => {
            Some(FrameMap::Labels)
        }
        Encoding::Continuous { .. } | Encoding::Labels { .. } => None,
    }
}

/// Whether labels are the ids of NYUv2 with 40 classes, with void as a class or without.
fn nyu40(classes: usize, offset: i64) -> bool {
    (classes as i64).checked_sub(offset) == Some(LABEL_NAMES.len() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(classes: usize, offset: i64) -> DataModality {
        let encoding = Encoding::labels(classes, Some(255), offset);
        DataModality { folder: "label40".to_owned(), ..DataModality::new("semseg", encoding) }
    }

    #[test]
    fn labels_of_rooms_are_those_of_nyu40_alone() {
        assert_eq!(map_of(&labels(40, -1)), Some(FrameMap::Labels));
        assert_eq!(map_of(&labels(41, 0)), Some(FrameMap::Labels));
        assert_eq!(map_of(&labels(133, 0)), None);
        assert_eq!(map_of(&labels(13, -1)), None);
    }

    #[test]
    fn a_room_is_rendered_once() {
        let rooms = Rooms::default();
        let first = rooms.room(3);
        assert!(Arc::ptr_eq(&first, &rooms.room(3)));
        assert!(!Arc::ptr_eq(&first, &rooms.room(4)));
        assert_eq!((first.height, first.width), SIZE);
    }
}
