//! The markers of a jpeg, without its pixels.

use super::Problem;

/// A marker and the bytes of its segment; of a scan, only those of its header.
struct Segment<'a> {
    marker: u8,
    payload: &'a [u8],
    /// The position behind it.
    end: usize,
}

/// The markers of the first image of a file, in order. Compressed data lies between them: there,
/// 0xff is followed by 0 or a restart marker.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        loop {
            self.at += self.bytes.get(self.at..)?.iter().position(|&byte| byte == 0xff)?;
            let marker = *self.bytes.get(self.at + 1)?;
            match marker {
                // Filling before a marker.
                0xff => self.at += 1,
                // Stuffed data, restarts, and markers without a segment.
                0x00 | 0x01 | 0xd0..=0xd8 => self.at += 2,
                0xd9 => {
                    self.at += 2;
                    return Some(Segment { marker, payload: &[], end: self.at });
                }
                _ => {
                    let start = self.at + 2;
                    let length = self.bytes.get(start..start + 2)?;
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                    let payload = self.bytes.get(start + 2..start + length.max(2))?;
                    self.at = start + length.max(2);
                    return Some(Segment { marker, payload, end: self.at });
                }
            }
        }
    }
}

fn segments(bytes: &[u8]) -> Segments<'_> {
    Segments { bytes, at: 2 }
}

/// The bytes of the first image, from its first to its last marker. Phones append videos and
/// further images.
///
/// # Errors
/// If the end is missing: a decoder would fill up the rest with grey and say nothing.
pub(super) fn image(bytes: &[u8]) -> Result<&[u8], Problem> {
    let mut scans = 0;
    for segment in segments(bytes) {
        match segment.marker {
            0xda => scans += 1,
            0xd9 if scans > 0 => return Ok(&bytes[..segment.end]),
            0xd9 => break,
            _ => {}
        }
    }
    Err("the jpeg ends early; copy or download it again".to_owned())
}

/// Height and width by the header.
pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64), Problem> {
    let mut frames = header(bytes).filter(|segment| is_frame(segment.marker));
    match frames.next().map(|segment| segment.payload) {
        Some([_, h1, h0, w1, w0, ..]) => {
            Ok((u16::from_be_bytes([*h1, *h0]).into(), u16::from_be_bytes([*w1, *w0]).into()))
        }
        _ => Err("the jpeg has no header; it is damaged".to_owned()),
    }
}

/// The EXIF data, which has the form of a TIFF file.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    header(bytes)
        .filter(|segment| segment.marker == 0xe1)
        .find_map(|segment| segment.payload.strip_prefix(b"Exif\0\0"))
}

/// The segments before the first scan.
fn header(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    segments(bytes).take_while(|segment| !matches!(segment.marker, 0xda | 0xd9))
}

/// Start of a frame: all of them but Huffman tables, extensions and arithmetic conditioning.
fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo() -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let image = image::RgbImage::from_fn(40, 30, |x, y| {
            image::Rgb([(x * 6) as u8, (y * 8) as u8, ((x * y) % 251) as u8])
        });
        image.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn bytes_behind_the_image_are_left_alone() {
        let photo = photo();
        assert_eq!(size(&photo), Ok((30, 40)));
        assert_eq!(image(&photo).unwrap(), photo);
        // A start of scan without an end, as in a video, and a whole second image.
        for appended in [&b"\0\0\0\x18ftypmp42\xff\xda\x12\xff\x13"[..], &photo, &[0; 7]] {
            let both = [&photo, appended].concat();
            assert_eq!(image(&both).unwrap(), photo);
        }
    }

    #[test]
    fn an_image_that_is_cut_off_has_no_end() {
        let photo = photo();
        for keep in [photo.len() - 2, photo.len() / 2, 20, 3] {
            assert!(image(&photo[..keep]).unwrap_err().contains("ends early"));
        }
        assert!(size(&photo[..20]).is_err());
        // The end of a thumbnail inside a segment is not that of the image.
        let mut thumbnail = photo[..2].to_vec();
        thumbnail.extend([0xff, 0xe2, 0, 8, 0xff, 0xda, 0, 2, 0xff, 0xd9]);
        thumbnail.extend(&photo[2..photo.len() - 2]);
        assert!(image(&thumbnail).is_err());
        thumbnail.extend([0xff, 0xff, 0xd9]);
        assert!(image(&thumbnail).is_ok());
    }
}
