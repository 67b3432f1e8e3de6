//! Depth of rooms and streets, in all units, with invalid pixels and speckle.

use multimae_data::{
    DataModality, Dataset, Encoding, Interpolation, Layout, Quantity, RawMap, Valid, ValueRules,
};

use super::*;

/// Depth from `min` to `max` whose median is `median`, in files that differ a little.
fn scene([min, median, max]: [f64; 3], file: u32) -> Vec<f64> {
    let pixels = WIDTH * HEIGHT;
    let place = |pixel: u32| f64::from(pixel) / f64::from(pixels - 1);
    let depth = |place: f64| match place < 0.5 {
        true => min + (median - min) * 2.0 * place,
        false => median + (max - median) * (2.0 * place - 1.0),
    };
    (0..pixels).map(|pixel| depth(place(pixel)) * (1.0 + 0.001 * f64::from(file))).collect()
}

/// Data whose depth is one array per file.
fn arrays<T: npyz::AutoSerialize + Copy>(convert: impl Fn(u32, usize, f64) -> T) -> Data {
    arrays_of(STREET, convert)
}

fn arrays_of<T: npyz::AutoSerialize + Copy>(
    metres: [f64; 3],
    convert: impl Fn(u32, usize, f64) -> T,
) -> Data {
    let data = Data::without_lists();
    for file in 1..=SAMPLES {
        fs::remove_file(data.path(&format!("depth/{file:04}.png"))).unwrap();
        let depth = scene(metres, file);
        let stored: Vec<T> = (0..).zip(depth).map(|(i, depth)| convert(file, i, depth)).collect();
        write_array(&data.path(&format!("depth/{file:04}.npy")), &stored);
    }
    data
}

const STREET: [f64; 3] = [4.0, 14.0, 78.0];
const ROOM: [f64; 3] = [0.9, 2.4, 5.0];

fn depth_values(data: &Data) -> Values {
    let report = data.examine();
    let folder = report.parts[0].folders.iter().find(|folder| folder.kind == Kind::Depth);
    folder.unwrap().values.clone()
}

/// The share of pixels that are NaN after training has read them.
fn invalid_in_training(data: &Data) -> f64 {
    let encoding = Encoding::Continuous {
        channels: 1,
        divisor: 1000.0,
        mean: Vec::new(),
        std: Vec::new(),
        interpolation: Interpolation::Nearest,
        standardize: false,
        quantity: Quantity::Distance,
    };
    let rules = ValueRules { valid: Valid::Quantity, ..ValueRules::default() };
    let depth = DataModality { rules, ..DataModality::new("depth", encoding) };
    let dataset = Dataset::open(data.dir.path(), &Layout::Folders, &[depth]).unwrap();
    let (mut invalid, mut all) = (0, 0);
    for index in 0..dataset.len() {
        let sample = dataset.decode(index).unwrap();
        let RawMap::Continuous { data, .. } = &sample.maps["depth"] else { panic!("depth") };
        invalid += data.iter().filter(|value| value.is_nan()).count();
        all += data.len();
    }
    f64::from(invalid as u32) / f64::from(all as u32)
}

fn assert_invalid_as_in_training(data: &Data) {
    let Values::Depth { holes, .. } = depth_values(data) else { panic!("depth") };
    let expected = invalid_in_training(data);
    assert!(expected > 0.0 && (holes - expected).abs() < 1e-9, "{holes}, {expected} in training");
}

#[test]
fn the_invalid_pixels_are_those_of_training() {
    /// Room depth in millimetres, with `odd` in the first pixels.
    fn with<T: npyz::AutoSerialize + Copy>(odd: &[T], convert: fn(f64) -> T) -> Data {
        arrays_of(ROOM, |_, pixel, metres| match odd.get(pixel) {
            Some(&odd) => odd,
            None => convert(1000.0 * metres),
        })
    }
    let data = with(&[0, 65535, u32::MAX, 65535], |x| x as u32);
    assert_invalid_as_in_training(&data);
    assert_invalid_as_in_training(&with(&[0, u16::MAX, u16::MAX], |x| x as u16));
    assert_invalid_as_in_training(&with(&[0, i16::MAX, i16::MAX, -1], |x| x as i16));
    assert_invalid_as_in_training(&with(&[0, i32::MAX, 65535, -1, i32::MIN], |x| x as i32));
    assert_invalid_as_in_training(&with(&[0, u8::MAX], |x| (x / 25.0) as u8));
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -1.0, 65535.0];
    assert_invalid_as_in_training(&with(&odd, |x| x as f32));
    assert_invalid_as_in_training(&with(&odd, |x| (x / 1000.0) as f32));
    assert_invalid_as_in_training(&with(&odd.map(f64::from), |x| x));
}

#[test]
fn not_finite_and_saturated_pixels_are_invalid_and_in_no_figure() {
    // A fifth NaN, a fifth infinite.
    let data = arrays_of(ROOM, |_, pixel, metres| match pixel % 5 {
        0 => f32::NAN,
        1 => f32::INFINITY,
        _ => metres as f32,
    });
    let Values::Depth { min, max, holes, .. } = depth_values(&data) else { panic!("depth") };
    assert!((holes - 0.4).abs() < 1e-9 && min > 0.8 && max < 5.1, "{min} {max} {holes}");
    // The largest value of a signed type of 16 bits.
    let data = arrays_of(ROOM, |_, pixel, metres| match pixel % 4 {
        0 => i16::MAX,
        _ => (1000.0 * metres) as i16,
    });
    let Values::Depth { max, holes, .. } = depth_values(&data) else { panic!("depth") };
    assert!((holes - 0.25).abs() < 1e-9 && max < 5.1, "{max} {holes}");
    let note = finding(&data.examine(), "saturated_depth");
    assert!(note.message.contains("32767") && note.message.contains("25.0 %"), "{note:?}");
}

#[test]
fn a_range_that_is_clipped_is_invalid_where_it_ends() {
    let data = Data::new();
    for i in 1..=SAMPLES {
        // 1/6553.6 m, 3 m to 13 m, clipped at 10 m.
        let metres = |x, y| 3.0 + 0.2 * f64::from(x) + 0.07 * f64::from(y + i);
        let stored =
            ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| Luma([(6553.6 * metres(x, y)) as u16]));
        stored.save(data.path(&format!("depth/{i:04}.png"))).unwrap();
    }
    assert_invalid_as_in_training(&data);
    let note = finding(&data.examine(), "saturated_depth");
    assert!(note.message.contains("`modalities.depth.valid={except: [0]}`"), "{note:?}");
}

#[test]
fn streets_are_in_order_in_their_unit() {
    let stored = |per_metre: f64| arrays(move |_, _, metres| (per_metre * metres) as u32);
    let clipped =
        |per_metre: f64| arrays(move |_, _, metres| (per_metre * metres).min(65534.0) as u16);
    for per_metre in [1000.0, 256.0, 100.0] {
        for mut data in [stored(per_metre), clipped(per_metre)] {
            data.options.per_metre = Some(per_metre);
            data.finds(&[]);
        }
    }
    stored(1000.0).finds(&[]);
    // Reals are metres, which fine-tuning has to be told.
    arrays(|_, _, metres| metres as f32).finds(&[(WARNING, "depth_divisor", "depth")]);
    arrays(|_, _, metres| metres).finds(&[(WARNING, "depth_divisor", "depth")]);
}

#[test]
fn streets_with_a_sky_of_65535_are_recognised() {
    for per_metre in [256.0, 100.0] {
        let data = arrays(move |_, pixel, metres| match pixel % 5 {
            0 => u16::MAX,
            _ => (per_metre * metres) as u16,
        });
        let report = data.examine();
        let unit = report.findings().find(|found| found.code.starts_with("depth_")).unwrap();
        assert!(unit.severity > Severity::Note, "{unit:?}");
        let first = unit.message.find(&format!("{per_metre} per metre (")).unwrap();
        assert!(!unit.message[..first].contains("per metre ("), "{unit:?}");
    }
}

#[test]
fn reals_in_millimetres_are_in_order() {
    arrays_of(ROOM, |_, _, metres| (1000.0 * metres) as f32).finds(&[]);
    arrays(|_, _, metres| (1000.0 * metres) as f32).finds(&[]);
}

#[test]
fn speckle_changes_no_unit() {
    for least in [1.0, 20.0] {
        for speckles in [1, 30] {
            let data = arrays_of([0.9, 2.4, 5.0], |_, pixel, metres| match pixel {
                _ if pixel < speckles => least as u16,
                _ => (1000.0 * metres) as u16,
            });
            data.finds(&[]);
            assert!(data.examine().findings().all(|found| found.place != "depth"));
            let Values::Depth { min, .. } = depth_values(&data) else { panic!("depth") };
            assert!((min - least / 1000.0).abs() < 1e-9, "the true minimum, not {min}");
        }
    }
    // At the far end too, and shifted values with a pixel that is none.
    let data = arrays_of(ROOM, |_, pixel, metres| match pixel {
        7 => 65534,
        _ => (1000.0 * metres) as u16,
    });
    data.finds(&[]);
    let data = arrays_of(ROOM, |_, pixel, metres| match pixel {
        7 => 3,
        _ => ((1000.0 * metres) as u16) << 3,
    });
    let found = data.finds(&[(ERROR, "depth_scale", "depth")]);
    assert!(found[0].message.contains("8000 per metre"), "{found:?}");
}

#[test]
fn a_room_at_8_or_half_the_truth_is_never_in_order() {
    let units = [1000.0, 8000.0, 6553.6, 5000.0, 4000.0, 512.0, 256.0, 100.0, 25.5, 10000.0, 1.0];
    for unit in units {
        for room in [ROOM, [0.6, 1.2, 2.2], [1.2, 3.5, 7.5]] {
            let mut data = match unit {
                1.0 => arrays_of(room, |_, _, metres| metres as f32),
                8000.0 => arrays_of(room, |_, _, metres| ((1000.0 * metres) as u16) << 3),
                _ => arrays_of(room, |_, _, metres| (unit * metres) as u32),
            };
            for factor in [0.125, 2.0] {
                data.options.per_metre = Some(unit * factor);
                let report = data.examine();
                let mut codes = report.findings().map(|found| found.code);
                let remark = codes.any(|code| ["depth_scale", "depth_unit"].contains(&code));
                assert!(remark, "{room:?} at {unit} per metre, read at {factor} of that");
            }
        }
    }
}

#[test]
fn depth_that_no_unit_explains_is_an_error() {
    let data = arrays_of([40.0, 41.0, 42.0], |_, _, x| x as u8);
    let found = data.examine();
    assert!(found.findings().any(|f| f.place == "depth" && f.severity > Severity::Note));
    let data = arrays_of([4e7, 4.1e7, 4.2e7], |_, _, x| x as f32);
    let found = data.finds(&[(ERROR, "depth_scale", "depth")]);
    assert!(found[0].message.contains("no unit in use fits"), "{found:?}");
}

#[test]
fn negative_depth_is_never_silent() {
    let data = arrays_of(ROOM, |_, pixel, metres| match pixel {
        0..20 => -1,
        _ => (1000.0 * metres) as i16,
    });
    let report = data.examine();
    let negative = report.findings().find(|found| found.code.starts_with("negative_"));
    assert!(negative.unwrap().severity > Severity::Note);
}
