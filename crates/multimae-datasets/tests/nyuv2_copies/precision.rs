//! Every copy gives the same frames, within its own precision.

use crate::scratch::prepared;

/// The blocks of equal values of a frame.
const ROWS: usize = 12;
const COLUMNS: usize = 16;
const FULL: (usize, usize) = (480, 640);

/// The block of every pixel: row and column.
fn blocks((height, width): (usize, usize)) -> impl Iterator<Item = (i64, i64)> {
    let pixels = move |row| (0..width).map(move |column| (row, column));
    let block =
        move |(row, column)| ((row * ROWS / height) as i64, (column * COLUMNS / width) as i64);
    (0..height).flat_map(pixels).map(block)
}

/// The colours of frame `k` of the fixtures.
fn rgb(k: i64, size: (usize, usize)) -> Vec<i64> {
    let color = |(row, column): (i64, i64)| {
        [
            30 + 6 * column + 4 * row + 10 * k,
            200 - 5 * column - 3 * row,
            60 + 3 * column + 7 * row + 20 * k,
        ]
    };
    blocks(size).flat_map(color).collect()
}

/// The in-painted depth of frame `k`, in millimetres, not rounded.
fn depth(k: i64, size: (usize, usize)) -> Vec<f64> {
    let metres = |(row, column): (i64, i64)| {
        0.7137 + 0.5003 * column as f64 + 0.0837 * row as f64 + 0.0411 * k as f64
    };
    blocks(size).map(|block| 1000.0 * metres(block)).collect()
}

fn labels(k: i64, size: (usize, usize), classes: [i64; 7]) -> Vec<i64> {
    let class = |(row, column): (i64, i64)| classes[((row + column + k) % 7) as usize];
    blocks(size).map(class).collect()
}

/// The surface normals of frame `k`, in 8 bits, not rounded: components from -1 to 1 as 0 to 255.
fn normals(k: i64, size: (usize, usize)) -> Vec<f64> {
    let normal = |(row, column): (i64, i64)| {
        let (x, y) = ((column as f64 - 7.0) / 16.0, (5.0 - row as f64) / 20.0 + 0.05 * k as f64);
        let vector = [x, y, -(1.0 - x * x - y * y).sqrt()];
        // The first block has no normal.
        vector.map(|part| 127.5 * (1.0 + if row + column == 0 { 0.0 } else { part }))
    };
    blocks(size).flat_map(normal).collect()
}

/// The precision of a frame in a copy.
struct Kept {
    copy: &'static str,
    /// The name of the prepared frame, and its number in the fixtures.
    frame: (&'static str, i64),
    size: (usize, usize),
    /// The greatest difference of a colour.
    rgb: i64,
    /// The greatest difference of depth in millimetres, after rounding to whole ones.
    depth: f64,
    /// Whether depth has the holes of the sensor: the first column of blocks.
    holes: bool,
    /// The classes of the labels, by the place in the fixtures' cycle.
    labels: Option<(&'static str, [i64; 7])>,
}

const FORTY: [i64; 7] = [0, 1, 2, 4, 40, 38, 39];
const THIRTEEN: [i64; 7] = [0, 12, 5, 1, 7, 7, 6];
/// Rounding to the nearest millimetre.
const ROUNDED: f64 = 0.501;
/// Cutting off at a whole millimetre.
const CUT_OFF: f64 = 1.001;
/// JPEG at quality 95.
const JPEG: i64 = 6;

/// Of every copy, the frames in it, and how precise they are: the table of `docs/guides/nyuv2.md`.
const KEPT: [Kept; 19] = {
    const fn plain(copy: &'static str, frame: (&'static str, i64)) -> Kept {
        let (depth, holes) = (ROUNDED, false);
        Kept { copy, frame, size: FULL, rgb: 0, depth, holes, labels: None }
    }
    const fn thirteen(copy: &'static str, frame: (&'static str, i64)) -> Kept {
        let labels = Some(("label13", THIRTEEN));
        Kept { size: (288, 384), labels, ..plain(copy, frame) }
    }
    const HALF: f64 = ROUNDED + 4.0;
    let forty = Some(("label40", FORTY));
    [
        Kept { labels: forty, ..plain("mat", ("0001", 0)) },
        Kept { labels: forty, ..plain("mat", ("0003", 1)) },
        plain("fastdepth", ("official_00001", 0)),
        plain("fastdepth", ("office_0003_out_00001", 1)),
        Kept { depth: HALF, ..plain("fastdepth_f16", ("official_00001", 0)) },
        Kept { depth: HALF, ..plain("fastdepth_f16", ("office_0003_out_00001", 1)) },
        thirteen("mtan", ("val_0000", 0)),
        thirteen("mtan", ("train_0000", 1)),
        Kept { rgb: JPEG, holes: true, ..plain("bts_sync", ("kitchen_0028b_00045", 0)) },
        Kept { rgb: JPEG, depth: CUT_OFF, holes: true, ..plain("bts_official", ("0001", 0)) },
        Kept { rgb: JPEG, depth: CUT_OFF, holes: true, ..plain("bts_official", ("0003", 1)) },
        Kept { depth: CUT_OFF, ..plain("densedepth", ("0001", 0)) },
        Kept { rgb: JPEG, depth: 19.61 + 0.5, ..plain("densedepth", ("office_0003_out_37", 1)) },
        plain("eigen_test", ("eigen_0000", 0)),
        plain("eigen_test_scaled", ("eigen_0001", 1)),
        thirteen("parquet_arrays", ("val_0000", 0)),
        thirteen("parquet_arrays", ("train_0000", 1)),
        plain("parquet_pictures", ("test_1", 0)),
        plain("parquet_pictures", ("train_3", 1)),
    ]
};

/// Whether the colours of a pixel are those of the frame: BTS paints a border black.
fn has_colors(copy: &str, at: usize) -> bool {
    let (row, column) = (at / FULL.1, at % FULL.1);
    // JPEG blurs the border by a block.
    copy != "bts_official" || (16..464).contains(&row) && (16..624).contains(&column)
}

#[test]
fn every_copy_gives_the_frame_within_its_precision() {
    for kept in &KEPT {
        let (copy, (name, k)) = (kept.copy, kept.frame);
        let scratch = prepared(copy);
        let found = scratch.values("rgb", name);
        let expected = rgb(k, kept.size);
        assert_eq!(found.len(), expected.len(), "{copy} {name}");
        let differences = found.iter().zip(&expected).enumerate();
        let differences = differences.filter(|(at, _)| has_colors(copy, at / 3));
        let worst = differences.map(|(_, (a, b))| (a - b).abs()).max().unwrap();
        assert!(worst <= kept.rgb, "{copy} {name}: a colour differs by {worst}");

        let found = scratch.values("depth", name);
        let (mut worst, mut holes) = (0.0_f64, 0);
        for ((value, expected), (_, column)) in
            found.iter().zip(depth(k, kept.size)).zip(blocks(kept.size))
        {
            if kept.holes && column == 0 {
                assert_eq!(*value, 0, "{copy} {name}: a hole");
                holes += 1;
            } else {
                worst = worst.max((*value as f64 - expected).abs());
            }
        }
        assert!(worst <= kept.depth, "{copy} {name}: a depth differs by {worst} mm");
        // The precision is not stated better or much worse than it is.
        assert!(worst > 0.2 * kept.depth, "{copy} {name}: at most {worst} mm");
        assert_eq!(holes > 0, kept.holes);

        let has_normals = copy == "mtan" || copy == "parquet_arrays";
        assert_eq!(scratch.out().join("normal").exists(), has_normals, "{copy}");
        if has_normals {
            let found = scratch.values("normal", name);
            assert_eq!(found.len(), 3 * kept.size.0 * kept.size.1);
            let differences = found.iter().zip(normals(k, kept.size));
            let worst = differences.map(|(byte, exact)| (*byte as f64 - exact).abs());
            let worst = worst.fold(0.0, f64::max);
            assert!((0.4..0.501).contains(&worst), "{copy} {name}: a component differs by {worst}");
        }

        if let Some((folder, classes)) = kept.labels {
            assert_eq!(scratch.values(folder, name), labels(k, kept.size, classes), "{copy}");
        } else {
            assert!(
                !scratch.out().join("label40").exists() && !scratch.out().join("label13").exists()
            );
        }
    }
}
