//! Frames and files in a pack, before they are read.

use std::sync::atomic::{AtomicBool, Ordering};

use super::frames::FrameFile;
use super::index::{FolderEntry, Record, Shape};
use crate::decode::{self, Frame, FrameInfo, Order, Pixels, Problem};
use crate::modality::LabelRule;
use crate::resize::CropBox;
use crate::{DataModality, Encoding, RawMap};

/// The place of a frame or file.
pub(super) struct Slot<'a> {
    pub(super) file: &'a FrameFile,
    pub(super) folder: &'a FolderEntry,
    pub(super) record: Record,
    /// Whether its checksum was found to be right.
    pub(super) checked: &'a AtomicBool,
}

impl Slot<'_> {
    /// All bytes, with their checksum compared.
    pub(super) fn read_all(&self) -> Result<Vec<u8>, Problem> {
        let len = usize::try_from(self.record.len);
        let len = len.map_err(|_| "it is too large for this machine".to_owned())?;
        let mut bytes = vec![0; len];
        self.read(&mut bytes, 0)?;
        if crc32fast::hash(&bytes) != self.record.crc {
            return Err(
                "its bytes in the pack are damaged (wrong checksum); `multimae pack --verify` names \
                 all such frames; pack again"
                    .to_owned(),
            );
        }
        self.checked.store(true, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Bytes from a place within on.
    fn read(&self, bytes: &mut [u8], from: u64) -> Result<(), Problem> {
        let offset = self.record.offset.get() + from;
        self.file.read(bytes, offset).map_err(|error| error.to_string())
    }
}

/// A frame of a pack, not yet read.
pub(crate) struct PackedFrame<'a> {
    pub(super) slot: Slot<'a>,
    pub(super) shape: Shape,
}

impl PackedFrame<'_> {
    /// Height and width.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.shape.info.height, self.shape.info.width)
    }

    /// Returns the values of a window. Reads no more than the rows of the window, unless the frame
    /// has to be checked.
    pub(crate) fn window(
        self,
        modality: &DataModality,
        window: CropBox,
    ) -> Result<RawMap, Problem> {
        let encoding = &modality.encoding;
        if self.slot.checked.load(Ordering::Relaxed) && self.is_allowed(encoding) {
            let frame = self.read_rows(window.top, window.height)?;
            decode::check_kind(&frame, encoding, &modality.rules)?;
            return decode::convert(frame, modality, CropBox { top: 0, ..window });
        }
        let frame = self.read_all()?;
        decode::check_kind(&frame, encoding, &modality.rules)?;
        if !self.is_allowed(encoding) {
            decode::check_values(&frame, encoding)?;
        }
        decode::convert(frame, modality, window)
    }

    /// Whether it is known that all values are possible; any number is.
    fn is_allowed(&self, encoding: &Encoding) -> bool {
        match (encoding, &self.slot.folder.labels) {
            (Encoding::Labels { .. }, Some(labels)) => LabelRule::of(encoding)
                .is_some_and(|rule| labels.iter().all(|&label| rule.label(label).is_some())),
            (Encoding::Labels { .. }, None) => false,
            _ => true,
        }
    }

    /// All of it, with its checksum compared.
    pub(super) fn read_all(&self) -> Result<Frame, Problem> {
        Ok(self.frame(self.slot.read_all()?, self.shape.info))
    }

    /// Some rows of every plane.
    fn read_rows(&self, top: usize, rows: usize) -> Result<Frame, Problem> {
        let info = self.shape.info;
        let (planes, run) = match info.order {
            Order::Interleaved => (1, info.channels),
            Order::Planar => (info.channels, 1),
        };
        let row = info.width * run * self.shape.values.size();
        let mut bytes = vec![0; planes * rows * row];
        for (plane, bytes) in bytes.chunks_exact_mut((rows * row).max(1)).enumerate() {
            let first = (plane * info.height + top) * row;
            self.slot.read(bytes, first as u64)?;
        }
        Ok(self.frame(bytes, FrameInfo { height: rows, ..info }))
    }

    fn frame(&self, bytes: Vec<u8>, info: FrameInfo) -> Frame {
        let pixels: Pixels = self.shape.values.values(bytes);
        Frame { info, pixels }
    }
}
