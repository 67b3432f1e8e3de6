//! 8-bit colour images.

use image::{ColorType, DynamicImage, ImageFormat};

use super::{Decoded, Format, Problem};
use crate::RawMap;

pub(super) fn decode(bytes: &[u8], format: Format) -> Result<Decoded, Problem> {
    let image = match format {
        Format::Png => load(bytes, ImageFormat::Png)?,
        Format::Jpeg => load_jpeg(bytes)?,
        Format::Npy => {
            return Err("it is an array, and a color modality needs png or jpeg images; use a \
                        continuous modality for arrays"
                .to_owned());
        }
    };
    let bits = image.color().bits_per_pixel() / u16::from(image.color().channel_count());
    if bits != 8 {
        return Err(format!(
            "it has {bits} bits per channel, and a color modality needs 8; a file like this is \
             usually depth, so check the folder"
        ));
    }
    let (height, width) = (image.height() as usize, image.width() as usize);
    Ok(Decoded { height, width, map: RawMap::Color(image.into_rgb8().into_raw()) })
}

/// A jpeg as 8-bit planes, for modalities with real values.
pub(super) fn jpeg_channels(bytes: &[u8]) -> Result<(usize, usize, usize, Vec<u8>), Problem> {
    let image = load_jpeg(bytes)?;
    let (height, width) = (image.height() as usize, image.width() as usize);
    match image.color() {
        ColorType::L8 => Ok((height, width, 1, image.into_luma8().into_raw())),
        _ => Ok((height, width, 3, image.into_rgb8().into_raw())),
    }
}

fn load_jpeg(bytes: &[u8]) -> Result<DynamicImage, Problem> {
    if !jpeg_is_complete(bytes) {
        return Err("the jpeg ends early; copy or download it again".to_owned());
    }
    load(bytes, ImageFormat::Jpeg)
}

fn load(bytes: &[u8], format: ImageFormat) -> Result<DynamicImage, Problem> {
    image::load_from_memory_with_format(bytes, format).map_err(|error| error.to_string())
}

/// Does the end-of-image marker follow the last scan? The decoder would fill up a truncated image
/// with grey and say nothing. Inside a scan neither marker can occur: there, 0xff is followed by 0
/// or by a restart marker.
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    let (scan, end) = (last([0xff, 0xda]), last([0xff, 0xd9]));
    scan.is_some() && end > scan
}
