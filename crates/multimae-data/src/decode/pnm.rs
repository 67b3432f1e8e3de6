//! Netpbm images and portable float maps, value by value.

use super::frame::{Form, Frame, FrameInfo, Order, Pixels};
use super::{FileFormat, Problem};

/// The header of a file.
struct Header {
    /// The second letter of the file.
    letter: u8,
    width: usize,
    height: usize,
    /// The greatest value; 1 in bitmaps, 0 in float maps.
    most: usize,
    /// Of float maps: the values are little-endian.
    little: bool,
    /// The position of the values.
    data: usize,
}

/// Reads an image value by value: nothing is scaled. White is 1 in a bitmap, as it is in a png.
pub(super) fn read(bytes: &[u8]) -> Result<Frame, Problem> {
    let header = Header::parse(bytes)?;
    let channels = header.channels();
    let count = header.width.checked_mul(header.height).and_then(|all| all.checked_mul(channels));
    let count = count.ok_or("its size is too large")?;
    let data = bytes.get(header.data..).unwrap_or_default();
    let (bits, pixels) = header.values(data, count)?;
    let form = Form::Raster { format: FileFormat::Pnm, bits, palette: false };
    let Header { height, width, .. } = header;
    let order = Order::Interleaved;
    Frame::new(FrameInfo { height, width, channels, form, order }, pixels)
}

/// Height and width by the header.
pub(super) fn claimed_size(bytes: &[u8]) -> Result<(u64, u64), Problem> {
    let header = Header::parse(bytes)?;
    Ok((header.height as u64, header.width as u64))
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let damaged = || "its netpbm header is damaged".to_owned();
        let letter = *bytes.get(1).ok_or_else(damaged)?;
        let mut at = 2;
        let number = |word: &str| word.parse::<usize>().map_err(|_| damaged());
        let width = number(word(bytes, &mut at))?;
        let height = number(word(bytes, &mut at))?;
        let (mut most, mut little) = (1, false);
        match letter {
            b'1' | b'4' => {}
            b'f' | b'F' => {
                let scale: f32 = word(bytes, &mut at).parse().map_err(|_| damaged())?;
                (most, little) = (0, scale < 0.0);
            }
            _ => {
                most = number(word(bytes, &mut at))?;
                if !(1..=65535).contains(&most) {
                    return Err(format!("its greatest value is said to be {most}"));
                }
            }
        }
        // One white character ends the header.
        Ok(Self { letter, width, height, most, little, data: at + 1 })
    }

    fn channels(&self) -> usize {
        if matches!(self.letter, b'3' | b'6' | b'F') { 3 } else { 1 }
    }

    /// Bits per value, and the values, from the first row of the picture on.
    fn values(&self, data: &[u8], count: usize) -> Result<(u8, Pixels), Problem> {
        let short = || format!("it ends before its {count} values");
        match self.letter {
            b'f' | b'F' => {
                let read = if self.little { f32::from_le_bytes } else { f32::from_be_bytes };
                let values = data.as_chunks::<4>().0.get(..count).ok_or_else(short)?;
                let values: Vec<f32> = values.iter().map(|&bytes| read(bytes)).collect();
                // The last row comes first.
                let row = (self.width * self.channels()).max(1);
                Ok((32, Pixels::F32(values.chunks_exact(row).rev().flatten().copied().collect())))
            }
            b'4' => {
                let line = self.width.div_ceil(8).max(1);
                let lines = data.get(..line * self.height).ok_or_else(short)?.chunks_exact(line);
                // A set bit is black.
                let unpack = |line: &[u8]| -> Vec<u8> {
                    (0..self.width).map(|x| 1 - (line[x / 8] >> (7 - x % 8) & 1)).collect()
                };
                Ok((1, Pixels::U8(lines.flat_map(unpack).collect())))
            }
            b'1' => {
                let bits = data.iter().filter(|byte| matches!(byte, b'0' | b'1'));
                let values: Vec<u8> = bits.take(count).map(|&byte| b'1' - byte).collect();
                if values.len() < count { Err(short()) } else { Ok((1, Pixels::U8(values))) }
            }
            b'2' | b'3' => {
                let mut at = 0;
                let value = |_| word(data, &mut at).parse::<u16>().map_err(|_| short());
                // Every value takes a digit and a space at least.
                if count > data.len().div_ceil(2) {
                    return Err(short());
                }
                self.checked((0..count).map(value).collect::<Result<_, _>>()?)
            }
            _ if self.most > 255 => {
                let values = data.as_chunks::<2>().0.get(..count).ok_or_else(short)?;
                self.checked(values.iter().map(|&pair| u16::from_be_bytes(pair)).collect())
            }
            _ => Ok((8, Pixels::U8(data.get(..count).ok_or_else(short)?.to_vec()))),
        }
    }

    fn checked(&self, values: Vec<u16>) -> Result<(u8, Pixels), Problem> {
        if let Some(value) = values.iter().find(|&&value| usize::from(value) > self.most) {
            return Err(format!("it has the value {value} beyond its greatest, {}", self.most));
        }
        Ok(match self.most {
            ..=255 => (8, Pixels::U8(values.into_iter().map(|value| value as u8).collect())),
            _ => (16, Pixels::U16(values)),
        })
    }
}

/// The next word of a header, without comments; empty at the end. `at` is then behind it.
fn word<'a>(bytes: &'a [u8], at: &mut usize) -> &'a str {
    let rest = |at: usize| bytes.get(at..).unwrap_or_default();
    loop {
        match rest(*at).first() {
            Some(byte) if byte.is_ascii_whitespace() => *at += 1,
            Some(b'#') => *at += rest(*at).iter().take_while(|&&byte| byte != b'\n').count(),
            _ => break,
        }
    }
    let word = rest(*at);
    let len = word.iter().take_while(|byte| !byte.is_ascii_whitespace()).count().min(64);
    *at += len;
    str::from_utf8(&word[..len]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_value_by_value() {
        for (bytes, channels, pixels) in [
            (&b"P5 3 1\n255\n\x01\x02\xff"[..], 1, Pixels::U8(vec![1, 2, 255])),
            (b"P5\n# a\n2 1\n65535\n\x01\x00\xff\xff", 1, Pixels::U16(vec![256, 65535])),
            (b"P5 2 1 10000 \x27\x10\0\x01", 1, Pixels::U16(vec![10000, 1])),
            (b"P6 1 2 255 \x01\x02\x03\x04\x05\x06", 3, Pixels::U8(vec![1, 2, 3, 4, 5, 6])),
            (b"P2 2 2 300\n1 300\n2 3\n", 1, Pixels::U16(vec![1, 300, 2, 3])),
            (b"P3 1 1 9\n7 8 9", 3, Pixels::U8(vec![7, 8, 9])),
            (b"P4 3 2\n\xa0\x40", 1, Pixels::U8(vec![0, 1, 0, 1, 0, 1])),
            (b"P1 3 2\n1 0 1\n0 1 0", 1, Pixels::U8(vec![0, 1, 0, 1, 0, 1])),
            (b"Pf 1 2 -1.0\n\0\0\x80\x3f\0\0\0\x40", 1, Pixels::F32(vec![2.0, 1.0])),
            (b"Pf 1 1 1\n\x40\0\0\0", 1, Pixels::F32(vec![2.0])),
        ] {
            let frame = read(bytes).unwrap();
            assert_eq!((frame.info.channels, frame.pixels), (channels, pixels));
        }
    }

    #[test]
    fn damaged_files_are_refused() {
        for bytes in [
            &b"P5"[..],
            b"P5 3 1 255 \x01\x02",
            b"P5 99999999999 99999999999 255 ",
            b"P5 3 x 255 ",
            b"P5 1 1 70000 \x01\x01",
            b"P2 2 1 5\n3 6",
            b"P2 99999999 1 5\n3 6",
            b"P4 9 2 \x01",
            b"Pf 1 1 x\n1234",
        ] {
            assert!(read(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
