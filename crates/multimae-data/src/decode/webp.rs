//! The sizes that a WebP file claims.

use image::ImageFormat;

use super::{Problem, color};

/// Bytes before the first chunk.
const FILE: usize = 12;
/// Bytes of a chunk before its data: its name and its length.
const CHUNK: usize = 8;
/// Bytes of an animated frame before its own chunks.
const ANIMATED: usize = 16;

/// Height and width by the header of the file and of every picture in it: the library takes memory for
/// a picture before it compares the two.
pub(super) fn claimed_size(bytes: &[u8]) -> Result<(u64, u64), Problem> {
    let canvas = color::claimed_size(bytes, ImageFormat::WebP)?;
    let mut sizes = Vec::new();
    add_sizes(bytes.get(FILE..).unwrap_or_default(), &mut sizes);
    let larger = |a: (u64, u64), b: (u64, u64)| (a.0.max(b.0), a.1.max(b.1));
    Ok(sizes.into_iter().fold(canvas, larger))
}

/// The heights and widths of the pictures in a row of chunks.
fn add_sizes(mut chunks: &[u8], sizes: &mut Vec<(u64, u64)>) {
    while let Some((name, rest)) = chunks.split_first_chunk::<4>() {
        let Some((length, data)) = rest.split_first_chunk::<4>() else { return };
        let length = u32::from_le_bytes(*length) as usize;
        let data = &data[..length.min(data.len())];
        match name {
            b"VP8 " => sizes.extend(lossy(data)),
            b"VP8L" => sizes.extend(lossless(data)),
            b"ANMF" => add_sizes(data.get(ANIMATED..).unwrap_or_default(), sizes),
            _ => {}
        }
        // Chunks begin at even places.
        let next = length.checked_next_multiple_of(2).and_then(|length| length.checked_add(CHUNK));
        chunks = next.and_then(|next| chunks.get(next..)).unwrap_or_default();
    }
}

/// Behind a tag and a start code of three bytes each: width and height in 14 bits.
fn lossy(data: &[u8]) -> Option<(u64, u64)> {
    let side = |at: usize| -> Option<u64> {
        let bytes = data.get(at..at + 2)?.first_chunk::<2>()?;
        Some(u64::from(u16::from_le_bytes(*bytes) & 0x3fff))
    };
    Some((side(8)?, side(6)?))
}

/// Behind a signature of one byte: width and height in 14 bits each, less one.
fn lossless(data: &[u8]) -> Option<(u64, u64)> {
    let bits = u64::from(u32::from_le_bytes(*data.get(1..5)?.first_chunk::<4>()?));
    Some(((bits >> 14 & 0x3fff) + 1, (bits & 0x3fff) + 1))
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    /// Found by fuzzing: a picture of 16383 x 16383 pixels in a file whose header says 1 x 1.
    #[test]
    fn the_larger_of_canvas_and_picture_counts() {
        let mut file = std::io::Cursor::new(Vec::new());
        RgbImage::new(5, 3).write_to(&mut file, ImageFormat::WebP).unwrap();
        let file = file.into_inner();
        assert_eq!(claimed_size(&file), Ok((3, 5)));
        let chunk = |name: &[u8], data: &[u8]| {
            [name, &(data.len() as u32).to_le_bytes(), data, &vec![0; data.len() % 2]].concat()
        };
        // The canvas is 4 x 2; sizes are stored less one.
        let header = chunk(b"VP8X", &[0, 0, 0, 0, 3, 0, 0, 1, 0, 0]);
        let lossy = chunk(b"VP8 ", &[0, 0, 0, 0x9d, 1, 0x2a, 0xff, 0x3f, 7, 0, 0]);
        let lossless = chunk(b"VP8L", &[0x2f, 0xff, 0xff, 0xff, 0x0f]);
        let animated = chunk(b"ANMF", &[vec![0; ANIMATED], lossless.clone()].concat());
        for (pictures, size) in [
            (vec![], (2, 4)),
            (vec![&lossy], (7, 16383)),
            (vec![&lossless], (16384, 16384)),
            (vec![&animated, &lossy], (16384, 16384)),
        ] {
            let chunks = [vec![header.clone()], pictures.into_iter().cloned().collect()].concat();
            let chunks = chunks.concat();
            let length = (4 + chunks.len() as u32).to_le_bytes();
            let file = [&b"RIFF"[..], &length, b"WEBP", &chunks].concat();
            let mut sizes = Vec::new();
            add_sizes(&file[FILE..], &mut sizes);
            let all = sizes.into_iter().fold((2, 4), |a, b| (a.0.max(b.0), a.1.max(b.1)));
            assert_eq!(all, size);
        }
    }
}
