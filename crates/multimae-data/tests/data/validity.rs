//! Invalid pixels from the file to the sample.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use multimae_data::packed::{Options, create, folders_of};
use multimae_data::{
    Base, DataModality, Dataset, Encoding, Excepted, Geometry, Interpolation, Layout, Pipeline,
    Quantity, Sample, Valid, ValidRule, ValueRules, Values,
};
use png::{BitDepth, ColorType};

use crate::files::{Files, HEIGHT, WIDTH, depth};

const RANDOM: Geometry = Geometry::RandomResizedCrop {
    scale: (0.2, 1.0),
    ratio: (0.75, 4.0 / 3.0),
    hflip: 0.5,
    size: (16, 24),
};

fn distance(valid: Valid, interpolation: Interpolation, standardised: bool) -> DataModality {
    let mut modality = depth(interpolation);
    if let Encoding::Continuous { quantity, standardize, divisor, .. } = &mut modality.encoding {
        (*quantity, *standardize, *divisor) = (Quantity::Distance, standardised, 1000.0);
    }
    DataModality { rules: ValueRules { valid, ..ValueRules::default() }, ..modality }
}

fn write(files: &Files, id: usize, stored: impl Fn(usize, usize) -> u16) {
    let pixels = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (y, x)));
    let bytes: Vec<u8> = pixels.flat_map(|(y, x)| stored(y, x).to_be_bytes()).collect();
    files.png(&format!("depth/{id:04}.png"), ColorType::Grayscale, BitDepth::Sixteen, &bytes);
}

/// Depth that is steep everywhere, and never 0 or saturated.
fn steep(y: usize, x: usize) -> u16 {
    (500 + 900 * (x % 7) + 700 * (y % 5)) as u16
}

fn is_hole(y: usize, x: usize) -> bool {
    (8..17).contains(&y) && (11..23).contains(&x)
}

fn samples(files: &Files, modality: DataModality, geometry: Geometry) -> Vec<Sample> {
    let dataset = Dataset::open(files.root(), &Layout::Folders, &[modality]).unwrap();
    let pipeline = Pipeline::new(Arc::new(dataset), geometry, 3).unwrap();
    (0..12).map(|epoch| pipeline.sample(epoch, 0).unwrap()).collect()
}

fn reals(sample: &Sample) -> &[f32] {
    match &sample.maps["depth"].values {
        Values::Continuous { data, .. } => data,
        Values::Labels(_) => panic!("labels"),
    }
}

fn bits(samples: &[Sample]) -> Vec<Vec<u32>> {
    samples.iter().map(|sample| reals(sample).iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn without_holes_the_rule_changes_no_bit() {
    let files = Files::new();
    write(&files, 0, steep);
    for interpolation in [Interpolation::Bicubic, Interpolation::Bilinear, Interpolation::Nearest] {
        for standardised in [false, true] {
            let of = |valid| {
                bits(&samples(&files, distance(valid, interpolation, standardised), RANDOM))
            };
            assert_eq!(of(Valid::All), of(Valid::Quantity));
        }
    }
}

#[test]
fn holes_go_through_crop_flip_and_resize_and_touch_no_other_pixel() {
    let files = Files::new();
    let jitter =
        Geometry::ScaleJitter { size: (32, 40), base: Base::Cover, zoom: (1.0, 2.0), hflip: 0.5 };
    for (stored, geometry) in [(0, RANDOM), (u16::MAX, RANDOM), (0, jitter)] {
        write(&files, 0, |y, x| if is_hole(y, x) { stored } else { 2000 });
        let whole = distance(Valid::Quantity, Interpolation::Bicubic, false);
        let (mut invalid, mut all) = (0, 0);
        for sample in samples(&files, whole, geometry) {
            let zoomed = matches!(geometry, Geometry::ScaleJitter { .. });
            for value in reals(&sample).iter().filter(|value| !value.is_nan()) {
                assert!(zoomed || (value - 2.0).abs() < 1e-5, "{value}");
                assert!((0.9..3.4).contains(value), "{value}");
            }
            invalid += reals(&sample).iter().filter(|value| value.is_nan()).count();
            all += reals(&sample).len();
        }
        // 9 % of the frame.
        assert!(invalid * 50 > all && invalid * 3 < all, "{invalid} of {all}");
    }
}

#[test]
fn standardisation_is_that_of_the_valid_pixels() {
    let files = Files::new();
    let geometry = Geometry::CenterFit { size: (HEIGHT, WIDTH) };
    let of = |stored: u16| {
        write(&files, 0, |y, x| if is_hole(y, x) { stored } else { steep(y, x) });
        let modality = distance(Valid::Quantity, Interpolation::Bicubic, true);
        bits(&samples(&files, modality, geometry))
    };
    assert_eq!(of(0), of(u16::MAX));
    let valid = of(0)[0].iter().filter(|bits| !f32::from_bits(**bits).is_nan()).count();
    assert_eq!(valid, HEIGHT * WIDTH - 9 * 12);
}

#[test]
fn a_range_is_in_the_unit_of_the_values() {
    let files = Files::new();
    write(&files, 0, |_, x| (500 * x) as u16);
    let rule =
        ValidRule { except: Some(vec![Excepted::Number(5000.0)]), min: Some(1.0), max: Some(8.0) };
    let modality = distance(Valid::Own(rule), Interpolation::Nearest, false);
    let geometry = Geometry::CenterFit { size: (HEIGHT, WIDTH) };
    let sample = samples(&files, modality, geometry).remove(0);
    let valid: Vec<usize> = (0..WIDTH).filter(|&x| !reals(&sample)[x].is_nan()).collect();
    let expected: Vec<usize> = (2..=16).filter(|x| *x != 10).collect();
    assert_eq!(valid, expected);
}

#[test]
fn arrays_with_nan_are_read_and_packed() {
    let files = Files::new();
    let values: Vec<f32> = (0..HEIGHT * WIDTH)
        .map(|at| match at % 7 {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => 0.0,
            _ => at as f32,
        })
        .collect();
    files.npy("depth/0000.npy", &[HEIGHT as u64, WIDTH as u64], &values);
    write(&files, 1, |y, x| if is_hole(y, x) { 0 } else { steep(y, x) });
    let modality = distance(Valid::Quantity, Interpolation::Bicubic, false);
    let out = files.root().join("all.pack");
    let options = Options {
        folders: folders_of(std::slice::from_ref(&modality)).unwrap(),
        shrink: None,
        skip_bad: false,
        replace: false,
        threads: 1,
    };
    create(files.root(), &out, &options, |_, _| {}, &AtomicBool::new(false)).unwrap();
    let of = |root: &std::path::Path| {
        let dataset = Dataset::open(root, &Layout::Folders, std::slice::from_ref(&modality));
        let pipeline = Pipeline::new(Arc::new(dataset.unwrap()), RANDOM, 3).unwrap();
        // A second look reads no more than the window.
        let samples = (0..4).map(|at| pipeline.sample(at / 2, at as usize % 2).unwrap());
        bits(&samples.collect::<Vec<_>>())
    };
    assert_eq!(of(files.root()), of(&out));
    let invalid = of(&out)[0].iter().filter(|bits| f32::from_bits(**bits).is_nan()).count();
    assert!(invalid > 50, "{invalid}");
}
