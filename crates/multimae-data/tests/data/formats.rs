//! Files of every format that people have.

use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use multimae_data::{DataModality, Dataset, Interpolation, Layout, MAX_PIXELS, RawMap};

use crate::files::{Files, depth, plain_values, rgb, semseg};

/// The map of the only file of a modality; the file lies below its folder.
pub(crate) fn read(
    modality: &DataModality,
    name: &str,
    bytes: &[u8],
) -> Result<(usize, usize, RawMap), String> {
    let files = Files::new();
    files.write(&format!("{}/{name}", modality.folder), bytes);
    let modalities = std::slice::from_ref(modality);
    let dataset = Dataset::open(files.root(), &Layout::Folders, modalities);
    let sample = dataset.map_err(|error| error.to_string())?.decode(0);
    let mut sample = sample.map_err(|error| error.to_string())?;
    let map = sample.maps.shift_remove(&modality.name).unwrap();
    Ok((sample.height, sample.width, map))
}

fn reals(name: &str, bytes: &[u8]) -> Vec<f32> {
    match read(&depth(Interpolation::Nearest), name, bytes).unwrap().2 {
        RawMap::Continuous { data, .. } => data,
        other => panic!("{other:?}"),
    }
}

fn labels(name: &str, bytes: &[u8]) -> Vec<i64> {
    match read(&semseg(70000, Some(-1), 0), name, bytes).unwrap().2 {
        RawMap::Labels(labels) => labels,
        other => panic!("{other:?}"),
    }
}

fn scene() -> RgbImage {
    RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * 6) as u8, (y * 8) as u8, (x ^ y) as u8]))
}

pub(crate) fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A TIFF file without compression: `bits` of the TIFF `kind` 1 (unsigned), 2 (signed) or 3 (float).
pub(crate) fn tiff_of(
    (width, height, channels): (u32, u32, u32),
    (bits, kind): (u32, u32),
    orientation: u32,
    data: &[u8],
) -> Vec<u8> {
    let photometric = if channels == 3 { 2 } else { 1 };
    let tags = [
        (256, width),
        (257, height),
        (258, bits),
        (262, photometric),
        (273, 8),
        (274, orientation),
        (277, channels),
        (278, height),
        (279, data.len() as u32),
        (339, kind),
    ];
    let entry = |(tag, value): (u16, u32)| {
        [&tag.to_le_bytes()[..], &[4, 0, 1, 0, 0, 0], &value.to_le_bytes()].concat()
    };
    let entries: Vec<u8> = tags.into_iter().flat_map(entry).collect();
    let directory = (8 + data.len() as u32).to_le_bytes();
    [b"II*\0", &directory[..], data, &[10, 0], &entries, &[0; 4]].concat()
}

#[test]
fn colours_are_read_from_every_image_format_without_loss() {
    for (name, format) in
        [("a.png", ImageFormat::Png), ("a.webp", ImageFormat::WebP), ("a.bmp", ImageFormat::Bmp)]
    {
        let read = read(&rgb(), name, &encoded(&scene(), format)).unwrap();
        assert_eq!(read, (30, 40, RawMap::Color(scene().into_raw())), "{name}");
    }
    let ppm = [b"P6 40 30 255\n", scene().as_raw().as_slice()].concat();
    assert_eq!(read(&rgb(), "a.ppm", &ppm).unwrap().2, RawMap::Color(scene().into_raw()));
    // Black and white, grey, and 16 bits.
    let bits = read(&rgb(), "a.pbm", b"P1 2 1 0 1").unwrap().2;
    assert_eq!(bits, RawMap::Color(vec![255, 255, 255, 0, 0, 0]));
    let deep = read(&rgb(), "a.pgm", b"P5 1 1 65535 \x01\x02").unwrap_err();
    assert!(deep.contains("16 bits per channel"), "{deep}");
}

#[test]
fn values_of_tiff_files_are_exact() {
    let depth16: Vec<u8> = [1_u16, 40000, 65535].iter().flat_map(|v| v.to_le_bytes()).collect();
    let depth16 = tiff_of((3, 1, 1), (16, 1), 1, &depth16);
    assert_eq!(reals("a.tif", &depth16), [1.0, 40000.0, 65535.0]);
    assert_eq!(labels("a.TIFF", &depth16), [1, 40000, 65535]);
    let metres: Vec<u8> = [0.25_f32, f32::NAN, 7.5].iter().flat_map(|v| v.to_le_bytes()).collect();
    let metres = reals("a.tiff", &tiff_of((3, 1, 1), (32, 3), 1, &metres));
    assert!(metres[1].is_nan() && (metres[0], metres[2]) == (0.25, 7.5));
    let colours = tiff_of((40, 30, 3), (8, 1), 1, scene().as_raw());
    assert_eq!(read(&rgb(), "a.tif", &colours).unwrap().2, RawMap::Color(scene().into_raw()));
    let error = read(&semseg(9, None, 0), "a.tif", &colours).unwrap_err();
    assert!(error.contains("8-bit RGB"), "{error}");
}

/// The 16-bit values of the fixtures, which other programs wrote: 24 rows of 20 columns.
fn values16() -> Vec<u32> {
    let formula = |(y, x): (u32, u32)| (y * 2731 + x * 977 + 7 * x * y) % 65536;
    (0..24).flat_map(|y| (0..20).map(move |x| (y, x))).map(formula).collect()
}

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../fixtures/tiff/", $name, ".tif"))
    };
}

#[test]
fn tiff_files_of_other_programs_are_exact() {
    let floats = |f: fn(u32) -> f32| values16().into_iter().map(f).collect::<Vec<f32>>();
    let plain = floats(|v| v as f32);
    // LZW with differences; tiles in the other byte order.
    assert_eq!(reals("a.tif", fixture!("lzw16")), plain);
    assert_eq!(reals("a.tif", fixture!("tiled16_big_endian")), plain);
    // Deflate with the predictor of floats; strips of 7 rows of 16-bit floats in a BigTIFF.
    assert_eq!(reals("a.tif", fixture!("deflate_float")), floats(|v| v as f32 / 8.0));
    let halves = reals("a.tif", fixture!("bigtiff_half"));
    for (half, exact) in halves.iter().zip(floats(|v| v as f32 / 512.0)) {
        // 11 bits of precision.
        assert!((half - exact).abs() <= exact / 2048.0, "{half} {exact}");
    }
    let bytes = floats(|v| (v % 251) as f32);
    assert_eq!(reals("a.tif", fixture!("packbits8")), bytes);
    assert_eq!(reals("a.tif", fixture!("overview")), bytes);
    assert_eq!(reals("a.tif", fixture!("white_is_0")), floats(|v| 255.0 - (v % 251) as f32));
    let signed: Vec<i64> = values16().iter().map(|&v| i64::from(v) - 32768).collect();
    let any = plain_values(1, 1.0, Interpolation::Nearest);
    let any = DataModality { encoding: any, ..depth(Interpolation::Nearest) };
    let read_signed = read(&any, "a.tif", fixture!("signed16")).unwrap().2;
    let data = signed.iter().map(|&v| v as f32).collect();
    assert_eq!(read_signed, RawMap::Continuous { channels: 1, data });
    let mask: Vec<i64> = values16().iter().map(|v| i64::from(v % 251 > 125)).collect();
    assert_eq!(labels("a.tif", fixture!("bits1")), mask);
    let indices: Vec<i64> = values16().iter().map(|v| i64::from(v % 251 % 16)).collect();
    assert_eq!(labels("a.tif", fixture!("palette8")), indices);
    // Indices are colours where colours are wanted.
    let colour =
        |v: &u32| [(v % 251 % 16 * 3) as u8, (v % 251 % 16 * 5) as u8, 255 - (v % 251 % 16) as u8];
    let palette: Vec<u8> = values16().iter().flat_map(colour).collect();
    assert_eq!(read(&rgb(), "a.tif", fixture!("palette8")).unwrap().2, RawMap::Color(palette));
    let formula =
        |i: usize| [(i % 20 * 12) as u8, (i / 20 * 10) as u8, ((i % 20) * (i / 20)) as u8];
    let colours: Vec<u8> = (0..24 * 20).flat_map(formula).collect();
    for file in [&fixture!("lzw_rgb")[..], fixture!("planar_rgb")] {
        let found = read(&rgb(), "a.tif", file).unwrap();
        assert_eq!(found, (24, 20, RawMap::Color(colours.clone())));
    }
}

#[test]
fn tiff_files_whose_meaning_is_not_certain_are_refused() {
    for (file, words) in
        [(&fixture!("two_pages")[..], "several pages"), (fixture!("jpeg"), "jpeg compression 7")]
    {
        let error = read(&rgb(), "a.tif", file).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

/// Found by fuzzing: memory for 65280 channels was taken before a byte was read.
#[test]
fn tiff_files_claim_no_more_than_they_hold() {
    let claimed = tiff_of((20, 24, 65_280), (16, 1), 1, &[0; 960]);
    let error = read(&depth(Interpolation::Nearest), "a.tif", &claimed).unwrap_err();
    assert!(error.contains("claim values of 62668800 bytes"), "{error}");
}

/// Found by fuzzing: sizes that no whole number of bytes holds made the decoder panic.
#[test]
fn tiff_files_of_odd_bits_are_refused() {
    for bits in [3, 12, 24] {
        let file = tiff_of((8, 6, 1), (bits, 1), 1, &[7; 192]);
        let error = read(&depth(Interpolation::Nearest), "a.tif", &file).unwrap_err();
        assert!(error.contains(&format!("values of {bits} bits")), "{error}");
    }
}

#[test]
fn grey_bitmaps_hold_values_and_coloured_ones_indices() {
    let mut bytes = Cursor::new(Vec::new());
    let grey = image::GrayImage::from_raw(2, 1, vec![9, 200]).unwrap();
    grey.write_to(&mut bytes, ImageFormat::Bmp).unwrap();
    let bytes = bytes.into_inner();
    assert_eq!(reals("a.bmp", &bytes), [9.0, 200.0]);
    assert_eq!(labels("a.bmp", &bytes), [9, 200]);
    // Another palette: the indices are labels, and no depth.
    let mut coloured = bytes.clone();
    coloured[54] = 77;
    assert_eq!(labels("a.bmp", &coloured), [9, 200]);
    let error = read(&depth(Interpolation::Nearest), "a.bmp", &coloured).unwrap_err();
    assert!(error.contains("palette"), "{error}");
}

#[test]
fn jpeg_2000_holds_16_bits_and_no_labels() {
    // Written by OpenJPEG without loss, from these formulas.
    let grey = include_bytes!("../fixtures/grey16.jp2");
    let formula =
        |i: usize| ((i / 20 * 2731 + i % 20 * 977 + 7 * (i % 20) * (i / 20)) % 65536) as f32;
    assert_eq!(reals("a.jp2", grey), (0..24 * 20).map(formula).collect::<Vec<_>>());
    let colours = include_bytes!("../fixtures/rgb8.jp2");
    let formula =
        |i: usize| [(i % 20 * 12) as u8, (i / 20 * 10) as u8, ((i % 20) * (i / 20)) as u8];
    let expected: Vec<u8> = (0..24 * 20).flat_map(formula).collect();
    assert_eq!(read(&rgb(), "a.jp2", colours).unwrap(), (24, 20, RawMap::Color(expected)));
    assert!(read(&semseg(70000, None, 0), "a.jp2", grey).unwrap_err().contains("jpeg 2000"));
    assert!(read(&rgb(), "a.jp2", &colours[..300]).is_err());
}

#[test]
fn arrays_of_every_type_and_a_last_axis_of_1_are_read() {
    let files = Files::new();
    let npy = |write: &dyn Fn(&str)| {
        write("x/0.npy");
        files.read("x/0.npy")
    };
    // 0.5, 2, NaN, -0.25, the least and the greatest float of 16 bits.
    let bits = [0x3800_u16, 0x4000, 0x7e00, 0xb400, 0x0001, 0x7bff];
    let bits: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let header = "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }\n";
    let length = (header.len() as u16).to_le_bytes();
    let bytes = [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), &bits].concat();
    let values = reals("a.npy", &bytes);
    assert!(values[2].is_nan() && values[..2] == [0.5, 2.0]);
    assert_eq!(values[3..], [-0.25, 1.0 / 16_777_216.0, 65504.0]);
    let bytes = npy(&|name| files.npy(name, &[1, 3], &[true, false, true]));
    assert_eq!(labels("a.npy", &bytes), [1, 0, 1]);
    let bytes = npy(&|name| files.npy(name, &[1, 2], &[3_u64, 60000]));
    assert_eq!(
        (labels("a.npy", &bytes), reals("a.npy", &bytes)),
        (vec![3, 60000], vec![3.0, 60000.0])
    );
    let bytes = npy(&|name| files.npy(name, &[2, 3, 1], &[1_u8, 2, 3, 4, 5, 6]));
    let last = read(&depth(Interpolation::Nearest), "a.npy", &bytes).unwrap();
    assert_eq!((last.0, last.1), (2, 3));
    assert_eq!(labels("a.npy", &bytes), [1, 2, 3, 4, 5, 6]);
    let bytes = npy(&|name| files.npy(name, &[1, 2], &[1_u64, u64::MAX]));
    assert!(read(&semseg(9, None, 0), "a.npy", &bytes).unwrap_err().contains("2^63"));
}

#[test]
fn values_that_are_not_finite_are_invalid_pixels() {
    let files = Files::new();
    files.npy("x/0.npy", &[1, 4], &[1.5_f64, f64::NAN, f64::NEG_INFINITY, 1e300]);
    let read = reals("a.npy", &files.read("x/0.npy"));
    assert_eq!(read[0], 1.5);
    assert!(read[1..].iter().all(|value| value.is_nan()), "{read:?}");
}

#[test]
fn motion_photos_are_read_without_their_video() {
    let photo = encoded(&scene(), ImageFormat::Jpeg);
    let plain = read(&rgb(), "a.jpg", &photo).unwrap();
    // A start of scan and no end of image among the appended bytes, and the other way round.
    for video in [&b"\0\0\0\x18ftypmp42\xff\xda\0\x0c\x03\xff\x17"[..], b"ftyp\xff\xd9\xff\xd9"] {
        assert_eq!(read(&rgb(), "a.jpg", &[&photo, video].concat()).unwrap(), plain);
    }
}

#[test]
fn formats_that_are_not_read_are_named() {
    let exr = b"\x76\x2f\x31\x01\x02\0\0\0";
    let error = read(&depth(Interpolation::Nearest), "a.png", exr).unwrap_err();
    assert!(error.contains("OpenEXR") && error.contains(".npy"), "{error}");
    let error = read(&depth(Interpolation::Nearest), "a.exr", exr).unwrap_err();
    assert!(error.contains("a.exr") && error.contains("OpenEXR is not read"), "{error}");
}

#[test]
fn more_pixels_than_the_limit_are_refused_by_the_header() {
    let side = 1 + (MAX_PIXELS as f64).sqrt() as usize;
    let error = read(&rgb(), "a.ppm", format!("P6 {side} {side} 255\n").as_bytes()).unwrap_err();
    assert!(error.contains(&format!("at most {MAX_PIXELS} are read")), "{error}");
    // A photo of 200 megapixels is below it.
    let error = read(&rgb(), "a.ppm", b"P6 20000 10000 255\n").unwrap_err();
    assert!(error.contains("ends before its"), "{error}");
}

#[test]
fn cut_and_changed_files_are_bad_samples_and_no_panics() {
    let encoding = plain_values(3, 1.0, Interpolation::Nearest);
    let normals = DataModality { encoding, ..depth(Interpolation::Nearest) };
    let jp2 = include_bytes!("../fixtures/rgb8.jp2").to_vec();
    let small = image::imageops::thumbnail(&scene(), 8, 6);
    for (name, whole) in [
        ("a.tif", tiff_of((8, 6, 3), (8, 1), 1, small.as_raw())),
        ("b.tif", fixture!("lzw_rgb").to_vec()),
        ("c.tif", fixture!("planar_rgb").to_vec()),
        ("a.webp", encoded(&small, ImageFormat::WebP)),
        ("a.bmp", encoded(&small, ImageFormat::Bmp)),
        ("a.jp2", jp2),
    ] {
        for step in 0..24 {
            let cut = whole.len() * step / 24;
            assert!(read(&normals, name, &whole[..cut]).is_err(), "{name} {cut}");
            // Changed bytes may give another image, or an error.
            let mut changed = whole.clone();
            changed[cut] ^= 0x55;
            let _ = read(&normals, name, &changed);
            let _ = read(&rgb(), name, &changed);
        }
    }
}
