//! png files sample by sample: no palette is applied, no value is scaled.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Transformations};

use super::Problem;

/// The stored values of a png file.
pub(super) struct PngFile {
    pub(super) height: usize,
    pub(super) width: usize,
    /// Values per pixel.
    pub(super) channels: usize,
    /// Bits per value.
    pub(super) bits: usize,
    /// Values are indices into a palette.
    pub(super) palette: bool,
    /// `(H, W, C)`.
    pub(super) values: Vec<u16>,
}

impl PngFile {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Problem> {
        Self::read(bytes).map_err(|error| format!("the png is damaged: {error}"))
    }

    fn read(bytes: &[u8]) -> Result<Self, png::DecodingError> {
        let mut decoder = Decoder::new(Cursor::new(bytes));
        decoder.set_transformations(Transformations::IDENTITY);
        let mut reader = decoder.read_info()?;
        let size = reader.output_buffer_size().ok_or(png::DecodingError::LimitsExceeded)?;
        let mut buffer = vec![0; size];
        let info = reader.next_frame(&mut buffer)?;
        let (height, width) = (info.height as usize, info.width as usize);
        let (channels, bits) = (info.color_type.samples(), bits(info.bit_depth));
        let row = channels * width;
        let mut values = Vec::with_capacity(height * row);
        for line in buffer.chunks_exact(info.line_size).take(height) {
            unpack(line, bits, row, &mut values);
        }
        let palette = info.color_type == ColorType::Indexed;
        Ok(Self { height, width, channels, bits, palette, values })
    }

    /// For messages: what kind of image this is.
    pub(super) fn describe(&self) -> String {
        format!("{}-bit {}", self.bits, kind_of_pixels(self.palette, self.channels))
    }
}

/// For messages: what pixels of so many values are.
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

fn bits(depth: BitDepth) -> usize {
    match depth {
        BitDepth::One => 1,
        BitDepth::Two => 2,
        BitDepth::Four => 4,
        BitDepth::Eight => 8,
        BitDepth::Sixteen => 16,
    }
}

/// Appends the first `count` values of a line.
fn unpack(line: &[u8], bits: usize, count: usize, values: &mut Vec<u16>) {
    match bits {
        16 => values.extend(line.as_chunks::<2>().0.iter().map(|&pair| u16::from_be_bytes(pair))),
        8 => values.extend(line.iter().map(|&value| u16::from(value))),
        // Small values share a byte; the leftmost has the highest bits.
        _ => values.extend((0..count).map(|index| {
            let bit = index * bits;
            let shift = 8 - bits - bit % 8;
            (u16::from(line[bit / 8]) >> shift) & ((1 << bits) - 1)
        })),
    }
}
