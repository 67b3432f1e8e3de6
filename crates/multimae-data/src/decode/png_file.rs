//! png files sample by sample: no palette is applied, no value is scaled.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Transformations};

use super::Problem;
use super::frame::{Form, Frame, FrameInfo, Order, Pixels};

/// A chunk of a png.
pub(super) struct Chunk<'a> {
    pub(super) kind: [u8; 4],
    /// The bytes that it claims to have.
    pub(super) length: usize,
    /// Those of them that the file has.
    pub(super) data: &'a [u8],
}

/// The chunks of a png in order. Each is its length, its type, its data and a checksum.
pub(super) fn chunks(png: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    const SIGNATURE: usize = 8;
    let mut rest = png.get(SIGNATURE..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (head, behind) = rest.split_first_chunk::<8>()?;
        let [a, b, c, d, kind @ ..] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        rest = behind.get(length.saturating_add(4)..).unwrap_or_default();
        Some(Chunk { kind, length, data: behind.get(..length).unwrap_or(behind) })
    })
}

/// Reads a png value by value.
pub(super) fn read(bytes: &[u8]) -> Result<Frame, Problem> {
    let (info, pixels) = decode(bytes).map_err(|error| format!("the png is damaged: {error}"))?;
    Frame::new(info, pixels)
}

fn decode(bytes: &[u8]) -> Result<(FrameInfo, Pixels), png::DecodingError> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info()?;
    let size = reader.output_buffer_size().ok_or(png::DecodingError::LimitsExceeded)?;
    let mut buffer = vec![0; size];
    let found = reader.next_frame(&mut buffer)?;
    let (height, width) = (found.height as usize, found.width as usize);
    let (channels, bits) = (found.color_type.samples(), bits(found.bit_depth));
    buffer.truncate(height * found.line_size);
    let pixels = match bits {
        16 => {
            let pairs = buffer.as_chunks::<2>().0.iter();
            Pixels::U16(pairs.map(|&pair| u16::from_be_bytes(pair)).collect())
        }
        8 => Pixels::U8(buffer),
        _ => {
            let lines = buffer.chunks_exact(found.line_size.max(1));
            Pixels::U8(lines.flat_map(|line| unpack(line, bits, channels * width)).collect())
        }
    };
    let form = Form::Png { bits, palette: found.color_type == ColorType::Indexed };
    Ok((FrameInfo { height, width, channels, form, order: Order::Interleaved }, pixels))
}

/// For messages: what kind of image this is.
pub(super) fn describe(bits: u8, palette: bool, channels: usize) -> String {
    format!("{bits}-bit {}", kind_of_pixels(palette, channels))
}

/// A name for pixels with this number of values, for messages.
pub(super) fn kind_of_pixels(palette: bool, channels: usize) -> String {
    match (palette, channels) {
        (true, _) => "palette".to_owned(),
        (_, 1) => "grey".to_owned(),
        (_, 2) => "grey and alpha".to_owned(),
        (_, 3) => "RGB".to_owned(),
        (_, 4) => "RGBA".to_owned(),
        (_, channels) => format!("{channels} channels"),
    }
}

fn bits(depth: BitDepth) -> u8 {
    match depth {
        BitDepth::One => 1,
        BitDepth::Two => 2,
        BitDepth::Four => 4,
        BitDepth::Eight => 8,
        BitDepth::Sixteen => 16,
    }
}

/// The first `count` values of a line whose values share bytes; the leftmost has the highest bits.
pub(super) fn unpack(line: &[u8], bits: u8, count: usize) -> impl Iterator<Item = u8> {
    let bits = usize::from(bits);
    (0..count).map(move |index| {
        let bit = index * bits;
        let shift = 8 - bits - bit % 8;
        (line[bit / 8] >> shift) & ((1 << bits) - 1)
    })
}
