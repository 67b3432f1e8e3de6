//! Colours that are easy to tell apart.

/// Steps per channel of the colours to choose from.
const LEVELS: [u8; 12] = [20, 41, 62, 83, 104, 125, 146, 167, 188, 209, 230, 251];

/// Darker colours look like void, lighter ones like blank paper.
const LIGHTNESS: std::ops::Range<f64> = 0.4..0.93;

/// Colours with less chroma read as grey, those with more are glaring.
const CHROMA: std::ops::Range<f64> = 0.055..0.24;

/// `n` colours, each as far from black, white and all earlier ones as possible (in Oklab). The
/// first colours are the same for every `n`; beyond about 1300 they repeat.
#[must_use]
pub fn distinct_colors(n: usize) -> Vec<[u8; 3]> {
    let candidates = candidates();
    let distance_to = |point: Lab| candidates.iter().map(move |&(_, lab)| distance(lab, point));
    let white = oklab([255; 3]);
    let mut nearest: Vec<f64> =
        distance_to(oklab([0; 3])).zip(distance_to(white)).map(|(a, b)| a.min(b)).collect();
    let mut colors = Vec::with_capacity(n);
    for _ in 0..n {
        let farthest = (0..candidates.len()).max_by(|&a, &b| nearest[a].total_cmp(&nearest[b]));
        let (color, lab) = candidates[farthest.unwrap_or(0)];
        colors.push(color);
        for (nearest, distance) in nearest.iter_mut().zip(distance_to(lab)) {
            *nearest = nearest.min(distance);
        }
    }
    colors
}

/// Colours that are neither grey nor glaring, nor close to black or white.
fn candidates() -> Vec<([u8; 3], Lab)> {
    let colors = LEVELS
        .iter()
        .flat_map(|&r| LEVELS.iter().flat_map(move |&g| LEVELS.iter().map(move |&b| [r, g, b])));
    colors
        .map(|color| (color, oklab(color)))
        .filter(|(_, [l, a, b])| LIGHTNESS.contains(l) && CHROMA.contains(&a.hypot(*b)))
        .collect()
}

/// Lightness, green-red and blue-yellow in Oklab (Ottosson, 2020).
type Lab = [f64; 3];

fn distance(a: Lab, b: Lab) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

fn oklab(color: [u8; 3]) -> Lab {
    let rgb = color.map(linear);
    let cones = times(
        [
            [0.412_221_470_8, 0.536_332_536_3, 0.051_445_992_9],
            [0.211_903_498_2, 0.680_699_545_1, 0.107_396_956_6],
            [0.088_302_461_9, 0.281_718_837_6, 0.629_978_700_5],
        ],
        rgb,
    );
    times(
        [
            [0.210_454_255_3, 0.793_617_785_0, -0.004_072_046_8],
            [1.977_998_495_1, -2.428_592_205_0, 0.450_593_709_9],
            [0.025_904_037_1, 0.782_771_766_2, -0.808_675_766_0],
        ],
        cones.map(f64::cbrt),
    )
}

/// One sRGB channel to linear light.
fn linear(channel: u8) -> f64 {
    let value = f64::from(channel) / 255.0;
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

fn times(matrix: [[f64; 3]; 3], vector: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| row.iter().zip(vector).map(|(a, b)| a * b).sum())
}
