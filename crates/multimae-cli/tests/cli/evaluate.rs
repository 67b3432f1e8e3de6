//! Scores and predictions of a small model of random weights, through the program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{SAMPLES, Scratch, fail, stderr, succeed};
use fs_err as fs;
use image::{GenericImageView, ImageBuffer, Luma};
use serde_json::Value;

struct Bench {
    scratch: Scratch,
    model: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        let model = scratch.path("model.safetensors");
        crate::common::tiny_model::save(&model);
        Self { scratch, model }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_multimae"));
        command.arg(name).arg("--model").arg(&self.model);
        command
    }

    fn evaluate(&self, protocol: &str) -> Command {
        let mut command = self.command("evaluate");
        command.arg("--data").arg(self.scratch.data()).args(["--split", "train"]);
        command.args(["--protocol", protocol]);
        command
    }

    fn predict(&self, input: &Path, out: &str) -> Command {
        let mut command = self.command("predict");
        command.arg("--input").arg(input).arg("--out").arg(self.scratch.path(out));
        command
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn scores_come_with_their_protocol_and_pictures() {
    let bench = Bench::new();
    let (file, out) = (bench.scratch.path("scores.json"), bench.scratch.path("report"));
    let mut command = bench.evaluate("depth,semseg");
    command.arg("--json").arg(&file).arg("--out").arg(&out).args(["--missing", "--flip"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    for words in [
        "split `train`",
        "all 12",
        "40x48 (rows x columns)",
        "mirrored",
        "depth above 0.001 m",
        "rgb and depth at",
        "stored values below 1 and 255 are void",
        "| rgb + depth |",
        "| rgb         |",
        "rgb missing, at its mean",
    ] {
        assert!(text.contains(words), "`{words}` is not in: {text}");
    }
    let scores = json(&file);
    assert_eq!(scores, json(&out.join("scores.json")));
    let images = scores["evaluations"][0]["depth"]["images"].as_array().unwrap();
    assert_eq!((images.len(), images[3]["pixels"].as_u64()), (SAMPLES, Some(40 * 48)));
    assert_eq!(scores["evaluations"][1]["semseg"]["rows"][0]["classes"][0]["name"], "one");
    assert_eq!(scores["subsets"].as_array().unwrap().len(), 3);
    // With all inputs, as in the evaluation itself.
    let rows = |evaluation: &Value| evaluation["depth"]["rows"].clone();
    assert_eq!(rows(&scores["subsets"][0]["evaluations"][0]), rows(&scores["evaluations"][0]));
    for name in ["depth-worst.png", "semseg-worst.png", "semseg-iou-own-classes.png"] {
        assert!(image::open(out.join(name)).unwrap().width() > 200, "{name}");
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("Missing modalities") && page.contains("valid pixels"));
    // Existing files are not replaced without `--force`.
    let message = fail(bench.evaluate("depth").arg("--json").arg(&file));
    assert!(message.contains("scores.json") && message.contains("--force"), "{message}");
}

#[test]
fn scores_are_those_of_the_predictions_in_files() {
    let bench = Bench::new();
    let file = bench.scratch.path("scores.json");
    succeed(bench.evaluate("depth").args(["--inputs", "rgb"]).arg("--json").arg(&file));
    succeed(&mut bench.predict(&bench.scratch.data().join("rgb"), "out"));
    let image = &json(&file)["evaluations"][0]["depth"]["images"][5];
    assert_eq!(image["id"], "005");
    let depth = |path: PathBuf| image::open(path).unwrap().into_luma16().into_raw();
    let target = depth(bench.scratch.data().join("depth/005.png"));
    let predicted = depth(bench.scratch.path("out/depth/005.png"));
    let relative = |(p, t): (&u16, &u16)| (f64::from(*p) - f64::from(*t)).abs() / f64::from(*t);
    let mean = predicted.iter().zip(&target).map(relative).sum::<f64>() / target.len() as f64;
    let scored = image["scores"]["rel"].as_f64().unwrap();
    // Files hold whole millimetres.
    assert!((scored - mean).abs() < 1e-3, "{scored} {mean}");
}

#[test]
fn a_protocol_that_does_not_fit_says_which_does() {
    let bench = Bench::new();
    let message = fail(&mut bench.evaluate("nyuv2-depth"));
    assert!(message.contains("4:3") && message.contains("`depth`"), "{message}");
    let message = fail(&mut bench.evaluate("nyuv2-semseg"));
    assert!(message.contains("5 classes") && message.contains("`semseg`"), "{message}");
    let message = fail(&mut bench.evaluate("nyu"));
    assert!(message.contains("nyuv2-depth"), "{message}");
    let message = fail(bench.evaluate("depth").args(["--inputs", "infrared"]));
    assert!(message.contains("infrared") && message.contains("rgb, depth"), "{message}");
}

#[test]
fn a_picture_is_predicted_at_its_own_size() {
    let bench = Bench::new();
    // Of another size than the model's and than the data's.
    let photo = bench.scratch.path("photo.png");
    image::RgbImage::from_fn(75, 50, |x, y| image::Rgb([x as u8 * 3, y as u8 * 4, 90]))
        .save(&photo)
        .unwrap();
    let message = succeed(&mut bench.predict(&photo, "out"));
    assert!(message.contains("rgb at"), "{message}");
    let out = bench.scratch.path("out");
    let depth: ImageBuffer<Luma<u16>, Vec<u16>> =
        image::open(out.join("depth/photo.png")).unwrap().into_luma16();
    assert_eq!(depth.dimensions(), (75, 50));
    let array = fs::read(out.join("depth/photo.npy")).unwrap();
    let metres: Vec<f32> = array[array.len() - 4 * 75 * 50..]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect();
    for (metres, millimetres) in metres.iter().zip(depth.iter()) {
        assert!((metres * 1000.0 - f32::from(*millimetres)).abs() < 0.51);
    }
    // Labels are the values of the annotations, 1 to 5, in the classes' colours.
    let seen = image::open(out.join("semseg/photo.png")).unwrap();
    assert_eq!(seen.dimensions(), (75, 50));
    assert!(seen.into_rgb8().pixels().all(|p| crate::common::tiny_model::COLORS.contains(&p.0)));
    for task in ["depth", "semseg"] {
        let overlay = image::open(out.join(format!("{task}_overlay/photo.png"))).unwrap();
        assert!(overlay.width() >= 320 && overlay.height() > 50);
    }
}

/// A jpeg of these pixels with an EXIF orientation.
fn tagged_jpeg(image: &image::RgbImage, orientation: u8) -> Vec<u8> {
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let mut exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    [&jpeg[..2], &exif, &jpeg[2..]].concat()
}

#[test]
fn photos_are_predicted_as_a_viewer_shows_them() {
    let bench = Bench::new();
    let photos = bench.scratch.path("photos");
    fs::create_dir(&photos).unwrap();
    // A lying photo, and what a viewer shows of it: the same prediction, at the upright size.
    let stored = image::RgbImage::from_fn(60, 40, |x, y| {
        image::Rgb([(x * 4) as u8, (y * 6) as u8, (x * y % 200) as u8])
    });
    for orientation in [3, 5, 6, 8] {
        let bytes = tagged_jpeg(&stored, orientation);
        fs::write(photos.join(format!("tagged{orientation}.jpg")), &bytes).unwrap();
        let mut shown = image::load_from_memory(&bytes).unwrap();
        shown.apply_orientation(image::metadata::Orientation::from_exif(orientation).unwrap());
        shown.save(photos.join(format!("upright{orientation}.png"))).unwrap();
    }
    fs::write(photos.join("Thumbs.db"), b"x").unwrap();
    fs::write(photos.join("._upright3.png"), b"x").unwrap();
    let message = succeed(&mut bench.predict(&photos, "out"));
    assert!(message.contains("2 hidden files or files of operating systems"), "{message}");
    for orientation in [3, 5, 6, 8] {
        let read = |name: &str| {
            let name = format!("out/depth/{name}{orientation}.png");
            image::open(bench.scratch.path(&name)).unwrap().into_luma16()
        };
        let tagged = read("tagged");
        assert_eq!(tagged.dimensions(), if orientation == 3 { (60, 40) } else { (40, 60) });
        assert_eq!(tagged, read("upright"), "{orientation}");
    }
}

#[test]
fn a_line_of_pixels_is_predicted_at_its_own_size() {
    let bench = Bench::new();
    let photo = bench.scratch.path("line.png");
    image::RgbImage::new(65535, 1).save(&photo).unwrap();
    // This model sees any frame inside its own size.
    succeed(bench.predict(&photo, "out").arg("--no-overlays"));
    let size = image::image_dimensions(bench.scratch.path("out/depth/line.png")).unwrap();
    assert_eq!(size, (65535, 1));
}

#[test]
fn predictions_are_not_replaced_unasked() {
    let bench = Bench::new();
    let photo = bench.scratch.data().join("rgb/000.png");
    let none = |out: &str| fs::read_dir(bench.scratch.path(out)).unwrap().count();
    succeed(bench.predict(&photo, "out").arg("--no-overlays"));
    assert_eq!(none("out"), 2, "depth and semseg");
    let before = fs::read(bench.scratch.path("out/depth/000.npy")).unwrap();
    let message = fail(&mut bench.predict(&photo, "out"));
    assert!(message.contains("000.png") && message.contains("--force"), "{message}");
    succeed(bench.predict(&photo, "out").arg("--force"));
    assert_eq!(fs::read(bench.scratch.path("out/depth/000.npy")).unwrap(), before);
}

#[test]
fn a_bad_file_does_not_stop_the_others_and_leaves_nothing() {
    let bench = Bench::new();
    let images = bench.scratch.data().join("rgb");
    let bytes = fs::read(images.join("003.png")).unwrap();
    fs::write(images.join("000.png"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(images.join("007.png"), "<html>").unwrap();
    let message = fail(&mut bench.predict(&images, "out"));
    let words = "2 of 12 images could not be predicted, and nothing was written for them: 000, 007";
    assert!(message.contains(words) && message.contains("10 images, in"), "{message}");
    for path in ["rgb/000.png", "rgb/007.png"] {
        assert!(message.contains(path), "the reason names {path}: {message}");
    }
    let names = |folder: &str| -> Vec<String> {
        let out = bench.scratch.path("out").join(folder);
        let entries = fs::read_dir(out).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let good: Vec<String> =
        (0..12).filter(|i| ![0, 7].contains(i)).map(|i| format!("{i:03}.png")).collect();
    assert_eq!(names("semseg_overlay"), good);
    assert_eq!(names("depth").len(), 20, "a PNG and an array for each good image");
    // The old way: the first bad file ends it.
    let message = fail(bench.predict(&images, "fast").arg("--fail-fast"));
    assert!(message.contains("rgb/000.png") && !message.contains("007"), "{message}");
    assert!(!bench.scratch.path("fast").exists());
}

#[test]
fn folders_of_modalities_are_paired_by_name() {
    let bench = Bench::new();
    let data = bench.scratch.data();
    // All of them: the model sees depth too.
    let message = succeed(bench.predict(&data, "both").args(["--split", "train"]));
    assert!(message.contains("rgb and depth at") && message.contains("12 images"), "{message}");
    let named = |out: &str, inputs: [String; 2]| {
        let mut command = bench.command("predict");
        command.arg("--out").arg(bench.scratch.path(out)).args(["--input", &inputs[0]]);
        command.args(["--input", &inputs[1]]);
        command
    };
    let folder = |name: &str| format!("{name}={}", data.join(name).display());
    succeed(&mut named("named", [folder("rgb"), folder("depth")]));
    let file = |name: &str| format!("{name}={}", data.join(name).join("004.png").display());
    succeed(&mut named("one", [file("rgb"), file("depth")]));
    let depth = |out: &str| fs::read(bench.scratch.path(out).join("depth/004.npy")).unwrap();
    assert_eq!(depth("both"), depth("named"));
    assert_eq!(depth("both"), depth("one"));
    // Depth is read: without it something else comes out.
    succeed(&mut bench.predict(&data.join("rgb"), "rgb"));
    assert_ne!(depth("both"), depth("rgb"));
    fs::remove_file(data.join("depth/004.png")).unwrap();
    let message = fail(&mut named("named2", [folder("rgb"), folder("depth")]));
    assert!(message.contains("004"), "{message}");
}

#[test]
fn bad_input_is_named() {
    let bench = Bench::new();
    let data = bench.scratch.data();
    let message = fail(&mut bench.predict(&data.join("nothing.png"), "out"));
    assert!(message.contains("nothing.png"), "{message}");
    let path = data.join("rgb/003.png");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let message = fail(&mut bench.predict(&data.join("rgb"), "out"));
    assert!(message.contains("003.png"), "{message}");
    fs::create_dir(bench.scratch.path("empty")).unwrap();
    let message = fail(&mut bench.predict(&bench.scratch.path("empty"), "out"));
    assert!(message.contains("empty") && message.contains("no image"), "{message}");
    let message = fail(
        bench
            .command("predict")
            .args(["--out", "x", "--input"])
            .arg(format!("infrared={}", path.display())),
    );
    assert!(message.contains("infrared") && message.contains("rgb, depth"), "{message}");
    let message = fail(
        Command::new(env!("CARGO_BIN_EXE_multimae"))
            .args(["predict", "--model"])
            .arg(&path)
            .args(["--input", "x", "--out", "y"]),
    );
    assert!(message.contains("003.png"), "{message}");
}

#[test]
fn with_a_flip_the_mirror_image_has_the_mirrored_prediction() {
    let bench = Bench::new();
    let photo = bench.scratch.path("photo.png");
    let picture =
        image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8 * 4, y as u8 * 5, 9]));
    picture.save(&photo).unwrap();
    let mirrored = bench.scratch.path("mirrored.png");
    image::imageops::flip_horizontal(&picture).save(&mirrored).unwrap();
    let depth = |path: &Path, out: &str, flip: &[&str]| {
        succeed(bench.predict(path, out).args(flip));
        let name = path.file_name().unwrap();
        image::open(bench.scratch.path(out).join("depth").join(name)).unwrap().into_luma16()
    };
    let plain = depth(&photo, "plain", &[]);
    let flipped = depth(&photo, "flipped", &["--flip"]);
    let of_mirror = depth(&mirrored, "mirrored", &["--flip"]);
    let back = image::imageops::flip_horizontal(&of_mirror);
    let difference = |a: &ImageBuffer<Luma<u16>, Vec<u16>>| {
        a.iter().zip(flipped.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    };
    assert!(difference(&back) <= 3, "{} mm", difference(&back));
    assert!(difference(&plain) > 3, "the flip changes nothing");
}

#[test]
fn frames_in_another_unit_are_scored_with_set_and_warned_of_without() {
    let bench = Bench::new();
    let evaluate = |dir: &Path, further: &[&str]| {
        let mut command = bench.command("evaluate");
        command.arg("--data").arg(dir).args(["--split", "train", "--protocol", "depth"]);
        let output = command.args(further).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        (String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output))
    };
    let (expected, quiet) = evaluate(&bench.scratch.data(), &[]);
    assert!(expected.contains("stored values divided by 1000"), "{expected}");
    assert!(expected.contains("medians") && !quiet.contains("warning"), "{expected}{quiet}");
    // The same depth, shifted left by three bits.
    let other = Bench::new().scratch;
    for i in 0..SAMPLES {
        let path = other.data().join(format!("depth/{i:03}.png"));
        let mut depth = image::open(&path).unwrap().into_luma16();
        depth.pixels_mut().for_each(|pixel| pixel.0[0] *= 8);
        depth.save(&path).unwrap();
    }
    let (_, warned) = evaluate(&other.data(), &[]);
    assert!(
        warned.contains("warning: ") && warned.contains("modalities.depth.divisor="),
        "{warned}"
    );
    let set = ["--set", "modalities.depth.divisor=8000"];
    let (scored, quiet) = evaluate(&other.data(), &set);
    assert!(!quiet.contains("warning"), "{quiet}");
    let scores = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with('|') || line.contains("median"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(scores(&scored), scores(&expected));
    assert!(scored.contains("stored values divided by 8000"), "{scored}");
    // `predict` takes the same, and only keys that say how files are read.
    let mut predict = bench.predict(&other.data(), "predictions");
    let said = succeed(predict.args(["--split", "train"]).args(set));
    assert!(said.contains("depth: the median of the predictions is"), "{said}");
    let mut wrong = bench.predict(&other.data(), "wrong");
    let message = fail(wrong.args(["--set", "modalities.depth.channels=2"]));
    assert!(message.contains("modalities.NAME.divisor"), "{message}");
    let mut wrong = bench.predict(&other.data(), "wrong");
    let message = fail(wrong.args(["--set", "modalities.normal.divisor=2"]));
    assert!(message.contains("no modality `normal`") && message.contains("depth"), "{message}");
}
