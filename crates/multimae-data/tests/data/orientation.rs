//! EXIF orientations: one rule for every reader of files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use image::{DynamicImage, ImageFormat, RgbImage};
use multimae_data::doctor::{self, Severity};
use multimae_data::packed::{self, PackFolder, create, find_folders, folders_of};
use multimae_data::{
    DataModality, Dataset, DecodeLimits, Encoding, Interpolation, Layout, ModalityFile,
    Orientation, Quantity, RawMap, RawSample,
};
use png::{BitDepth, ColorType};

use crate::files::{Files, depth, rgb};
use crate::formats::{encoded, read, tiff_of};

/// EXIF data of one tag, in the byte order of Motorola.
fn exif(orientation: u8) -> Vec<u8> {
    let mut data = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    data.extend([orientation, 0, 0, 0, 0, 0, 0]);
    data
}

fn tagged_jpeg(image: &[u8], orientation: u8) -> Vec<u8> {
    let data = [b"Exif\0\0", exif(orientation).as_slice()].concat();
    let length = (data.len() as u16 + 2).to_be_bytes();
    [&image[..2], b"\xff\xe1", &length, &data, &image[2..]].concat()
}

fn tagged_png(image: &[u8], orientation: u8) -> Vec<u8> {
    let data = exif(orientation);
    let body = [b"eXIf", data.as_slice()].concat();
    let (length, crc) = ((data.len() as u32).to_be_bytes(), crc32fast::hash(&body).to_be_bytes());
    // Behind the signature and the header.
    [&image[..33], &length, &body, &crc, &image[33..]].concat()
}

fn tagged_webp(image: &[u8], size: (u32, u32), orientation: u8) -> Vec<u8> {
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    let data = exif(orientation);
    let body = [
        &b"WEBPVP8X\x0a\0\0\0\x08\0\0\0"[..],
        side(size.0).as_slice(),
        &side(size.1),
        &image[12..],
        b"EXIF",
        &(data.len() as u32).to_le_bytes(),
        &data,
    ]
    .concat();
    [b"RIFF", (body.len() as u32).to_le_bytes().as_slice(), &body].concat()
}

fn tagged_tiff(image: &RgbImage, orientation: u8) -> Vec<u8> {
    tiff_of((image.width(), image.height(), 3), (8, 1), orientation.into(), image.as_raw())
}

fn scene(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 20) as u8, (y * 30) as u8, 90]))
}

fn ignoring(modality: DataModality) -> DataModality {
    DataModality { orientation: Orientation::Ignore, ..modality }
}

#[test]
fn every_orientation_of_every_format_is_turned_upright() {
    let stored = scene(8, 6);
    let (jpeg, png) = (encoded(&stored, ImageFormat::Jpeg), encoded(&stored, ImageFormat::Png));
    let webp = encoded(&stored, ImageFormat::WebP);
    let lossy = image::load_from_memory(&jpeg).unwrap();
    for number in 1..=8 {
        for (name, bytes, stored) in [
            ("a.jpg", tagged_jpeg(&jpeg, number), lossy.clone()),
            ("a.png", tagged_png(&png, number), stored.clone().into()),
            ("a.webp", tagged_webp(&webp, (8, 6), number), stored.clone().into()),
            ("a.tif", tagged_tiff(&stored, number), stored.clone().into()),
        ] {
            let mut upright: DynamicImage = stored.clone();
            upright.apply_orientation(image::metadata::Orientation::from_exif(number).unwrap());
            let (height, width) = (upright.height() as usize, upright.width() as usize);
            let expected = (height, width, RawMap::Color(upright.to_rgb8().into_raw()));
            assert_eq!(read(&rgb(), name, &bytes).unwrap(), expected, "{name} {number}");
            let expected = (6, 8, RawMap::Color(stored.to_rgb8().into_raw()));
            assert_eq!(read(&ignoring(rgb()), name, &bytes).unwrap(), expected, "{name} {number}");
            // In memory as from files.
            let modality = rgb();
            let file = ModalityFile { modality: &modality, name, bytes: &bytes };
            let sample = RawSample::from_bytes("a", &[file], DecodeLimits::default()).unwrap();
            assert_eq!((sample.height, sample.width), (height, width));
        }
    }
}

/// A data set of photos of 8 x 6 stored pixels with an orientation, and depth of a size.
fn photos(orientation: u8, (height, width): (usize, usize)) -> Files {
    let files = Files::new();
    for id in 0..2 {
        let jpeg = encoded(&scene(8, 6), ImageFormat::Jpeg);
        files.write(&format!("rgb/{id}.jpg"), &tagged_jpeg(&jpeg, orientation));
        let values: Vec<u8> =
            (0..height * width).flat_map(|i| ((1500 + 10 * i + id) as u16).to_be_bytes()).collect();
        let name = format!("depth/{id}.png");
        files.png_of_size(&name, (height, width), ColorType::Grayscale, BitDepth::Sixteen, &values);
    }
    files
}

fn decode(files: &Files, rgb: DataModality) -> Result<RawSample, String> {
    let modalities = [rgb, depth(Interpolation::Nearest)];
    let dataset = Dataset::open(files.root(), &Layout::Folders, &modalities).unwrap();
    dataset.decode(0).map_err(|error| error.to_string())
}

#[test]
fn photos_are_paired_upright_or_refused_with_the_key_to_set() {
    // Annotations of the upright photo.
    let upright = photos(6, (8, 6));
    assert_eq!(decode(&upright, rgb()).map(|s| (s.height, s.width)), Ok((8, 6)));
    let error = decode(&upright, ignoring(rgb())).unwrap_err();
    assert!(error.contains("set modalities.rgb.orientation: apply"), "{error}");
    // Annotations of the stored pixels.
    let lying = photos(6, (6, 8));
    let error = decode(&lying, rgb()).unwrap_err();
    assert!(error.contains("depth/0.png") && error.contains("EXIF orientation 6"), "{error}");
    assert!(error.contains("set modalities.rgb.orientation: ignore"), "{error}");
    assert_eq!(decode(&lying, ignoring(rgb())).map(|s| (s.height, s.width)), Ok((6, 8)));
}

/// Normals in 8 bits, in a folder of their own.
fn normals() -> DataModality {
    let encoding = Encoding::Continuous {
        channels: 3,
        divisor: 255.0,
        mean: vec![],
        std: vec![],
        interpolation: Interpolation::Nearest,
        standardize: false,
        quantity: Quantity::Direction,
    };
    DataModality { encoding, folder: "normal".to_owned(), ..depth(Interpolation::Nearest) }
}

#[test]
fn directions_are_not_turned_without_their_vectors() {
    let png = tagged_png(&encoded(&scene(8, 6), ImageFormat::Png), 6);
    let error = read(&normals(), "a.png", &png).unwrap_err();
    assert!(error.contains("orientation: ignore"), "{error}");
    assert!(read(&ignoring(normals()), "a.png", &png).is_ok());
    // Nor in packs, whether the modality is known while packing or not.
    let files = Files::new();
    fs_err::create_dir_all(files.root().join("normal")).unwrap();
    fs_err::write(files.root().join("normal/0.png"), &png).unwrap();
    let modalities = [normals()];
    let error = pack(&files, folders_of(&modalities).unwrap()).unwrap_err().to_string();
    assert!(error.contains("holds directions"), "{error}");
    let folders = find_folders(files.root(), &BTreeMap::new()).unwrap();
    let out = pack(&files, folders).unwrap();
    let error = Dataset::open(&out, &Layout::Folders, &modalities).unwrap_err().to_string();
    assert!(error.contains("were turned by it"), "{error}");
}

fn pack(files: &Files, folders: Vec<PackFolder>) -> multimae_data::Result<PathBuf> {
    let options =
        packed::Options { folders, shrink: None, skip_bad: false, replace: true, threads: 1 };
    let out = files.root().join("all.pack");
    create(files.root(), &out, &options, |_, _| {}, &AtomicBool::new(false)).map(|_| out)
}

#[test]
fn half_a_turn_is_applied_unless_it_is_to_be_ignored() {
    let files = photos(3, (6, 8));
    let red = |sample: RawSample| match &sample.maps["rgb"] {
        RawMap::Color(rgb) => (rgb[0], rgb[rgb.len() - 3]),
        other => panic!("{other:?}"),
    };
    let (first, last) = red(decode(&files, rgb()).unwrap());
    assert!(first > 100 && last < 60, "{first} {last}");
    let (first, last) = red(decode(&files, ignoring(rgb())).unwrap());
    assert!(first < 60 && last > 100, "{first} {last}");
}

#[test]
fn doctor_names_tagged_files_and_those_that_do_not_fit() {
    let findings = |files: &Files, options: &doctor::Options| {
        let report = doctor::examine(files.root(), options, |_, _| {}).unwrap();
        let of = |code: &str| report.findings().find(|found| found.code == code).cloned();
        (of("orientation"), of("orientation_same_size"), of("sample_sizes"))
    };
    let apply = doctor::Options::default();
    let (note, doubtful, sizes) = findings(&photos(6, (8, 6)), &apply);
    assert_eq!(note.map(|n| (n.severity, n.count)), Some((Severity::Note, 2)));
    assert!(doubtful.is_none() && sizes.is_none());
    let (_, doubtful, sizes) = findings(&photos(3, (6, 8)), &apply);
    let doubtful = doubtful.unwrap();
    assert_eq!((doubtful.severity, doubtful.count), (Severity::Warning, 2));
    assert!(doubtful.examples[0].contains("0 (EXIF orientation 3)"), "{doubtful:?}");
    assert!(doubtful.message.contains("modalities.rgb.orientation"), "{doubtful:?}");
    assert!(sizes.is_none());
    let lying = photos(6, (6, 8));
    let (_, _, sizes) = findings(&lying, &apply);
    let sizes = sizes.unwrap();
    assert_eq!(sizes.severity, Severity::Error);
    assert!(sizes.examples[0].contains("rgb 8 x 6 with EXIF orientation 6"), "{sizes:?}");
    let ignore = doctor::Options {
        ignore_orientation: ["rgb".to_owned()].into(),
        ..doctor::Options::default()
    };
    let (note, _, sizes) = findings(&lying, &ignore);
    assert!(note.unwrap().message.contains("as they are stored") && sizes.is_none());
}

#[test]
fn packs_follow_the_rule_of_their_modalities() {
    let pack =
        |files: &Files, modalities: &[DataModality]| pack(files, folders_of(modalities).unwrap());
    let depth = depth(Interpolation::Nearest);
    let (upright, stored) = ([rgb(), depth.clone()], [ignoring(rgb()), depth]);
    for (files, right, wrong) in
        [(photos(6, (8, 6)), &upright, &stored), (photos(6, (6, 8)), &stored, &upright)]
    {
        let out = pack(&files, right).unwrap();
        let packed = Dataset::open(&out, &Layout::Folders, right).unwrap();
        let folder = Dataset::open(files.root(), &Layout::Folders, right).unwrap();
        assert_eq!(packed.decode(1).unwrap(), folder.decode(1).unwrap());
        // Not silently as another modality reads them.
        let error = Dataset::open(&out, &Layout::Folders, wrong).unwrap_err().to_string();
        assert!(error.contains("2 files of folder `rgb` carry an EXIF orientation"), "{error}");
        let error = pack(&files, wrong).unwrap_err().to_string();
        assert!(error.contains("--ignore-orientation"), "{error}");
    }
    // Without a tag, the rule makes no difference.
    let files = photos(1, (6, 8));
    let out = pack(&files, &upright).unwrap();
    assert!(Dataset::open(&out, &Layout::Folders, &stored).is_ok());
}
