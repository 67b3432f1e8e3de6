//! Samples from bytes in memory.

use multimae_data::{
    DataModality, Dataset, DecodeLimits, Error, Interpolation, Layout, ModalityFile, RawSample,
};

use crate::files::{Files, HEIGHT, WIDTH, depth, modalities, semseg};

const PATHS: [&str; 3] = ["rgb/0000.png", "depth/0000.png", "semseg/0000.png"];

fn decode(
    modalities: &[DataModality],
    contents: &[Vec<u8>],
    max_pixels: Option<u64>,
) -> Result<RawSample, Error> {
    let files: Vec<ModalityFile<'_>> = modalities
        .iter()
        .zip(contents)
        .zip(PATHS)
        .map(|((modality, bytes), name)| ModalityFile { modality, name, bytes })
        .collect();
    RawSample::from_bytes("0000", &files, DecodeLimits { max_pixels })
}

fn contents(files: &Files) -> Vec<Vec<u8>> {
    PATHS.iter().map(|path| files.read(path)).collect()
}

#[test]
fn bytes_give_what_their_files_give() {
    let files = Files::with_samples(1);
    let dataset = Dataset::open(files.root(), &Layout::Folders, &modalities()).unwrap();
    let sample = decode(&modalities(), &contents(&files), None).unwrap();
    assert_eq!(sample, dataset.decode(0).unwrap());
    let names: Vec<&String> = sample.maps.keys().collect();
    assert_eq!(names, ["rgb", "depth", "semseg"]);
}

#[test]
fn errors_name_the_modality_and_the_file() {
    let files = Files::with_samples(1);
    let whole = contents(&files);
    let narrow = {
        let (color, bits) = (png::ColorType::Grayscale, png::BitDepth::Sixteen);
        let bytes = [0; HEIGHT * WIDTH];
        files.png_of_size("semseg/0000.png", (HEIGHT, WIDTH / 2), color, bits, &bytes);
        files.read("semseg/0000.png")
    };
    let mut damaged = whole[1].clone();
    damaged.truncate(damaged.len() / 2);
    for (place, bytes, problem) in [
        (0, Vec::new(), "empty"),
        (1, damaged, "damaged"),
        (1, b"GIF89a".to_vec(), "GIF"),
        (1, b"nothing".to_vec(), "none of the known formats"),
        (2, narrow, "has 30 x 20 pixels, and `rgb` of this sample has 30 x 40"),
    ] {
        let mut all = whole.clone();
        all[place] = bytes;
        let modality = &modalities()[place].name;
        // With a limit, the headers are read first, and say the same of the file.
        for limit in [None, Some(10_000)] {
            let error = decode(&modalities(), &all, limit).unwrap_err();
            assert!(matches!(&error, Error::Sample { modality: m, .. } if m == modality));
            let text = error.to_string();
            let place = format!("sample `0000`, modality `{modality}`, {}: ", PATHS[place]);
            assert!(text.starts_with(&place) && text.contains(problem), "{text}");
        }
    }
    // A label outside the classes.
    let few = [modalities()[0].clone(), modalities()[1].clone(), semseg(7, None, 0)];
    let text = decode(&few, &whole, None).unwrap_err().to_string();
    assert!(text.contains("modality `semseg`, semseg/0000.png: labels outside the 7"), "{text}");
}

#[test]
fn sizes_are_bounded_by_the_header() {
    let files = Files::with_samples(1);
    let pixels = (HEIGHT * WIDTH) as u64;
    assert!(decode(&modalities(), &contents(&files), Some(pixels)).is_ok());
    let error = decode(&modalities(), &contents(&files), Some(pixels - 1)).unwrap_err();
    let Error::TooLarge { modality, height: 30, width: 40, limit: 1199, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(modality, "rgb");
    assert!(!error.is_bad_sample());
    // A header that claims ten billion pixels is refused before they are asked for.
    let mut all = contents(&files);
    all[1] = claiming(&all[1], 100_000);
    let error = decode(&modalities(), &all, Some(pixels)).unwrap_err();
    assert!(matches!(error, Error::TooLarge { height: 100_000, width: 100_000, .. }), "{error}");
    files.npy("depth/a.npy", &[1, 8, 300], &[1.0_f32; 2400]);
    all[1] = files.read("depth/a.npy");
    let error = decode(&modalities(), &all, Some(pixels)).unwrap_err();
    assert!(matches!(error, Error::TooLarge { height: 8, width: 300, .. }), "{error}");
}

#[test]
fn modalities_must_make_sense() {
    let files = Files::with_samples(1);
    let twice = [depth(Interpolation::Nearest), depth(Interpolation::Nearest)];
    let error = decode(&twice, &contents(&files)[1..], None).unwrap_err().to_string();
    assert!(error.contains("`depth` is there twice"), "{error}");
    let error = decode(&[], &[], None).unwrap_err().to_string();
    assert!(error.contains("at least one modality"), "{error}");
}

/// A png whose header claims other sides.
fn claiming(png: &[u8], side: u32) -> Vec<u8> {
    let mut png = png.to_vec();
    png[16..20].copy_from_slice(&side.to_be_bytes());
    png[20..24].copy_from_slice(&side.to_be_bytes());
    let checksum = crc32fast::hash(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    png
}
