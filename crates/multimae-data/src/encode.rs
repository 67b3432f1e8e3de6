//! Maps as files: what [`Dataset`](crate::Dataset) reads, the other way round.

use npyz::WriterBuilder as _;
use png::{BitDepth, ColorType, Compression, Encoder, EncodingError};

use crate::{Error, Result};

/// The largest depth that 16-bit millimetres hold, in metres.
const MAX_METRES: f32 = 65.535;

/// Depth as a 16-bit grey png in millimetres. Values that are not finite or not above 0 become 0,
/// which means "not known"; what is nearer than half a millimetre becomes 1, what is beyond 65.535
/// m becomes that.
///
/// # Shapes
/// `metres (H, W)` of `size = (H, W)`.
///
/// # Errors
/// If the size and the number of values do not fit.
pub fn depth_png(metres: &[f32], size: (usize, usize)) -> Result<Vec<u8>> {
    let millimetres = |&metres: &f32| -> u16 {
        if metres.is_finite() && metres > 0.0 {
            (metres.min(MAX_METRES) * 1000.0).round().max(1.0) as u16
        } else {
            0
        }
    };
    let bytes: Vec<u8> = metres.iter().flat_map(|m| millimetres(m).to_be_bytes()).collect();
    check(metres.len(), size)?;
    png(&bytes, size, (ColorType::Grayscale, BitDepth::Sixteen), None)
}

/// Labels as an 8-bit palette png: the indices are the labels, the palette their colours.
///
/// # Shapes
/// `labels (H, W)` of `size = (H, W)`; `colors` by label, at most 256.
///
/// # Errors
/// If the size and the number of labels do not fit, or a label has no colour.
pub fn palette_png(labels: &[i64], size: (usize, usize), colors: &[[u8; 3]]) -> Result<Vec<u8>> {
    check(labels.len(), size)?;
    if colors.len() > 256 {
        let problem = format!("{} classes; a palette png holds at most 256 labels", colors.len());
        return Err(Error::Config(problem));
    }
    let index = |&label: &i64| {
        u8::try_from(label).ok().filter(|&index| usize::from(index) < colors.len()).ok_or_else(
            || Error::Config(format!("label {label} has no colour among {} classes", colors.len())),
        )
    };
    let indices = labels.iter().map(index).collect::<Result<Vec<u8>>>()?;
    png(&indices, size, (ColorType::Indexed, BitDepth::Eight), Some(colors.concat()))
}

/// Labels as a 16-bit grey png, for labels that a palette does not hold.
///
/// # Shapes
/// `labels (H, W)` of `size = (H, W)`, in `0..65536`.
///
/// # Errors
/// If the size and the number of labels do not fit, or a label has more than 16 bits.
pub fn label_png(labels: &[i64], size: (usize, usize)) -> Result<Vec<u8>> {
    check(labels.len(), size)?;
    let mut bytes = Vec::with_capacity(2 * labels.len());
    for &label in labels {
        let outside = || Error::Config(format!("label {label} has more than 16 bits"));
        bytes.extend(u16::try_from(label).map_err(|_| outside())?.to_be_bytes());
    }
    png(&bytes, size, (ColorType::Grayscale, BitDepth::Sixteen), None)
}

/// Values as an npy array of their type: `f32` becomes `float32`, `u8` becomes `uint8`.
///
/// # Shapes
/// `values` of `shape`, row-major.
///
/// # Errors
/// If the shape and the number of values do not fit.
pub fn npy<T: npyz::AutoSerialize + Copy>(values: &[T], shape: &[usize]) -> Result<Vec<u8>> {
    if values.len() != shape.iter().product::<usize>() {
        return Err(Error::Config(format!("{} values for an array of {shape:?}", values.len())));
    }
    let shape: Vec<u64> = shape.iter().map(|&side| side as u64).collect();
    let mut bytes = Vec::new();
    let written = (|| {
        let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
        let mut writer = options.writer(&mut bytes).begin_nd()?;
        writer.extend(values.iter().copied())?;
        writer.finish()
    })();
    written.map_err(|error: std::io::Error| Error::Config(format!("writing an npy: {error}")))?;
    Ok(bytes)
}

fn check(len: usize, (height, width): (usize, usize)) -> Result<()> {
    if len == height * width && len > 0 {
        return Ok(());
    }
    Err(Error::Config(format!("{len} values that should be {height} x {width}")))
}

/// The bytes of a png.
///
/// # Shapes
/// `bytes` of `size = (H, W)`, values of 16 bits big-endian.
///
/// # Errors
/// If the size and the number of bytes do not fit, or a side is longer than a png's can be.
pub fn encoded_png(
    bytes: &[u8],
    (height, width): (usize, usize),
    (color, depth): (ColorType, BitDepth),
    compression: Compression,
    palette: Option<Vec<u8>>,
) -> std::result::Result<Vec<u8>, EncodingError> {
    let side = |side: usize| u32::try_from(side).map_err(|_| EncodingError::LimitsExceeded);
    let mut encoded = Vec::new();
    let mut encoder = Encoder::new(&mut encoded, side(width)?, side(height)?);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(compression);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(bytes)?;
    writer.finish()?;
    Ok(encoded)
}

fn png(
    bytes: &[u8],
    size: (usize, usize),
    format: (ColorType, BitDepth),
    palette: Option<Vec<u8>>,
) -> Result<Vec<u8>> {
    encoded_png(bytes, size, format, Compression::default(), palette)
        .map_err(|error| Error::Config(format!("writing a png: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataModality, Dataset, Encoding, Interpolation, Layout, RawMap};

    /// The values that the data set reads from a file.
    fn read(name: &str, bytes: &[u8], encoding: Encoding) -> RawMap {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("m")).unwrap();
        fs_err::write(dir.path().join("m").join(name), bytes).unwrap();
        let modality = DataModality::new("m", encoding);
        let dataset = Dataset::open(dir.path(), &Layout::Folders, &[modality]).unwrap();
        let mut sample = dataset.decode(0).unwrap();
        assert_eq!((sample.height, sample.width), (2, 3));
        sample.maps.swap_remove("m").unwrap()
    }

    fn continuous() -> Encoding {
        Encoding::Continuous {
            channels: 1,
            divisor: 1.0,
            mean: Vec::new(),
            std: Vec::new(),
            interpolation: Interpolation::Nearest,
            standardize: false,
            quantity: crate::Quantity::Plain,
        }
    }

    #[test]
    fn depth_is_read_back_in_millimetres() {
        let metres = [1.2344, 99.0, 0.0, 1e-5, f32::NAN, -2.0];
        let file = depth_png(&metres, (2, 3)).unwrap();
        let data = vec![1234.0, 65535.0, 0.0, 1.0, 0.0, 0.0];
        assert_eq!(read("a.png", &file, continuous()), RawMap::Continuous { channels: 1, data });
        assert!(depth_png(&metres, (3, 3)).is_err());
    }

    #[test]
    fn labels_are_read_back_from_the_palette() {
        let labels = [0, 1, 2, 2, 1, 0];
        let colors = [[0; 3], [255, 0, 0], [0, 255, 0]];
        let file = palette_png(&labels, (2, 3), &colors).unwrap();
        let encoding = Encoding::labels(3, None, 0);
        assert_eq!(read("a.png", &file, encoding), RawMap::Labels(labels.to_vec()));
        // A viewer sees the colours.
        let seen = image::load_from_memory(&file).unwrap().into_rgb8();
        assert_eq!(seen.get_pixel(2, 0).0, [0, 255, 0]);
        let error = palette_png(&[0, 3], (1, 2), &colors).unwrap_err();
        assert!(error.to_string().contains("label 3"), "{error}");
    }

    #[test]
    fn labels_of_16_bits_are_read_back() {
        let labels = [0, 255, 256, 299, 65534, 65535];
        let file = label_png(&labels, (2, 3)).unwrap();
        let encoding = Encoding::labels(65536, None, 0);
        assert_eq!(read("a.png", &file, encoding), RawMap::Labels(labels.to_vec()));
        assert!(label_png(&[-1], (1, 1)).is_err() && label_png(&[65536], (1, 1)).is_err());
    }

    #[test]
    fn arrays_are_read_back_exactly() {
        assert!(npy(&[1.0; 5], &[2, 3]).is_err());
        let values = [0.1_f32, -2.5, 3e-20, 4.0, 5.5, 1e9];
        let file = npy(&values, &[2, 3]).unwrap();
        let data = values.to_vec();
        assert_eq!(read("a.npy", &file, continuous()), RawMap::Continuous { channels: 1, data });
        let labels = Encoding::labels(256, None, 0);
        let file = npy(&[0_u8, 1, 2, 3, 4, 255], &[2, 3]).unwrap();
        assert_eq!(read("a.npy", &file, labels), RawMap::Labels(vec![0, 1, 2, 3, 4, 255]));
    }
}
