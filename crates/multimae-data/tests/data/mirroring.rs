//! The values of mirrored frames.

use std::sync::Arc;

use multimae_data::{
    Base, DataModality, Dataset, Encoding, Flip, FlipRule, Geometry, Interpolation, Layout,
    Pipeline, Quantity, Sample, Stored, Valid, ValueRules, Values,
};
use png::{BitDepth, ColorType};

use crate::files::{Files, HEIGHT, WIDTH, semseg};

/// All of a frame as it is, mirrored or not.
fn whole(hflip: f64) -> Geometry {
    let size = (HEIGHT, WIDTH);
    Geometry::ScaleJitter { size, base: Base::Inside, zoom: (1.0, 1.0), hflip }
}

fn numbers(channels: usize, rules: ValueRules, quantity: Quantity, divisor: f32) -> DataModality {
    let encoding = Encoding::Continuous {
        channels,
        divisor,
        mean: vec![],
        std: vec![],
        interpolation: Interpolation::Nearest,
        standardize: false,
        quantity,
    };
    let (name, folder) = ("numbers".to_owned(), "numbers".to_owned());
    DataModality {
        name,
        folder,
        encoding,
        stride: 1,
        orientation: multimae_data::Orientation::Apply,
        naming: multimae_data::Naming::default(),
        rules,
    }
}

fn sample(files: &Files, modality: &DataModality, hflip: f64, index: usize) -> Sample {
    let modalities = std::slice::from_ref(modality);
    let dataset = Dataset::open(files.root(), &Layout::Folders, modalities).unwrap();
    Pipeline::new(Arc::new(dataset), whole(hflip), 3).unwrap().sample(0, index).unwrap()
}

fn reals(sample: &Sample) -> &[f32] {
    match &sample.maps["numbers"].values {
        Values::Continuous { data, .. } => data,
        Values::Labels(_) => panic!("labels"),
    }
}

/// Normals of a ball before a wall that turns away, the ball at `left` of the frame's width.
fn scene(mirrored: bool) -> Vec<[f32; 3]> {
    let sign = if mirrored { -1.0 } else { 1.0 };
    let pixels =
        (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x as f32 + 0.5, y as f32 + 0.5)));
    let normal = |(x, y): (f32, f32)| {
        let centre = if mirrored { WIDTH as f32 - 13.0 } else { 13.0 };
        let (dx, dy) = ((x - centre) / 9.0, (y - 16.0) / 9.0);
        let inside = 1.0 - dx * dx - dy * dy;
        if inside > 0.0 { [dx, dy, -inside.sqrt()] } else { [0.6 * sign, 0.0, -0.8] }
    };
    pixels.map(normal).collect()
}

#[test]
fn a_mirrored_picture_of_normals_is_that_of_the_mirrored_scene() {
    let files = Files::new();
    for (id, mirrored) in [(0, false), (1, true)] {
        let stored = |n: f32, most: f32| ((n + 1.0) / 2.0 * most).round();
        let bytes: Vec<u8> =
            scene(mirrored).into_iter().flatten().map(|n| stored(n, 255.0) as u8).collect();
        files.png(&format!("numbers/{id}.png"), ColorType::Rgb, BitDepth::Eight, &bytes);
        let bytes: Vec<u8> = scene(mirrored)
            .into_iter()
            .flatten()
            .flat_map(|n| (stored(n, 65535.0) as u16).to_be_bytes())
            .collect();
        let id = id + 2;
        files.png(&format!("numbers/{id}.png"), ColorType::Rgb, BitDepth::Sixteen, &bytes);
        let planes: Vec<f32> = (0..3)
            .flat_map(|channel| scene(mirrored).into_iter().map(move |n| n[channel]))
            .collect();
        let shape = [3, HEIGHT as u64, WIDTH as u64];
        files.npy(&format!("numbers/{}.npy", id + 2), &shape, &planes);
    }
    let rules =
        ValueRules { stored: Stored::UnitVectors, valid: Valid::Quantity, ..ValueRules::default() };
    let normals = numbers(3, rules, Quantity::Direction, 1.0);
    for (first, tolerance) in [(0, 0.008), (2, 4e-5), (4, 1e-6)] {
        let flipped = sample(&files, &normals, 1.0, first);
        let rendered = sample(&files, &normals, 0.0, first + 1);
        assert_ne!(reals(&flipped), reals(&sample(&files, &normals, 0.0, first)));
        for (a, b) in reals(&flipped).iter().zip(reals(&rendered)) {
            assert!((a - b).abs() < tolerance, "{a} {b}");
        }
        // Unit vectors are read from every type alike.
        let stored = scene(true);
        assert!((reals(&rendered)[0] - stored[0][0]).abs() < tolerance);
    }
    let nothing = ValueRules { flip: Flip::Nothing, ..normals.rules.clone() };
    let unchanged = sample(&files, &DataModality { rules: nothing, ..normals }, 1.0, 4);
    assert!((reals(&unchanged)[0] - 0.6).abs() < 1e-6);
}

#[test]
fn mirroring_twice_changes_nothing() {
    let files = Files::new();
    // Flow: 64 units a pixel, counted from 32768.
    let flow: Vec<u16> =
        (0..2 * HEIGHT * WIDTH).map(|at| (32768 + (at * 37) % 900 - 450) as u16).collect();
    let shape = [2, HEIGHT as u64, WIDTH as u64];
    files.npy("numbers/0.npy", &shape, &flow);
    let rules = ValueRules {
        stored: Stored::ZeroAt(32768.0),
        flip: Flip::Own(FlipRule { negate: vec![0], swap: Vec::new() }),
        ..ValueRules::default()
    };
    let mut modality = numbers(2, rules, Quantity::Plain, 64.0);
    // Normalised by a mean that is not 0, which is another number after mirroring.
    if let Encoding::Continuous { mean, std, .. } = &mut modality.encoding {
        (*mean, *std) = (vec![2.0, 0.0], vec![4.0, 4.0]);
    }
    let once = sample(&files, &modality, 1.0, 0);
    let plane = HEIGHT * WIDTH;
    let (plain, mirrored) = (sample(&files, &modality, 0.0, 0), reals(&once));
    for (at, &value) in reals(&plain).iter().enumerate() {
        let place = at / WIDTH * WIDTH + WIDTH - 1 - at % WIDTH;
        let expected = if at < plane { -(4.0 * value + 2.0) } else { 4.0 * value };
        let got = if at < plane { 4.0 * mirrored[place] + 2.0 } else { 4.0 * mirrored[place] };
        assert!((got - expected).abs() < 1e-4, "{at}: {got} {expected}");
    }
    let stored: Vec<u16> = mirrored
        .iter()
        .enumerate()
        .map(|(at, value)| {
            let mean = if at < plane { 2.0 } else { 0.0 };
            ((4.0 * value + mean) * 64.0 + 32768.0).round() as u16
        })
        .collect();
    files.npy("numbers/1.npy", &shape, &stored);
    let twice = sample(&files, &modality, 1.0, 1);
    for (a, b) in reals(&twice).iter().zip(reals(&plain)) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn left_and_right_classes_change_places() {
    let files = Files::new();
    let stored: Vec<u8> = (0..HEIGHT * WIDTH).map(|at| [0, 3, 4, 5, 255, 1][at % 6]).collect();
    files.png("semseg/0.png", ColorType::Grayscale, BitDepth::Eight, &stored);
    // Stored labels 1 to 5 are classes 0 to 4, 0 and 255 are void.
    let mut labels = semseg(5, Some(255), -1);
    labels.stride = 1;
    labels.rules.flip = Flip::Own(FlipRule { negate: Vec::new(), swap: vec![[3, 4]] });
    labels.check().unwrap();
    let of = |hflip: f64| match &sample(&files, &labels, hflip, 0).maps["semseg"].values {
        Values::Labels(labels) => labels.clone(),
        Values::Continuous { .. } => panic!("numbers"),
    };
    let (plain, mut mirrored) = (of(0.0), of(1.0));
    mirrored.chunks_exact_mut(WIDTH).for_each(<[i64]>::reverse);
    for (before, after) in plain.iter().zip(&mirrored) {
        let expected = match before {
            2 => 3,
            3 => 2,
            other => *other,
        };
        assert_eq!(*after, expected);
    }
    assert!(plain.contains(&2) && plain.contains(&3) && plain.contains(&255));
}

/// The published storage of normals, components from 0 to 1 with their 0 in the middle.
#[test]
fn normals_of_the_published_regression_are_mirrored_about_the_middle() {
    let files = Files::new();
    let bytes: Vec<u8> = [0_u8, 51, 204].repeat(HEIGHT * WIDTH);
    files.png("numbers/0.png", ColorType::Rgb, BitDepth::Eight, &bytes);
    let normals = numbers(3, ValueRules::default(), Quantity::Direction, 255.0);
    let flipped = sample(&files, &normals, 1.0, 0);
    let plane = HEIGHT * WIDTH;
    let at = |channel: usize| reals(&flipped)[channel * plane];
    assert!([(0, 1.0), (1, 0.2), (2, 0.8)].iter().all(|&(c, x)| (at(c) - x).abs() < 1e-6));
}

#[test]
fn unsigned_numbers_are_not_negated_about_an_unknown_zero() {
    let files = Files::new();
    let bytes: Vec<u8> = [128_u8, 0, 7, 9].repeat(HEIGHT * WIDTH);
    files.png("numbers/0.png", ColorType::GrayscaleAlpha, BitDepth::Sixteen, &bytes);
    let flip = Flip::Own(FlipRule { negate: vec![0], swap: Vec::new() });
    let rules = ValueRules { flip, ..ValueRules::default() };
    let flow = numbers(2, rules.clone(), Quantity::Plain, 64.0);
    let dataset = |modality: &DataModality| {
        Dataset::open(files.root(), &Layout::Folders, std::slice::from_ref(modality)).unwrap()
    };
    let error = dataset(&flow).decode(0).unwrap_err().to_string();
    assert!(error.contains("`zero: 32768`") && error.contains("channel 0"), "{error}");
    let rules = ValueRules { stored: Stored::ZeroAt(32768.0), ..rules };
    assert!(dataset(&numbers(2, rules, Quantity::Plain, 64.0)).decode(0).is_ok());
}

#[test]
fn swapped_channels_keep_their_values_under_normalisation() {
    let files = Files::new();
    let plane = HEIGHT * WIDTH;
    let shape = [2, HEIGHT as u64, WIDTH as u64];
    files.npy("numbers/0.npy", &shape, &[vec![3.0_f32; plane], vec![8.0; plane]].concat());
    let flip = Flip::Own(FlipRule { negate: Vec::new(), swap: vec![[0, 1]] });
    let mut modality =
        numbers(2, ValueRules { flip, ..ValueRules::default() }, Quantity::Plain, 1.0);
    if let Encoding::Continuous { mean, std, .. } = &mut modality.encoding {
        (*mean, *std) = (vec![1.0, 10.0], vec![2.0, 4.0]);
    }
    let flipped = sample(&files, &modality, 1.0, 0);
    // 8 as of the first channel, 3 as of the second.
    assert_eq!((reals(&flipped)[0], reals(&flipped)[plane]), (3.5, -1.75));
}

#[test]
fn impossible_rules_are_refused() {
    let rule = |negate: &[usize], swap: &[[i64; 2]]| {
        Flip::Own(FlipRule { negate: negate.to_vec(), swap: swap.to_vec() })
    };
    let problem = |mut modality: DataModality, flip: Flip, stored: Stored| {
        modality.rules = ValueRules { flip, stored, ..ValueRules::default() };
        modality.check().unwrap_err().to_string()
    };
    let plain = || numbers(2, ValueRules::default(), Quantity::Plain, 64.0);
    let cases = [
        (plain(), rule(&[2], &[]), Stored::Plain, "no channel 2"),
        (plain(), rule(&[], &[[0, 1], [1, 0]]), Stored::Plain, "swapped twice"),
        (plain(), rule(&[0, 0], &[]), Stored::Plain, "negated twice"),
        (plain(), rule(&[0], &[[0, 1]]), Stored::Plain, "negate both or none"),
        (plain(), Flip::Nothing, Stored::UnitVectors, "`divisor`"),
        (plain(), Flip::Nothing, Stored::ZeroAt(f32::NAN), "finite"),
        (semseg(5, None, 0), rule(&[0], &[]), Stored::Plain, "`swap`"),
        (semseg(5, None, 0), rule(&[], &[[4, 5]]), Stored::Plain, "5 is no label"),
        (semseg(5, None, 0), Flip::Nothing, Stored::ZeroAt(1.0), "for numbers"),
        (crate::files::rgb(), rule(&[0], &[]), Stored::Plain, "numbers and labels"),
    ];
    for (modality, flip, stored, expected) in cases {
        let problem = problem(modality, flip, stored);
        assert!(problem.contains(expected), "{problem}");
    }
}
