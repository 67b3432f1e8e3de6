//! Faults of decoding libraries, which count as damage of the file.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Problem;
use super::png_file::{Chunk, chunks};

/// Runs a decoder. A panic inside it, which a damaged file can cause in a library, is a problem of
/// this file alone.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    // Nothing that the decoder worked on is seen again.
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| {
        Err("its decoder panicked; the file is damaged, replace it or leave it out".to_owned())
    })
}

/// Checks that the palette of a png consists of 1 to 256 colours: on another one the library panics.
pub(super) fn check_palette(png: &[u8]) -> Result<(), Problem> {
    const COLORS: usize = 3 * 256;
    let head = chunks(png).take_while(|chunk| chunk.kind != *b"IDAT");
    for Chunk { length, .. } in head.filter(|chunk| chunk.kind == *b"PLTE") {
        if !length.is_multiple_of(3) || length == 0 || length > COLORS {
            return Err(format!(
                "the png is damaged: its palette has {length} bytes, and must have three for \
                 each of 1 to 256 colours"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{decode_colors, decode_values};

    #[test]
    fn a_panic_of_a_decoder_is_a_problem_of_the_file() {
        let problem = guarded(|| -> Result<u8, Problem> { panic!("a library fails") });
        assert!(problem.unwrap_err().contains("panicked"));
        assert_eq!(guarded(|| Ok(3)), Ok(3));
    }

    /// Found by fuzzing: the library cuts the palette into colours of three bytes and panics on what
    /// is left, or on the 257th.
    #[test]
    fn a_png_whose_palette_has_no_whole_colours_is_damaged() {
        for length in [0_usize, 1, 268, 3 * 257] {
            let png = png_with_palette(length);
            for problem in [decode_colors(&png).unwrap_err(), decode_values(&png).unwrap_err()] {
                assert!(problem.contains(&format!("palette has {length} bytes")), "{problem}");
            }
        }
        let whole = png_with_palette(6);
        assert_eq!(decode_colors(&whole).unwrap().size(), (1, 2));
    }

    /// Found by fuzzing: the library panics where chroma has more samples than luma.
    #[test]
    fn a_jpeg_with_more_chroma_than_luma_does_no_harm() {
        let mut jpeg = Vec::new();
        let image = image::RgbImage::from_fn(17, 11, |x, y| image::Rgb([x as u8, y as u8, 77]));
        image::codecs::jpeg::JpegEncoder::new(&mut jpeg).encode_image(&image).unwrap();
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        // Marker, length, precision, height, width, components; then three bytes for each.
        jpeg[frame + 10 + 3 + 3 + 1] = 0x22;
        let _ = decode_colors(&jpeg);
        let _ = decode_values(&jpeg);
    }

    /// Two pixels, the colours 0 and 1 of a palette of `length` bytes.
    fn png_with_palette(length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(vec![9; 6]);
        encoder.write_header().unwrap().write_image_data(&[0, 1]).unwrap();
        let at = bytes.windows(4).position(|window| window == b"PLTE").unwrap();
        let chunk = [&b"PLTE"[..], &vec![9; length]].concat();
        let checksum = crc32fast::hash(&chunk).to_be_bytes();
        let palette = [&(length as u32).to_be_bytes()[..], &chunk, &checksum].concat();
        // In the place of the old chunk: length, type, six bytes, checksum.
        bytes.splice(at - 4..at + 4 + 6 + 4, palette);
        bytes
    }
}
