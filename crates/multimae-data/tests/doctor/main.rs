//! Folders of data that were damaged on purpose, one way at a time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod depth;
mod labels;
mod shards;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage};
use multimae_data::doctor::{Finding, Kind, Options, Report, Severity, Values, examine};
use npyz::WriterBuilder;
use tempfile::TempDir;

const WIDTH: u32 = 40;
const HEIGHT: u32 = 30;
const SAMPLES: u32 = 8;

/// A folder of rgb/, depth/ in millimetres, label40/ and mask_valid/, with lists, in order.
struct Data {
    dir: TempDir,
    options: Options,
}

impl Data {
    fn new() -> Self {
        let data = Self { dir: tempfile::tempdir().unwrap(), options: Options::default() };
        data.fill("");
        fs::write(data.path("train.txt"), "0001\n0002\n0003\n0004\n0005\n").unwrap();
        fs::write(data.path("train_fit.txt"), "0001\n0002\n0003\n0004\n").unwrap();
        fs::write(data.path("val.txt"), "# to choose models\n0005\n").unwrap();
        fs::write(data.path("test.txt"), "0006\n0007\n0008\n").unwrap();
        data
    }

    fn without_lists() -> Self {
        let data = Self::new();
        for list in ["train", "train_fit", "val", "test"] {
            fs::remove_file(data.path(&format!("{list}.txt"))).unwrap();
        }
        data
    }

    /// Writes all samples below a folder.
    fn fill(&self, below: &str) {
        for folder in ["rgb", "depth", "label40", "mask_valid"] {
            fs::create_dir_all(self.dir.path().join(below).join(folder)).unwrap();
        }
        for i in 1..=SAMPLES {
            let file = |folder: &str| self.path(&format!("{below}{folder}/{i:04}.png"));
            rgb(i).save(file("rgb")).unwrap();
            depth(i, 1.0).save(file("depth")).unwrap();
            labels(|x, y| ((x / 5 + y / 5 * 8 + i) % 41) as u8).save(file("label40")).unwrap();
            labels(|x, _| if x < 2 { 0 } else { 255 }).save(file("mask_valid")).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn examine(&self) -> Report {
        let report = examine(self.dir.path(), &self.options, |_, _| {}).unwrap();
        // It can be read by programs.
        assert!(serde_json::to_string(&report).unwrap().contains("\"parts\""));
        report
    }

    /// The findings that are not notes must be these.
    fn finds(&self, expected: &[(Severity, &str, &str)]) -> Vec<Finding> {
        let report = self.examine();
        let found: Vec<Finding> =
            report.findings().filter(|f| f.severity > Severity::Note).cloned().collect();
        let mut short: Vec<(Severity, &str, &str)> =
            found.iter().map(|f| (f.severity, f.code, f.place.as_str())).collect();
        let mut expected = expected.to_vec();
        short.sort_unstable();
        expected.sort_unstable();
        assert_eq!(short, expected, "{found:#?}");
        assert_eq!(report.is_bad(), found.iter().any(|f| f.severity == Severity::Error));
        found
    }
}

const ERROR: Severity = Severity::Error;
const WARNING: Severity = Severity::Warning;

fn rgb(i: u32) -> RgbImage {
    RgbImage::from_fn(WIDTH, HEIGHT, |x, y| Rgb([(5 * x + i) as u8, (7 * y) as u8, (x + y) as u8]))
}

/// A wall at an angle, about 2 m away.
fn depth(i: u32, factor: f64) -> ImageBuffer<Luma<u16>, Vec<u16>> {
    ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| {
        Luma([(f64::from(1000 + 40 * x + 20 * y + 50 * i) * factor) as u16])
    })
}

fn labels(label: impl Fn(u32, u32) -> u8) -> GrayImage {
    GrayImage::from_fn(WIDTH, HEIGHT, |x, y| Luma([label(x, y)]))
}

#[test]
fn data_in_order_is_in_order() {
    let data = Data::new();
    assert!(data.finds(&[]).is_empty());
    let report = data.examine();
    let part = &report.parts[0];
    assert_eq!((report.parts.len(), part.samples, part.lists["train"]), (1, 8, 5));
    let kinds: Vec<Kind> = part.folders.iter().map(|folder| folder.kind).collect();
    assert_eq!(kinds, [Kind::Depth, Kind::Labels, Kind::Mask, Kind::Color]);
    let [depth, labels, mask, rgb] = &part.folders[..] else { panic!("four folders") };
    let Values::Depth { per_metre, min, median, max, holes } = depth.values else {
        panic!("depth")
    };
    assert_eq!((per_metre, min, max, holes), (1000.0, 1.05, 3.54, 0.0));
    assert!((2.0..2.6).contains(&median), "{median}");
    let Values::Labels(shares) = &labels.values else { panic!("labels") };
    assert_eq!(shares.len(), 41);
    assert!((shares.iter().map(|share| share.pixels).sum::<f64>() - 1.0).abs() < 1e-9);
    assert_eq!(mask.values, Values::Mask { valid: 0.95 });
    assert_eq!((rgb.files, rgb.sizes["30 x 40"], rgb.stored["8-bit RGB png"]), (8, 8, 8));
}

#[test]
fn a_missing_and_an_extra_file() {
    let data = Data::new();
    fs::remove_file(data.path("depth/0003.png")).unwrap();
    rgb(99).save(data.path("rgb/0099.png")).unwrap();
    let found = data.finds(&[(ERROR, "missing_file", "depth"), (WARNING, "extra_file", "rgb")]);
    assert_eq!((found[0].count, &found[0].examples[..]), (1, &["0003".to_owned()][..]));

    let data = Data::without_lists();
    fs::remove_file(data.path("depth/0003.png")).unwrap();
    rgb(99).save(data.path("rgb/0099.png")).unwrap();
    data.finds(&[(ERROR, "missing_file", "depth"), (ERROR, "extra_file", "rgb")]);
}

#[test]
fn of_two_folders_the_pictures_tell_what_a_sample_is() {
    let data = Data::without_lists();
    for folder in ["label40", "mask_valid"] {
        fs::remove_dir_all(data.path(folder)).unwrap();
    }
    fs::remove_file(data.path("depth/0003.png")).unwrap();
    fs::remove_file(data.path("rgb/0004.png")).unwrap();
    let found = data.finds(&[(ERROR, "missing_file", "depth"), (ERROR, "extra_file", "depth")]);
    let examples: BTreeMap<&str, &str> =
        found.iter().map(|f| (f.code, f.examples[0].as_str())).collect();
    assert_eq!((examples["missing_file"], examples["extra_file"]), ("0003", "0004"));
}

#[test]
fn files_that_cannot_be_read() {
    let data = Data::new();
    let path = data.path("rgb/0002.png");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    fs::write(data.path("label40/0004.png"), "").unwrap();
    let found = data.finds(&[(ERROR, "unreadable", "rgb"), (ERROR, "unreadable", "label40")]);
    assert!(found.iter().any(|f| f.examples[0].contains("0002.png")), "{found:?}");
}

#[test]
fn names_that_do_not_fit() {
    let data = Data::new();
    fs::write(data.path("rgb/notes.doc"), "notes").unwrap();
    fs::rename(data.path("rgb/0002.png"), data.path("rgb/0002.jpg")).unwrap();
    fs::copy(data.path("depth/0001.png"), data.path("depth/0001.npy")).unwrap();
    data.finds(&[
        (WARNING, "unsupported_file", "rgb"),
        (WARNING, "misnamed", "rgb"),
        (ERROR, "ambiguous_name", "depth"),
        (WARNING, "misnamed", "depth"),
        (WARNING, "duplicate", "depth"),
    ]);
}

#[test]
fn another_size() {
    let data = Data::new();
    image::imageops::thumbnail(&rgb(2), 20, 15).save(data.path("rgb/0002.png")).unwrap();
    let found = data.finds(&[(ERROR, "sample_sizes", ""), (WARNING, "several_sizes", "rgb")]);
    assert!(found[0].examples[0].contains("0002 (depth 30 x 40"), "{found:?}");
    assert!(found[0].examples[0].contains("rgb 15 x 20"), "{found:?}");
}

#[test]
fn labels_out_of_range() {
    let data = Data::new();
    labels(|x, _| if x == 0 { 77 } else { 255 }).save(data.path("label40/0002.png")).unwrap();
    let found = data.finds(&[(ERROR, "label_out_of_range", "label40")]);
    assert_eq!(found[0].examples, ["0002 (77: 30 pixels)"]);

    let mut data = Data::new();
    data.options.max_label = Some(12);
    let found = data.finds(&[(ERROR, "label_out_of_range", "label40")]);
    assert_eq!(found[0].count, 8);
}

#[test]
fn labels_of_other_conventions() {
    let data = Data::new();
    for i in 1..=SAMPLES {
        let path = data.path(&format!("label40/{i:04}.png"));
        // 0 for the first of 40 classes, 255 for void.
        labels(|x, y| if x < 5 { 255 } else { ((x / 5 + y / 5 * 8 + i) % 40) as u8 })
            .save(path)
            .unwrap();
    }
    labels(|_, _| 255).save(data.path("label40/0001.png")).unwrap();
    data.finds(&[(WARNING, "void_label", "label40"), (WARNING, "void_only", "label40")]);

    let data = Data::new();
    rgb(2).save(data.path("label40/0002.png")).unwrap();
    fs::remove_file(data.path("label40/0003.png")).unwrap();
    labels(|x, _| x as u8).save(data.path("label40/0003.jpg")).unwrap();
    let found: Vec<String> =
        data.examine().findings().map(|f| format!("{} {}", f.code, f.place)).collect();
    assert!(found.contains(&"labels_as_jpeg label40".to_owned()), "{found:?}");
    assert!(found.contains(&"not_labels label40".to_owned()), "{found:?}");
}

/// The finding with this code.
fn finding(report: &Report, code: &str) -> Finding {
    let found = report.findings().find(|finding| finding.code == code);
    found.unwrap_or_else(|| panic!("no {code} in {report:#?}")).clone()
}

#[test]
fn a_mask_of_0_and_255_is_two_classes_of_which_one_is_ignored() {
    let mut data = Data::new();
    for i in 1..=SAMPLES {
        let path = data.path(&format!("label40/{i:04}.png"));
        labels(|x, y| if (x + y + i).is_multiple_of(3) { 255 } else { 0 }).save(path).unwrap();
    }
    let found = data.finds(&[(ERROR, "mask_of_255", "label40")]);
    assert!(found[0].message.contains("`modalities.label40.values=[0, 255]`"), "{found:?}");
    // Unless the options say that no label is ignored.
    data.options.ignore = Some(-1);
    data.options.max_label = Some(255);
    data.finds(&[]);
}

#[test]
fn minus_one_marks_void() {
    let data = Data::new();
    for i in 1..=SAMPLES {
        fs::remove_file(data.path(&format!("label40/{i:04}.png"))).unwrap();
        let labels = |p: u32| if p.is_multiple_of(10) { -1 } else { i64::from((p + i) % 41) };
        let labels: Vec<i64> = (0..WIDTH * HEIGHT).map(labels).collect();
        write_array(&data.path(&format!("label40/{i:04}.npy")), &labels);
    }
    data.finds(&[(WARNING, "negative_void", "label40")]);
    let message = finding(&data.examine(), "negative_void").message;
    assert!(message.contains("10.0 %"), "{message}");
    assert!(message.contains("`modalities.label40.ignore=-1`"), "{message}");
}

#[test]
fn few_classes_of_which_some_never_occur() {
    let mut data = Data::new();
    for i in 1..=SAMPLES {
        let path = data.path(&format!("label40/{i:04}.png"));
        labels(|x, y| ((x + y) % 3) as u8).save(path).unwrap();
    }
    data.options.max_label = Some(2);
    data.finds(&[]);
    data.options.max_label = Some(3);
    data.finds(&[(WARNING, "missing_classes", "label40")]);
    data.options.max_label = Some(4);
    data.finds(&[(ERROR, "missing_classes", "label40")]);
}

#[test]
fn a_saturated_value_of_depth_is_named_with_the_unit_that_has_it() {
    let data = Data::new();
    for i in 1..=SAMPLES {
        // 2 to 5 m at 512 per metre; unknown at the right.
        let stored = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| {
            let metres = 2.0 + 0.05 * f64::from(x) + 0.02 * f64::from(y + i);
            Luma([if x < 37 { (512.0 * metres) as u16 } else { u16::MAX }])
        });
        stored.save(data.path(&format!("depth/{i:04}.png"))).unwrap();
    }
    let report = data.examine();
    let saturated = finding(&report, "saturated_depth");
    assert!(saturated.message.contains("65535") && saturated.message.contains("7.5 %"));
    let unit = report.findings().find(|found| found.severity > Severity::Note).unwrap();
    assert!(unit.code == "depth_scale" || unit.code == "depth_unit", "{unit:?}");
    let place = unit.message.find("512 per metre").unwrap();
    assert!(!unit.message[..place].contains("per metre ("), "512 comes first: {}", unit.message);
    // With the unit, the marked pixels are no depth.
    let mut data = data;
    data.options.per_metre = Some(512.0);
    data.finds(&[]);
    let report = data.examine();
    let depth = &report.parts[0].folders[0].values;
    let Values::Depth { max, holes, .. } = depth else { panic!("{depth:?}") };
    assert!(*max < 5.0 && (holes - 0.075).abs() < 1e-6, "{depth:?}");
}

#[test]
fn shifted_millimetres_are_recognised_by_their_divisor() {
    let mut data = Data::new();
    for (scale, offset) in [(1.0, 0), (0.5, 0)] {
        for i in 1..=SAMPLES {
            let stored = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| {
                let millimetres = f64::from(900 + 30 * x + 13 * y + 40 * i + offset) * scale;
                Luma([(millimetres as u16) << 3])
            });
            stored.save(data.path(&format!("depth/{i:04}.png"))).unwrap();
        }
        data.options.per_metre = None;
        let found = data.finds(&[(ERROR, "depth_scale", "depth")]);
        let message = &found[0].message;
        assert!(message.contains("8000 per metre") && message.contains("multiples of 8"));
        data.options.per_metre = Some(8000.0);
        data.finds(&[]);
    }
}

#[test]
fn a_unit_that_could_be_another_is_remarked() {
    let data = Data::new();
    // 1/512 m, of which nothing tells: in millimetres it is a small room.
    for i in 1..=SAMPLES {
        depth(i, 0.75).save(data.path(&format!("depth/{i:04}.png"))).unwrap();
    }
    let remark = finding(&data.examine(), "depth_unit");
    assert!(remark.message.contains("512 per metre"), "{remark:?}");
}

#[test]
fn depth_of_another_scale() {
    let data = Data::new();
    for i in 1..=SAMPLES {
        depth(i, 6.5536).save(data.path(&format!("depth/{i:04}.png"))).unwrap();
    }
    let found = data.finds(&[(ERROR, "depth_scale", "depth")]);
    assert!(found[0].message.contains("1/6553.6 m"), "{}", found[0].message);

    let mut data = data;
    data.options.per_metre = Some(6553.6);
    data.finds(&[]);
    data.options.per_metre = Some(100.0);
    data.finds(&[(WARNING, "depth_scale", "depth")]);

    // The manifest is believed.
    data.options.per_metre = None;
    fs::write(data.path("manifest.json"), "{\"depth_per_metre\": 6553.6}").unwrap();
    data.finds(&[(WARNING, "depth_divisor", "depth")]);
    fs::write(data.path("manifest.json"), "{\"depth_unit\": \"millimetre\"}").unwrap();
    data.finds(&[(ERROR, "depth_scale", "depth")]);
}

#[test]
fn one_file_of_another_scale() {
    let data = Data::new();
    depth(2, 6.5536).save(data.path("depth/0002.png")).unwrap();
    let found = data.finds(&[(ERROR, "depth_scale_of_file", "depth")]);
    assert!(found[0].examples[0].starts_with("0002 (a median of 14."), "{found:?}");
    // Near, but possible.
    depth(2, 0.16).save(data.path("depth/0002.png")).unwrap();
    data.finds(&[(WARNING, "unusual_depth", "depth")]);
}

#[test]
fn depth_that_is_none() {
    let data = Data::new();
    rgb(1).save(data.path("depth/0001.png")).unwrap();
    labels(|x, y| (x + y + 1) as u8).save(data.path("depth/0002.png")).unwrap();
    let hole = |holes: u32| {
        ImageBuffer::from_fn(WIDTH, HEIGHT, |x, _| Luma([if x < holes { 0_u16 } else { 2500 }]))
    };
    hole(WIDTH).save(data.path("depth/0003.png")).unwrap();
    hole(0).save(data.path("depth/0004.png")).unwrap();
    hole(30).save(data.path("depth/0005.png")).unwrap();
    let found = data.examine();
    let codes: BTreeMap<&str, &str> = found
        .findings()
        .filter(|f| f.place == "depth" && !f.examples.is_empty())
        .map(|f| (f.code, f.examples[0].as_str()))
        .collect();
    assert_eq!(codes["not_depth"], "0001");
    assert_eq!(codes["depth_in_8_bits"], "0002");
    assert_eq!(codes["no_depth"], "0003");
    assert_eq!(codes["constant"], "0004");
    assert_eq!(codes["many_holes"], "0005 (75 % invalid)");
}

#[test]
fn arrays_of_metres() {
    let mut data = Data::without_lists();
    for i in 1..=SAMPLES {
        fs::remove_file(data.path(&format!("depth/{i:04}.png"))).unwrap();
        let values = depth(i, 1.0);
        let values: Vec<f32> =
            values.pixels().map(|pixel| f32::from(pixel.0[0]) / 1000.0).collect();
        write_array(&data.path(&format!("depth/{i:04}.npy")), &values);
    }
    // The files are right, and fine-tuning has to be told.
    let found = data.finds(&[(WARNING, "depth_divisor", "depth")]);
    assert!(found[0].message.contains("`modalities.depth.divisor=1`"), "{found:?}");
    data.options.per_metre = Some(1.0);
    data.finds(&[]);
    data.options.per_metre = None;
    let path = data.path("depth/0007.npy");
    write_array(&path, &vec![f32::NAN; (WIDTH * HEIGHT) as usize]);
    let found: Vec<&str> = data.examine().findings().map(|f| f.code).collect();
    assert!(found.contains(&"not_finite"), "{found:?}");
}

fn write_array<T: npyz::AutoSerialize + Copy>(path: &Path, values: &[T]) {
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype();
    let options = options.shape(&[u64::from(HEIGHT), u64::from(WIDTH)]).writer(&mut bytes);
    let mut writer = options.begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn pictures_that_are_none() {
    let data = Data::new();
    RgbImage::from_pixel(WIDTH, HEIGHT, Rgb([9, 9, 9])).save(data.path("rgb/0001.png")).unwrap();
    labels(|x, y| (x + y) as u8).save(data.path("rgb/0002.png")).unwrap();
    depth(3, 0.9).save(data.path("rgb/0003.png")).unwrap();
    data.finds(&[
        (WARNING, "constant", "rgb"),
        (WARNING, "grey", "rgb"),
        (ERROR, "not_a_picture", "rgb"),
    ]);
}

#[test]
fn masks_with_other_values() {
    let data = Data::new();
    labels(|x, _| 128 * u8::from(x > 3)).save(data.path("mask_valid/0001.png")).unwrap();
    data.finds(&[(ERROR, "mask_values", "mask_valid"), (WARNING, "nothing_valid", "mask_valid")]);
}

#[test]
fn masks_of_one_bit_are_valid_at_1_as_in_training() {
    let data = Data::new();
    for i in 1..=SAMPLES {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, WIDTH, HEIGHT);
        encoder.set_depth(png::BitDepth::One);
        let mut writer = encoder.write_header().unwrap();
        // The first 8 of 40 columns are 0.
        writer.write_image_data(&[0, 255, 255, 255, 255].repeat(HEIGHT as usize)).unwrap();
        drop(writer);
        fs::write(data.path(&format!("mask_valid/{i:04}.png")), bytes).unwrap();
    }
    data.finds(&[]);
    let masks = data.examine().parts[0].folders[2].clone();
    assert_eq!((masks.kind, masks.values), (Kind::Mask, Values::Mask { valid: 0.8 }));
}

#[test]
fn the_same_picture_under_two_names() {
    let data = Data::new();
    fs::copy(data.path("rgb/0001.png"), data.path("rgb/0002.png")).unwrap();
    let found = data.finds(&[(ERROR, "mixed_up", "rgb")]);
    assert_eq!(found[0].examples, ["0001 = 0002"]);
    // The whole sample twice: in the same list, and across lists.
    fs::copy(data.path("depth/0001.png"), data.path("depth/0002.png")).unwrap();
    data.finds(&[(WARNING, "duplicate", "rgb"), (WARNING, "duplicate", "depth")]);
    for folder in ["rgb", "depth"] {
        let path = |id: u32| data.path(&format!("{folder}/{id:04}.png"));
        fs::copy(path(1), path(7)).unwrap();
    }
    data.finds(&[(ERROR, "leak", "rgb"), (ERROR, "leak", "depth")]);
}

#[test]
fn lists_that_do_not_fit() {
    let data = Data::new();
    fs::write(data.path("val.txt"), "0005\n0006\n0005\n0050\n").unwrap();
    fs::write(data.path("train_fit.txt"), "\n").unwrap();
    let found = data.finds(&[
        (ERROR, "listed_twice", "val.txt"),
        (ERROR, "unknown_sample", "val.txt"),
        (ERROR, "empty_list", "train_fit.txt"),
        (ERROR, "lists_overlap", "val.txt"),
        (ERROR, "lists_overlap", "val.txt"),
    ]);
    assert!(found.iter().any(|f| f.message.contains("test.txt")), "{found:?}");
}

#[test]
fn the_published_layout_has_parts() {
    let data = Data { dir: tempfile::tempdir().unwrap(), options: Options::default() };
    data.fill("train/");
    data.fill("test/");
    fs::remove_file(data.path("test/rgb/0001.png")).unwrap();
    data.finds(&[(ERROR, "missing_file", "rgb")]);
    let names: Vec<String> = data.examine().parts.into_iter().map(|part| part.name).collect();
    assert_eq!(names, ["test", "train"]);
}

#[test]
fn folders_without_telling_names() {
    let mut data = Data::without_lists();
    for (from, to) in [("rgb", "a"), ("depth", "b"), ("label40", "c"), ("mask_valid", "d")] {
        fs::rename(data.path(from), data.path(to)).unwrap();
    }
    let kinds = |data: &Data| -> Vec<Kind> {
        data.examine().parts[0].folders.iter().map(|folder| folder.kind).collect()
    };
    assert_eq!(kinds(&data), [Kind::Color, Kind::Depth, Kind::Labels, Kind::Mask]);
    data.options.kinds.insert("b".into(), Kind::Other);
    assert_eq!(kinds(&data)[1], Kind::Other);
    data.options.kinds.insert("e".into(), Kind::Other);
    let error = examine(data.dir.path(), &data.options, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("`e`"), "{error}");
}

#[test]
fn nothing_to_examine_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = examine(dir.path(), &Options::default(), |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("one per modality"), "{error}");
    assert!(examine(&dir.path().join("nowhere"), &Options::default(), |_, _| {}).is_err());
    // A folder that should have files.
    fs::create_dir(dir.path().join("rgb")).unwrap();
    let report = examine(dir.path(), &Options::default(), |_, _| {}).unwrap();
    assert_eq!(report.findings().next().unwrap().code, "empty_folder");
}
