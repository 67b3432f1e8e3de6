//! Labels by maps from stored ids and from colours.

use std::slice::from_ref;
use std::sync::atomic::AtomicBool;

use multimae_data::doctor::Kind;
use multimae_data::labels::ClassMap;
use multimae_data::packed::{Options, create, find_folders, folders_of};
use multimae_data::{DataModality, Dataset, Encoding, Layout, RawMap};
use png::{BitDepth, ColorType};

use crate::files::{Files, HEIGHT, WIDTH};

fn map(text: &str) -> ClassMap {
    serde_json::from_str(text).unwrap()
}

fn mapped(text: &str) -> DataModality {
    DataModality::new("semseg", Encoding::mapped(map(text)))
}

fn labels(files: &Files, modality: &DataModality) -> Result<Vec<i64>, String> {
    let dataset = Dataset::open(files.root(), &Layout::Folders, from_ref(modality)).unwrap();
    let sample = dataset.decode(0).map_err(|error| error.to_string())?;
    let RawMap::Labels(labels) = &sample.maps["semseg"] else { panic!() };
    Ok(labels.clone())
}

/// Ids of 16 bits, as the 894 of NYUv2 are.
fn ids() -> Files {
    let files = Files::new();
    let stored = (0..HEIGHT * WIDTH).map(|at| [0_u16, 5, 6, 894][at % 4]);
    let bytes: Vec<u8> = stored.flat_map(u16::to_be_bytes).collect();
    files.png("semseg/0.png", ColorType::Grayscale, BitDepth::Sixteen, &bytes);
    files
}

/// Colours, as ADE20K and Pascal have them.
fn colors() -> Files {
    let files = Files::new();
    let colors = [[128_u8, 64, 128], [0, 0, 0], [128, 64, 129]];
    let rgb: Vec<u8> = (0..HEIGHT * WIDTH).flat_map(|at| colors[at % 3]).collect();
    files.png("semseg/0.png", ColorType::Rgb, BitDepth::Eight, &rgb);
    files
}

#[test]
fn stored_ids_become_classes() {
    let files = ids();
    let found = labels(&files, &mapped(r#"{"0": "ignore", "5-6": 0, "894": 1}"#)).unwrap();
    assert_eq!(found[..8], [-1, 0, 0, 1, -1, 0, 0, 1]);
    // Nothing is guessed about other ids.
    let error = labels(&files, &mapped(r#"{"0": "ignore", "5": 0}"#)).unwrap_err();
    assert!(error.contains("not in the class map: 6 (300 pixels), 894 (300 pixels)"), "{error}");
    assert!(error.contains("semseg/0.png") && error.contains("`other`"), "{error}");
    let found = labels(&files, &mapped(r#"{"5": 0, "other": 1}"#)).unwrap();
    assert_eq!(found[..4], [1, 0, 1, 1]);
    let found = labels(&files, &mapped(r#"{"5": 0, "other": "ignore"}"#)).unwrap();
    assert_eq!(found[..4], [-1, 0, -1, -1]);
    // Ids of 8 bits and arrays take other paths.
    let stored: Vec<u8> = (0..HEIGHT * WIDTH).map(|at| [7, 9][at % 2]).collect();
    files.png("semseg/0.png", ColorType::Grayscale, BitDepth::Eight, &stored);
    assert_eq!(labels(&files, &mapped(r#"{"7": 1, "9": 0}"#)).unwrap()[..2], [1, 0]);
    files.remove("semseg/0.png");
    files.npy("semseg/0.npy", &[1, 2], &[-1_i64, 12]);
    assert_eq!(labels(&files, &mapped(r#"{"-1": "ignore", "0-12": 3}"#)).unwrap(), [-1, 3]);
}

#[test]
fn colours_become_classes() {
    let files = colors();
    let text = r#"{"128,64,128": 1, "0,0,0": "ignore", "128,64,129": 0}"#;
    assert_eq!(labels(&files, &mapped(text)).unwrap()[..6], [1, -1, 0, 1, -1, 0]);
    let error = labels(&files, &mapped(r#"{"128,64,128": 0, "0,0,0": 1}"#)).unwrap_err();
    assert!(error.contains("not in the class map: 128,64,129 (400 pixels)"), "{error}");
    // Without a map of colours they are no labels.
    for modality in
        [DataModality::new("semseg", Encoding::labels(3, None, 0)), mapped(r#"{"0": 0, "1": 1}"#)]
    {
        let error = labels(&files, &modality).unwrap_err();
        assert!(error.contains("`classes: {map: FILE}`"), "{error}");
    }
    // The colours of a palette count, too.
    let indices: Vec<u8> = vec![3; HEIGHT * WIDTH];
    files.png("semseg/0.png", ColorType::Indexed, BitDepth::Eight, &indices);
    assert_eq!(labels(&files, &mapped(r#"{"7,7,7": 4}"#)).unwrap()[0], 4);
    // A format that changes colours is refused.
    let mut jpeg = Vec::new();
    let image = image::RgbImage::new(4, 4);
    image::codecs::jpeg::JpegEncoder::new(&mut jpeg).encode_image(&image).unwrap();
    files.write("semseg/0.png", &jpeg);
    let error = labels(&files, &mapped(r#"{"0,0,0": 0}"#)).unwrap_err();
    assert!(error.contains("jpeg, which does not keep labels"), "{error}");
}

#[test]
fn packs_give_the_same_labels() {
    let cases = [
        (ids(), r#"{"0": "ignore", "5-6": 0, "894": 1}"#, Kind::Labels),
        (colors(), r#"{"0,0,0": 0, "other": 1}"#, Kind::Color),
    ];
    for (files, text, kind) in cases {
        let modality = mapped(text);
        let kinds = [("semseg".to_owned(), kind)].into();
        for folders in
            [folders_of(from_ref(&modality)).unwrap(), find_folders(files.root(), &kinds).unwrap()]
        {
            let options =
                Options { folders, shrink: None, skip_bad: false, replace: true, threads: 1 };
            let out = files.path("all.pack");
            create(files.root(), &out, &options, |_, _| {}, &AtomicBool::new(false)).unwrap();
            let packed = Dataset::open(&out, &Layout::Folders, from_ref(&modality)).unwrap();
            let sample = packed.decode(0).unwrap();
            assert_eq!(sample.maps["semseg"], RawMap::Labels(labels(&files, &modality).unwrap()));
        }
    }
}

#[test]
fn maps_travel_with_what_describes_a_modality() {
    let modality = mapped(r#"{"0": "ignore", "1-3": 0, "7": 1}"#);
    let text = serde_json::to_string(&modality).unwrap();
    assert!(text.contains(r#""map":{"0":"ignore","1-3":0,"7":1}"#), "{text}");
    assert_eq!(serde_json::from_str::<DataModality>(&text).unwrap(), modality);
    let plain = serde_json::to_string(&DataModality::new("a", Encoding::labels(3, None, 0)));
    assert!(!plain.unwrap().contains("map"), "records of before keep their form");
    assert!(serde_json::from_str::<DataModality>(&text.replace("1-3", "x")).is_err());
}

#[test]
fn a_map_replaces_the_other_keys() {
    let with = |classes, ignore, offset, values| Encoding::Labels {
        classes,
        ignore,
        offset,
        values,
        map: Some(map(r#"{"1": 0, "2": 1}"#)),
    };
    assert!(DataModality::new("a", with(2, None, 0, vec![])).check().is_ok());
    assert!(DataModality::new("a", with(5, None, 0, vec![])).check().is_ok());
    for (encoding, problem) in [
        (with(2, Some(255), 0, vec![]), "`ignore`"),
        (with(2, None, -1, vec![]), "`offset`"),
        (with(2, None, 0, vec![1, 2]), "`values`"),
        (with(1, None, 0, vec![]), "a class 1, and there are 1 classes"),
    ] {
        let error = DataModality::new("a", encoding).check().unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
