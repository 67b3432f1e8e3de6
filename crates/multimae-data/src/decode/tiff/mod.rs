//! TIFF files value by value: no palette is applied, no value is scaled.

mod directory;
mod packing;

pub(super) use directory::Directory;
use packing::{largest_ratio, undo_predictor, unpacked};

use super::frame::{Form, Frame, FrameInfo, Order, Pixels};
use super::png_file::unpack;
use super::{FileFormat, Problem};
use crate::limits::MAX_BYTES;

/// Bits of the tag NewSubfileType: a smaller copy, or a mask of transparency.
const SECONDARY: u64 = 0b101;
/// More pages are not looked at.
const MAX_PAGES: usize = 64;

/// The arrangement of an image's values in its file.
struct Layout {
    height: usize,
    width: usize,
    channels: usize,
    bits: u8,
    /// Unsigned integers, signed integers, floats.
    format: u64,
    photometric: u64,
    compression: u64,
    predictor: u64,
    /// Every channel is stored on its own.
    planar: bool,
    /// Height and width of strips or tiles; all tiles are whole, the last strip need not be.
    part: (usize, usize),
    tiled: bool,
    places: Vec<u64>,
    lengths: Vec<u64>,
}

/// Reads the image of a file value by value.
pub(super) fn read(bytes: &[u8]) -> Result<Frame, Problem> {
    let directory = open(bytes)?;
    only_page(&directory)?;
    let layout = Layout::of(&directory)?;
    let values = layout.bytes(bytes, directory.big_endian)?;
    let mut pixels = layout.pixels(values, directory.big_endian)?;
    if layout.photometric == 0 {
        invert(&mut pixels, layout.bits)?;
    }
    let palette = layout.photometric == 3;
    let Layout { height, width, channels, bits, planar, .. } = layout;
    let form = Form::Raster { format: FileFormat::Tiff, bits, palette };
    let order = if planar { Order::Planar } else { Order::Interleaved };
    Frame::new(FrameInfo { height, width, channels, form, order }, pixels)
}

/// Reads the image of a file as colours: a palette becomes RGB of 8 bits.
pub(super) fn read_colors(bytes: &[u8]) -> Result<Frame, Problem> {
    let frame = read(bytes)?;
    let (Form::Raster { palette: true, bits, .. }, Pixels::U8(indices)) =
        (frame.info.form, &frame.pixels)
    else {
        return Ok(frame);
    };
    let colors = open(bytes)?.numbers(320).unwrap_or_default();
    let count = 1_usize << bits.min(8);
    let colour = |index: u8| -> Option<[u8; 3]> {
        let channel = |at: usize| Some((colors.get(at * count + usize::from(index))? >> 8) as u8);
        Some([channel(0)?, channel(1)?, channel(2)?])
    };
    let rgb: Option<Vec<[u8; 3]>> = indices.iter().map(|&index| colour(index)).collect();
    let rgb = rgb.ok_or("the palette of the tiff is cut off")?.into_flattened();
    let form = Form::Raster { format: FileFormat::Tiff, bits: 8, palette: false };
    Frame::new(FrameInfo { channels: 3, form, ..frame.info }, Pixels::U8(rgb))
}

/// Height and width by the header.
pub(super) fn claimed_size(bytes: &[u8]) -> Result<(u64, u64), Problem> {
    let directory = open(bytes)?;
    let side = |tag| directory.number(tag).ok_or_else(damaged);
    Ok((side(257)?, side(256)?))
}

fn open(bytes: &[u8]) -> Result<Directory<'_>, Problem> {
    Directory::first(bytes).ok_or_else(damaged)
}

fn damaged() -> Problem {
    "the tiff is damaged: its tags cannot be read".to_owned()
}

/// Further pages may only be smaller copies of the first one, or its mask: it would not be certain
/// which of several images is meant.
fn only_page(first: &Directory<'_>) -> Result<(), Problem> {
    let mut page = first.next();
    for _ in 0..MAX_PAGES {
        let Some(this) = page else { return Ok(()) };
        if this.number(254).unwrap_or(0) & SECONDARY == 0 {
            break;
        }
        page = this.next();
    }
    Err("the tiff has several pages; save one image per file".to_owned())
}

impl Layout {
    fn of(tags: &Directory<'_>) -> Result<Self, Problem> {
        let side = |tag| -> Result<usize, Problem> {
            let side = tags.number(tag).and_then(|side| usize::try_from(side).ok());
            side.filter(|&side| side > 0).ok_or_else(damaged)
        };
        let or = |tag, default| tags.number(tag).unwrap_or(default);
        let (height, width) = (side(257)?, side(256)?);
        let all_bits = tags.numbers(258).unwrap_or_else(|| vec![1]);
        let formats = tags.numbers(339).unwrap_or_else(|| vec![1]);
        let (bits, format) = (all_bits.first().copied(), formats.first().copied());
        let (Some(bits @ 1..=64), Some(format)) = (bits, format) else { return Err(damaged()) };
        if all_bits.iter().any(|&b| b != bits) || formats.iter().any(|&f| f != format) {
            return Err("the channels of the tiff are of different types".to_owned());
        }
        if !matches!(bits, 1 | 2 | 4 | 8 | 16 | 32 | 64) {
            return Err(format!(
                "the tiff has values of {bits} bits, which are not read; save it with 8, 16 or 32 bits"
            ));
        }
        let photometric = or(262, 1);
        if photometric > 3 {
            return Err(format!(
                "the tiff has colours of kind {photometric}, which are not read; save it as grey or \
                 RGB"
            ));
        }
        if or(266, 1) != 1 {
            return Err("the bits of the tiff are in reverse order; save it again".to_owned());
        }
        let tiled = tags.number(322).is_some();
        let part = match tiled {
            true => (side(323)?, side(322)?),
            // A number of rows beyond the image stands for all of them.
            false => (side(278).map_or(height, |rows| rows.min(height)), width),
        };
        let (places, lengths) = if tiled { (324, 325) } else { (273, 279) };
        Ok(Self {
            height,
            width,
            channels: usize::try_from(or(277, 1)).ok().filter(|&n| n > 0).ok_or_else(damaged)?,
            bits: bits as u8,
            format,
            photometric,
            compression: or(259, 1),
            predictor: or(317, 1),
            planar: or(284, 1) == 2,
            part,
            tiled,
            places: tags.numbers(places).ok_or_else(damaged)?,
            lengths: tags.numbers(lengths).ok_or_else(damaged)?,
        })
    }

    /// Bytes of a value as they are kept: at least one.
    fn bytes_per_value(&self) -> usize {
        usize::from(self.bits).div_ceil(8)
    }

    /// All values in the byte order of the file; those of less than 8 bits in a byte each.
    fn bytes(&self, file: &[u8], big_endian: bool) -> Result<Vec<u8>, Problem> {
        let (planes, channels) = if self.planar { (self.channels, 1) } else { (1, self.channels) };
        let pixel = channels.checked_mul(self.bytes_per_value()).ok_or_else(damaged)?;
        let row = self.width.checked_mul(pixel);
        let plane = row.and_then(|row| row.checked_mul(self.height));
        let all = plane.and_then(|plane| plane.checked_mul(planes));
        let (Some(row), Some(all)) = (row, all.filter(|&all| all <= MAX_BYTES)) else {
            return Err(format!("the values of the tiff need more than {MAX_BYTES} bytes"));
        };
        self.check_held(all, file.len())?;
        let packed_row =
            self.part.1.checked_mul(channels).and_then(|n| n.checked_mul(self.bits.into()));
        let packed_row = packed_row.ok_or_else(damaged)?.div_ceil(8);
        let part_bytes = packed_row.checked_mul(self.part.0).filter(|&bytes| bytes <= MAX_BYTES);
        if part_bytes.is_none() {
            return Err(format!("a tile of the tiff needs more than {MAX_BYTES} bytes"));
        }
        let (down, across) = (self.height.div_ceil(self.part.0), self.width.div_ceil(self.part.1));
        let mut values = vec![0; all];
        for (index, part) in (0..planes * down * across).enumerate() {
            let (plane, part) = (part / (down * across), part % (down * across));
            let (top, left) = (part / across * self.part.0, part % across * self.part.1);
            let rows = self.part.0.min(self.height - top);
            let stored_rows = if self.tiled { self.part.0 } else { rows };
            let mut bytes = self.part_bytes(file, index, packed_row * stored_rows)?;
            let columns = self.part.1.min(self.width - left);
            for (y, line) in bytes.chunks_exact_mut(packed_row).take(rows).enumerate() {
                let shape = (channels, self.bytes_per_value());
                undo_predictor(self.predictor, line, shape, big_endian)?;
                let start = (plane * self.height + top + y) * row + left * pixel;
                let target = &mut values[start..start + columns * pixel];
                if self.bits < 8 {
                    let unpacked = unpack(line, self.bits, columns * channels);
                    target.iter_mut().zip(unpacked).for_each(|(to, value)| *to = value);
                } else {
                    target.copy_from_slice(&line[..columns * pixel]);
                }
            }
        }
        Ok(values)
    }

    /// Checks that a file of this length can hold the values, before memory is taken for them.
    fn check_held(&self, values: usize, file: usize) -> Result<(), Problem> {
        let unpacked = if self.bits < 8 { 8 / usize::from(self.bits) } else { 1 };
        let most = file.saturating_mul(largest_ratio(self.compression)? * unpacked);
        if values <= most {
            return Ok(());
        }
        Err(format!(
            "the tiff is damaged: its tags claim values of {values} bytes, and its {file} bytes hold \
             at most {most}"
        ))
    }

    /// The bytes of a strip or tile.
    fn part_bytes(&self, file: &[u8], index: usize, size: usize) -> Result<Vec<u8>, Problem> {
        let place = self.places.get(index).zip(self.lengths.get(index)).and_then(|(at, len)| {
            let at = usize::try_from(*at).ok()?;
            file.get(at..at.checked_add(usize::try_from(*len).ok()?)?)
        });
        unpacked(self.compression, place.ok_or("the tiff ends before its pixels")?, size)
    }

    fn pixels(&self, bytes: Vec<u8>, big_endian: bool) -> Result<Pixels, Problem> {
        macro_rules! read {
            ($type:ty) => {{
                let read = if big_endian { <$type>::from_be_bytes } else { <$type>::from_le_bytes };
                bytes.as_chunks::<{ size_of::<$type>() }>().0.iter().map(|&b| read(b)).collect()
            }};
        }
        Ok(match (self.format, self.bits) {
            (1 | 4, 1 | 2 | 4 | 8) => Pixels::U8(bytes),
            (1 | 4, 16) => Pixels::U16(read!(u16)),
            (1 | 4, 32) => Pixels::U32(read!(u32)),
            (1 | 4, 64) => Pixels::of_u64(read!(u64))?,
            (2, 8) => Pixels::I8(read!(i8)),
            (2, 16) => Pixels::I16(read!(i16)),
            (2, 32) => Pixels::I32(read!(i32)),
            (2, 64) => Pixels::I64(read!(i64)),
            (3, 16) => {
                let halves: Vec<u16> = read!(u16);
                Pixels::of_halves(&halves)
            }
            (3, 32) => Pixels::F32(read!(f32)),
            (3, 64) => Pixels::F64(read!(f64)),
            (format, bits) => {
                return Err(format!(
                    "the tiff has values of {bits} bits and format {format}, which are not read"
                ));
            }
        })
    }
}

/// White is 0 and black the greatest value.
fn invert(pixels: &mut Pixels, bits: u8) -> Result<(), Problem> {
    match pixels {
        Pixels::U8(values) => {
            let most = ((1_u16 << bits) - 1) as u8;
            values.iter_mut().for_each(|value| *value = most - *value);
        }
        Pixels::U16(values) => values.iter_mut().for_each(|value| *value = !*value),
        _ => return Err("the tiff counts white as 0; save it with black as 0".to_owned()),
    }
    Ok(())
}
