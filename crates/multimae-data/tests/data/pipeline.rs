//! The model's view of a sample.

use std::sync::Arc;

use crate::files::{Files, HEIGHT, WIDTH, depth, modalities, rgb, semseg};
use multimae_data::{
    Base, ColorAugmentation, DataModality, Dataset, Encoding, Error, Geometry, Interpolation,
    Layout, Pipeline, Quantity, Sample, Values,
};

fn random(size: (usize, usize)) -> Geometry {
    Geometry::RandomResizedCrop { scale: (0.2, 1.0), ratio: (0.75, 4.0 / 3.0), hflip: 0.5, size }
}

fn pipeline(files: &Files, modalities: &[DataModality], geometry: Geometry) -> Pipeline {
    let dataset = Dataset::open(files.root(), &Layout::Folders, modalities).unwrap();
    Pipeline::new(Arc::new(dataset), geometry, 7).unwrap()
}

fn reals<'a>(sample: &'a Sample, name: &str) -> &'a [f32] {
    match &sample.maps[name].values {
        Values::Continuous { data, .. } => data,
        other @ Values::Labels(_) => panic!("{other:?}"),
    }
}

fn labels(sample: &Sample) -> &[i64] {
    match &sample.maps["semseg"].values {
        Values::Labels(labels) => labels,
        other @ Values::Continuous { .. } => panic!("{other:?}"),
    }
}

#[test]
fn all_modalities_show_the_same_place() {
    let files = Files::with_samples(1);
    let pipeline = pipeline(&files, &modalities(), random((16, 24)));
    let mut flips = 0;
    for epoch in 0..40 {
        let sample = pipeline.sample(epoch, 0).unwrap();
        let (rgb, depth) = (reals(&sample, "rgb"), reals(&sample, "depth"));
        assert_eq!((rgb.len(), depth.len(), labels(&sample).len()), (3 * 16 * 24, 16 * 24, 4 * 6));
        for (index, &depth) in depth.iter().enumerate() {
            // Depth says 100 row + column of its nearest pixel; colours are interpolated, and the
            // filter overshoots a little at the border.
            let (row, column) = (depth as usize / 100, depth as usize % 100);
            let red = rgb[index] * 51.0;
            let green = rgb[16 * 24 + index] * 51.0;
            assert!((red - column as f32).abs() < 1.3, "{red} {column}");
            assert!((green - row as f32).abs() < 1.3, "{green} {row}");
        }
        for (index, &label) in labels(&sample).iter().enumerate() {
            let (row, column) = (4 * (index / 6) + 2, 4 * (index % 6) + 2);
            assert_eq!(label, depth[row * 24 + column] as i64);
        }
        flips += usize::from(rgb[0] > rgb[23]);
    }
    assert!((8..32).contains(&flips), "{flips}");
}

#[test]
fn a_sample_depends_on_seed_epoch_and_index() {
    let files = Files::with_samples(2);
    let pipeline = pipeline(&files, &modalities(), random((16, 16)));
    assert_eq!(pipeline.sample(3, 1).unwrap(), pipeline.sample(3, 1).unwrap());
    assert_ne!(pipeline.sample(3, 1).unwrap(), pipeline.sample(4, 1).unwrap());
    let other = Pipeline::new(Arc::clone(pipeline.dataset()), *pipeline.geometry(), 8).unwrap();
    assert_ne!(pipeline.sample(3, 1).unwrap(), other.sample(3, 1).unwrap());
}

#[test]
fn evaluation_is_the_plain_image() {
    let files = Files::with_samples(1);
    let geometry = Geometry::CenterFit { size: (HEIGHT, WIDTH) };
    let modalities = [rgb(), depth(Interpolation::Bicubic)];
    let sample = pipeline(&files, &modalities, geometry).sample(0, 0).unwrap();
    let depth = reals(&sample, "depth");
    assert!((0..HEIGHT * WIDTH).all(|i| depth[i] == (100 * (i / WIDTH) + i % WIDTH) as f32));
    assert_eq!(reals(&sample, "rgb")[..3], [0.0, 5.0 / 255.0, 10.0 / 255.0]);
    assert_eq!(sample.id, "0000");
}

#[test]
fn values_are_normalised() {
    let files = Files::with_samples(1);
    let mut rgb = rgb();
    rgb.encoding = Encoding::Color { mean: [0.5, 0.4, 0.3], std: [0.5, 0.25, 0.2] };
    let mut depth = depth(Interpolation::Nearest);
    depth.encoding = Encoding::Continuous {
        channels: 1,
        divisor: 1000.0,
        mean: vec![2.0],
        std: vec![0.5],
        interpolation: Interpolation::Nearest,
        standardize: false,
        quantity: multimae_data::Quantity::Plain,
    };
    let geometry = Geometry::CenterFit { size: (HEIGHT, WIDTH) };
    let sample = pipeline(&files, &[rgb, depth], geometry).sample(0, 0).unwrap();
    let (rgb, depth) = (reals(&sample, "rgb"), reals(&sample, "depth"));
    let last = HEIGHT * WIDTH - 1;
    assert_eq!(rgb[last], (195.0 / 255.0 - 0.5) / 0.5);
    assert_eq!(rgb[2 * last + 1], (145.0 / 255.0 - 0.4) / 0.25);
    assert_eq!(depth[last], (29.39 - 2.0) / 0.5);
}

#[test]
fn standardised_depth_has_no_unit() {
    let files = Files::with_samples(1);
    let standardised = |divisor| {
        let mut depth = depth(Interpolation::Bilinear);
        depth.encoding = Encoding::Continuous {
            channels: 1,
            divisor,
            mean: vec![],
            std: vec![],
            interpolation: Interpolation::Bilinear,
            standardize: true,
            quantity: multimae_data::Quantity::Plain,
        };
        let sample = pipeline(&files, &[depth], random((16, 16))).sample(0, 0).unwrap();
        reals(&sample, "depth").to_vec()
    };
    let (one, thousand) = (standardised(1.0), standardised(1000.0));
    assert!(one.iter().zip(&thousand).all(|(a, b)| (a - b).abs() < 1e-4));
    assert!(one.iter().any(|x| *x > 1.0) && one.iter().any(|x| *x < -1.0));
}

#[test]
fn real_values_with_a_stride_are_smaller() {
    let files = Files::with_samples(1);
    let mut depth = depth(Interpolation::Bicubic);
    depth.stride = 2;
    let sample = pipeline(&files, &[depth], random((16, 24))).sample(0, 0).unwrap();
    let map = &sample.maps["depth"];
    assert_eq!((map.height, map.width), (8, 12));
    assert_eq!(reals(&sample, "depth").len(), 96);
}

#[test]
fn the_size_must_fit_the_strides() {
    let files = Files::with_samples(1);
    let dataset = Dataset::open(files.root(), &Layout::Folders, &[semseg(4000, None, 0)]).unwrap();
    let error = Pipeline::new(Arc::new(dataset), random((16, 18)), 0).unwrap_err();
    assert!(matches!(&error, Error::Config(text) if text.contains("stride 4")), "{error}");
}

fn jitter(zoom: (f64, f64), hflip: f64) -> Geometry {
    Geometry::ScaleJitter { size: (32, 40), base: Base::Inside, zoom, hflip }
}

#[test]
fn padding_is_told_from_every_value() {
    let files = Files::with_samples(1);
    let modalities =
        [rgb(), depth(Interpolation::Nearest), DataModality { stride: 1, ..semseg(4000, None, 0) }];
    // 30 x 40 as large as it fits into 32 x 40: two rows of padding.
    let inside = pipeline(&files, &modalities, Geometry::Inside { size: (32, 40) });
    let sample = inside.sample(0, 0).unwrap();
    let (depth, labels) = (reals(&sample, "depth"), labels(&sample));
    assert!(depth[..30 * 40].iter().all(|value| value.is_finite()));
    assert!(depth[30 * 40..].iter().all(|value| value.is_nan()));
    assert_eq!((labels[29 * 40 + 39], depth[29 * 40 + 39]), (2939, 2939.0));
    // No label is ignored: the first that is no class.
    assert!(labels[30 * 40..].iter().all(|&label| label == 4000));
    let other = inside.with_label_padding("semseg", -7).sample(0, 0).unwrap();
    assert!(self::labels(&other)[30 * 40..].iter().all(|&label| label == -7));
    // Grey is 128 of 255.
    let grey = reals(&sample, "rgb")[30 * 40];
    assert!(reals(&sample, "rgb")[30 * 40..32 * 40].iter().all(|&value| value == grey));
}

#[test]
fn who_comes_nearer_sees_smaller_depths() {
    let files = Files::with_samples(1);
    let modalities =
        [rgb(), depth(Interpolation::Nearest), DataModality { stride: 1, ..semseg(4000, None, 0) }];
    let mut measured = modalities.clone();
    let Encoding::Continuous { quantity, .. } = &mut measured[1].encoding else { panic!() };
    *quantity = Quantity::Distance;
    for (zoom, hflip) in [(0.5, 0.0), (0.5, 1.0), (1.0, 1.0), (2.0, 0.0), (1.7, 1.0)] {
        let plain = pipeline(&files, &modalities, jitter((zoom, zoom), hflip));
        let distances = pipeline(&files, &measured, jitter((zoom, zoom), hflip));
        let (plain, scaled) = (plain.sample(3, 0).unwrap(), distances.sample(3, 0).unwrap());
        let mut valid = 0;
        for (place, (&stored, &depth)) in
            reals(&plain, "depth").iter().zip(reals(&scaled, "depth")).enumerate()
        {
            if stored.is_nan() {
                assert!(depth.is_nan());
                continue;
            }
            valid += 1;
            // The label at the same place says the same pixel of the file.
            assert_eq!(labels(&plain)[place] as f32, stored);
            assert!((depth * zoom as f32 - stored).abs() < 1e-3 * stored.max(1.0));
        }
        let shown = (30.0 * zoom).min(32.0) * (40.0 * zoom).min(40.0);
        assert!((f64::from(valid) - shown).abs() < 1.0, "{zoom}: {valid} {shown}");
    }
}

#[test]
fn colours_change_and_nothing_else() {
    let files = Files::with_samples(1);
    let plain = pipeline(&files, &[rgb(), depth(Interpolation::Nearest)], jitter((0.8, 1.2), 0.5));
    let always =
        ColorAugmentation { probability: 1.0, ..ColorAugmentation::around(0.4, 0.4, 0.2, 0.1) };
    let coloured = plain.clone().with_color(always).unwrap();
    let (a, b) = (plain.sample(2, 0).unwrap(), coloured.sample(2, 0).unwrap());
    assert_ne!(reals(&a, "rgb"), reals(&b, "rgb"));
    let bits =
        |sample| reals(sample, "depth").iter().map(|v: &f32| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&a), bits(&b));
    assert_eq!(reals(&b, "rgb"), reals(&coloured.sample(2, 0).unwrap(), "rgb"));
}
