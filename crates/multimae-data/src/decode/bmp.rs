//! Windows bitmaps value by value.

use std::io::Cursor;

use image::ImageDecoder as _;
use image::codecs::bmp::BmpDecoder;

use super::frame::{Form, Frame, FrameInfo, Order, Pixels};
use super::{FileFormat, Problem};

/// Reads a bitmap: indices where it has a palette, which is grey values if the palette is the usual
/// ramp of them.
pub(super) fn read(bytes: &[u8]) -> Result<Frame, Problem> {
    let damaged = |error: image::ImageError| format!("the bmp is damaged: {error}");
    let mut decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(damaged)?;
    let ramp = decoder.get_palette().map(is_ramp);
    decoder.set_indexed_color(ramp.is_some());
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    let channels = usize::from(decoder.color_type().channel_count());
    let mut values = vec![0; height * width * channels];
    if decoder.total_bytes() != values.len() as u64 {
        return Err("the bmp has values of more than 8 bits; save it as png".to_owned());
    }
    decoder.read_image(&mut values).map_err(damaged)?;
    let form = Form::Raster { format: FileFormat::Bmp, bits: 8, palette: ramp == Some(false) };
    let order = Order::Interleaved;
    Frame::new(FrameInfo { height, width, channels, form, order }, Pixels::U8(values))
}

/// Whether the colour of every index is the grey of that value.
fn is_ramp(palette: &[[u8; 3]]) -> bool {
    palette.len() == 256 && palette.iter().enumerate().all(|(i, rgb)| *rgb == [i as u8; 3])
}
