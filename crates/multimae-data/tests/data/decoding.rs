//! Files of every kind, good and bad.

use crate::files::{Files, HEIGHT, WIDTH, depth, modalities, plain_values, rgb, semseg};
use multimae_data::{DataModality, Dataset, Error, Interpolation, Layout, RawMap};
use png::{BitDepth, ColorType};

fn decode(files: &Files, modality: DataModality) -> Result<RawMap, Error> {
    let dataset = Dataset::open(files.root(), &Layout::Folders, &[modality]).unwrap();
    dataset.decode(0).map(|sample| sample.maps[0].clone())
}

/// The message of a bad sample, which names sample, modality and file.
fn complaint(files: &Files, modality: DataModality) -> String {
    let name = modality.name.clone();
    let error = decode(files, modality).unwrap_err();
    assert!(error.is_bad_sample());
    let text = error.to_string();
    assert!(text.starts_with(&format!("sample `0`, modality `{name}`, ")), "{text}");
    assert!(text.contains(&format!("{name}/0.")), "{text}");
    text
}

fn labels(files: &Files, modality: DataModality) -> Vec<i64> {
    match decode(files, modality).unwrap() {
        RawMap::Labels(labels) => labels,
        other => panic!("{other:?}"),
    }
}

fn reals(files: &Files, modality: DataModality) -> Vec<f32> {
    match decode(files, modality).unwrap() {
        RawMap::Continuous { data, .. } => data,
        other => panic!("{other:?}"),
    }
}

fn normals() -> DataModality {
    let encoding = plain_values(3, 1.0, Interpolation::Bilinear);
    DataModality { encoding, ..depth(Interpolation::Bilinear) }
}

#[test]
fn palette_png_gives_indices_at_every_bit_depth() {
    for (depth, bytes, expected) in [
        (BitDepth::One, vec![0b1011_0000], vec![1, 0, 1, 1]),
        (BitDepth::Two, vec![0b1101_0010], vec![3, 1, 0, 2]),
        (BitDepth::Four, vec![0x1f, 0x07], vec![1, 15, 0, 7]),
        (BitDepth::Eight, vec![0, 40, 255, 3], vec![0, 40, 255, 3]),
    ] {
        for color in [ColorType::Indexed, ColorType::Grayscale] {
            let files = Files::new();
            files.png_of_size("semseg/0.png", (1, 4), color, depth, &bytes);
            assert_eq!(labels(&files, semseg(256, None, 0)), expected);
        }
    }
}

#[test]
fn rows_of_small_values_begin_at_a_byte() {
    let files = Files::new();
    let bytes = [0b1010_0000, 0b0110_0000];
    files.png_of_size("semseg/0.png", (2, 3), ColorType::Indexed, BitDepth::One, &bytes);
    assert_eq!(labels(&files, semseg(2, None, 0)), [1, 0, 1, 0, 1, 1]);
}

#[test]
fn labels_of_16_bits() {
    let files = Files::new();
    let bytes = [0x01, 0x2c, 0xff, 0xff];
    files.png_of_size("semseg/0.png", (1, 2), ColorType::Grayscale, BitDepth::Sixteen, &bytes);
    assert_eq!(labels(&files, semseg(301, Some(65535), 0)), [300, 65535]);
}

#[test]
fn labels_outside_the_classes_are_named_and_counted() {
    let files = Files::new();
    let grey = (ColorType::Grayscale, BitDepth::Eight);
    files.png_of_size("semseg/0.png", (1, 5), grey.0, grey.1, &[0, 41, 255, 41, 40]);
    let text = complaint(&files, semseg(41, None, 0));
    assert!(text.contains("outside the 41 classes 0..41: 41 (2 pixels), 255 (1 pixels)"), "{text}");
    let text = complaint(&files, semseg(41, Some(255), 0));
    assert!(text.contains("41 (2 pixels); label 255 is ignored"), "{text}");
    assert_eq!(labels(&files, semseg(42, Some(255), 0)), [0, 41, 255, 41, 40]);
}

#[test]
fn an_offset_shifts_all_but_the_ignored_label() {
    let files = Files::new();
    let grey = (ColorType::Grayscale, BitDepth::Eight);
    files.png_of_size("semseg/0.png", (1, 4), grey.0, grey.1, &[0, 1, 40, 255]);
    assert_eq!(labels(&files, semseg(40, Some(255), -1)), [255, 0, 39, 255]);
    assert!(complaint(&files, semseg(40, None, -1)).contains("after the offset -1"));
}

#[test]
fn labels_are_not_colours_or_jpegs() {
    let files = Files::new();
    files.png_of_size("semseg/0.png", (1, 1), ColorType::Rgb, BitDepth::Eight, &[1, 2, 3]);
    assert!(complaint(&files, semseg(9, None, 0)).contains("8-bit RGB"));
    let files = Files::new();
    image::GrayImage::new(8, 8).save(files.path("semseg/0.jpg")).unwrap();
    assert!(complaint(&files, semseg(9, None, 0)).contains("jpeg"));
}

#[test]
fn arrays_of_labels() {
    let files = Files::new();
    files.npy("semseg/0.npy", &[2, 2], &[0_i64, 1, -1, 2]);
    assert_eq!(labels(&files, semseg(3, Some(-1), 0)), [0, 1, -1, 2]);
    files.npy("semseg/0.npy", &[2, 2], &[0_u16, 1, 700, 2]);
    assert_eq!(labels(&files, semseg(701, None, 0)), [0, 1, 700, 2]);
    files.npy("semseg/0.npy", &[4], &[0_i64, 1, 1, 2]);
    assert!(complaint(&files, semseg(3, None, 0)).contains("its shape is [4]"));
    files.npy("semseg/0.npy", &[2, 2], &[0.0_f32, 1.0, 1.0, 2.0]);
    assert!(complaint(&files, semseg(3, None, 0)).contains("<f4"));
}

#[test]
fn depth_of_8_and_16_bits() {
    let files = Files::new();
    let sixteen = (ColorType::Grayscale, BitDepth::Sixteen);
    files.png_of_size("depth/0.png", (1, 2), sixteen.0, sixteen.1, &[0x27, 0x10, 0xff, 0xff]);
    assert_eq!(reals(&files, depth(Interpolation::Bicubic)), [10000.0, 65535.0]);
    let eight = (ColorType::Grayscale, BitDepth::Eight);
    files.png_of_size("depth/0.png", (1, 2), eight.0, eight.1, &[7, 255]);
    assert_eq!(reals(&files, depth(Interpolation::Bicubic)), [7.0, 255.0]);
}

#[test]
fn coloured_depth_is_refused() {
    let files = Files::new();
    files.png_of_size("depth/0.png", (1, 1), ColorType::Rgb, BitDepth::Eight, &[1, 2, 3]);
    assert!(complaint(&files, depth(Interpolation::Bicubic)).contains("it is 8-bit RGB"));
    files.png_of_size("depth/0.png", (1, 1), ColorType::Indexed, BitDepth::Eight, &[1]);
    assert!(complaint(&files, depth(Interpolation::Bicubic)).contains("it is 8-bit palette"));
    let files = Files::new();
    image::RgbImage::new(8, 8).save(files.path("depth/0.jpg")).unwrap();
    assert!(complaint(&files, depth(Interpolation::Bicubic)).contains("it is 8-bit RGB"));
}

#[test]
fn several_channels_become_planes() {
    let files = Files::new();
    let bytes = [1, 2, 3, 4, 5, 6];
    files.png_of_size("depth/0.png", (1, 2), ColorType::Rgb, BitDepth::Eight, &bytes);
    assert_eq!(reals(&files, normals()), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    files.png_of_size("depth/0.png", (1, 2), ColorType::Grayscale, BitDepth::Eight, &[1, 2]);
    assert!(complaint(&files, normals()).contains("3 channels"));
}

#[test]
fn arrays_of_real_values() {
    let files = Files::new();
    let depth = || depth(Interpolation::Bicubic);
    files.npy("depth/0.npy", &[2, 2], &[0.5_f32, 1.5, -2.0, 3.0]);
    assert_eq!(reals(&files, depth()), [0.5, 1.5, -2.0, 3.0]);
    files.npy("depth/0.npy", &[1, 1, 2], &[1_u16, 60000]);
    assert_eq!(reals(&files, depth()), [1.0, 60000.0]);
    files.npy("depth/0.npy", &[1, 2], &[0.25_f64, 4.0]);
    assert_eq!(reals(&files, depth()), [0.25, 4.0]);
    files.npy("depth/0.npy", &[3, 1, 2], &[1.0_f32; 6]);
    assert!(complaint(&files, depth()).contains("[3, 1, 2], expected (height, width) or (1, he"));
    files.npy("depth/0.npy", &[2, 0], &[0.0_f32; 0]);
    assert!(complaint(&files, depth()).contains("2 x 0 pixels"));
}

#[test]
fn arrays_may_be_column_major() {
    use npyz::WriterBuilder;
    let files = Files::new();
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(&[2, 3]);
    let options = options.order(npyz::Order::Fortran);
    let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
    writer.extend([1.0_f32, 4.0, 2.0, 5.0, 3.0, 6.0]).unwrap();
    writer.finish().unwrap();
    files.write("depth/0.npy", &bytes);
    assert_eq!(reals(&files, depth(Interpolation::Bicubic)), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn grey_becomes_rgb() {
    let files = Files::new();
    files.png_of_size("rgb/0.png", (1, 2), ColorType::Grayscale, BitDepth::Eight, &[9, 8]);
    assert_eq!(decode(&files, rgb()).unwrap(), RawMap::Color(vec![9, 9, 9, 8, 8, 8]));
    files.png_of_size("rgb/0.png", (1, 2), ColorType::Indexed, BitDepth::Eight, &[9, 8]);
    assert_eq!(decode(&files, rgb()).unwrap(), RawMap::Color(vec![7; 6]));
}

#[test]
fn colour_has_8_bits() {
    let files = Files::new();
    files.png_of_size("rgb/0.png", (1, 1), ColorType::Grayscale, BitDepth::Sixteen, &[1, 2]);
    assert!(complaint(&files, rgb()).contains("16 bits per channel"));
    let files = Files::new();
    files.npy("rgb/0.npy", &[1, 1], &[1_u16]);
    assert!(complaint(&files, rgb()).contains("array"));
}

#[test]
fn the_content_counts_not_the_extension() {
    let files = Files::new();
    image::RgbImage::new(8, 8).save(files.path("jpg/0.jpg")).unwrap();
    files.write("rgb/0.png", &files.read("jpg/0.jpg"));
    assert!(decode(&files, rgb()).is_ok());
}

#[test]
fn damaged_files_are_bad_samples() {
    let files = Files::with_samples(1);
    for (name, keep) in [("rgb", 0.6), ("depth", 0.5), ("semseg", 0.7), ("rgb", 0.0), ("rgb", 0.02)]
    {
        let path = format!("{name}/0000.png");
        let whole = files.read(&path);
        files.write(&path, &whole[..(whole.len() as f64 * keep) as usize]);
        let dataset = Dataset::open(files.root(), &Layout::Folders, &modalities()).unwrap();
        let error = dataset.decode(0).unwrap_err();
        assert!(matches!(&error, Error::Sample { modality, .. } if modality == name), "{error}");
        files.write(&path, &whole);
    }
}

#[test]
fn changed_bytes_are_noticed_in_png() {
    let files = Files::with_samples(1);
    for name in ["rgb", "depth", "semseg"] {
        let path = format!("{name}/0000.png");
        let whole = files.read(&path);
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x55;
        files.write(&path, &damaged);
        let dataset = Dataset::open(files.root(), &Layout::Folders, &modalities()).unwrap();
        assert!(dataset.decode(0).is_err(), "{name}");
        files.write(&path, &whole);
    }
}

#[test]
fn truncated_jpeg_and_npy_are_noticed() {
    let files = Files::new();
    let image = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, 9]));
    image.save(files.path("rgb/0.jpg")).unwrap();
    assert!(decode(&files, rgb()).is_ok());
    let whole = files.read("rgb/0.jpg");
    files.write("rgb/0.jpg", &whole[..whole.len() - 40]);
    assert!(complaint(&files, rgb()).contains("ends early"));

    files.npy("depth/0.npy", &[8, 8], &[1.0_f32; 64]);
    let whole = files.read("depth/0.npy");
    files.write("depth/0.npy", &whole[..whole.len() - 100]);
    assert!(!complaint(&files, depth(Interpolation::Bicubic)).is_empty());
    files.write("depth/0.npy", b"\x93NUMPY\x01\x00");
    assert!(complaint(&files, depth(Interpolation::Bicubic)).contains("header"));
}

#[test]
fn a_file_that_is_gone_is_a_bad_sample() {
    let files = Files::with_samples(1);
    let dataset = Dataset::open(files.root(), &Layout::Folders, &modalities()).unwrap();
    files.remove("depth/0000.png");
    assert!(dataset.decode(0).unwrap_err().is_bad_sample());
    assert!(matches!(dataset.decode(1), Err(Error::Index { index: 1, len: 1 })));
}

#[test]
fn all_modalities_need_the_same_size() {
    let files = Files::with_samples(1);
    let (color, bits) = (ColorType::Grayscale, BitDepth::Eight);
    let size = (HEIGHT, WIDTH / 2);
    files.png_of_size("semseg/0000.png", size, color, bits, &[0; HEIGHT * WIDTH / 2]);
    let dataset = Dataset::open(files.root(), &Layout::Folders, &modalities()).unwrap();
    let text = dataset.decode(0).unwrap_err().to_string();
    assert!(text.contains("has 30 x 20 pixels, and `rgb` of this sample has 30 x 40"), "{text}");
}
