//! Resizing of maps, linear between two neighbours along either axis.

use multiversion::multiversion;

use super::parallel;

/// The sources of an output value along one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tap {
    /// The neighbour before it.
    pub left: usize,
    /// The neighbour behind it.
    pub right: usize,
    /// Weight of the latter; the former has the rest.
    pub weight: f32,
}

/// The taps along both axes, and the size that they read.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    /// Rows and columns of the input.
    pub from: [usize; 2],
    /// By row of the output.
    pub rows: Vec<Tap>,
    /// By column of the output.
    pub columns: Vec<Tap>,
}

impl Resize {
    fn check(&self, len: usize, [height, width]: [usize; 2]) -> usize {
        let inside =
            |taps: &[Tap], side: usize| taps.iter().all(|tap| tap.left < side && tap.right < side);
        assert!(
            inside(&self.rows, self.from[0]) && inside(&self.columns, self.from[1]),
            "taps beyond {:?}",
            self.from
        );
        assert!(len.is_multiple_of((height * width).max(1)), "{len} values of {height} x {width}");
        len / (height * width).max(1)
    }

    fn to(&self) -> [usize; 2] {
        [self.rows.len(), self.columns.len()]
    }
}

/// The resized planes.
///
/// # Shapes
/// `(planes, height, width)` to `(planes, rows, columns)`.
///
/// # Panics
/// If a tap lies outside, or `x` does not hold whole planes.
#[must_use]
pub fn forward(resize: &Resize, x: &[f32]) -> Vec<f32> {
    let ([height, width], [rows, columns]) = (resize.from, resize.to());
    let planes = resize.check(x.len(), resize.from);
    let all = (0..planes).map(|plane| (rows * columns, plane));
    let work = |plane: usize, y: &mut [f32]| {
        if y.is_empty() {
            return;
        }
        let x = &x[plane * height * width..][..height * width];
        // Once per row of the input, which are fewer where maps grow.
        let mut stretched = vec![0.0; height * columns];
        let rows = x.chunks_exact(width).zip(stretched.chunks_exact_mut(columns));
        rows.for_each(|(x, to)| stretch(&resize.columns, x, to));
        for (tap, y) in resize.rows.iter().zip(y.chunks_exact_mut(columns)) {
            let row = |at: usize| &stretched[at * columns..][..columns];
            mix(row(tap.left), row(tap.right), tap.weight, y);
        }
    };
    parallel::produce(planes * rows * columns, all, work).0
}

/// The gradient of the planes.
///
/// # Panics
/// If a tap lies outside, or `dy` does not hold whole planes.
#[must_use]
pub fn gradient(resize: &Resize, dy: &[f32]) -> Vec<f32> {
    let ([height, width], [rows, columns]) = (resize.from, resize.to());
    let planes = resize.check(dy.len(), [rows, columns]);
    let all = (0..planes).map(|plane| (height * width, plane));
    let work = |plane: usize, dx: &mut [f32]| {
        if dx.is_empty() || columns == 0 {
            return;
        }
        let dy = &dy[plane * rows * columns..][..rows * columns];
        let mut stretched = vec![0.0; height * columns];
        for (tap, dy) in resize.rows.iter().zip(dy.chunks_exact(columns)) {
            add_scaled(dy, 1.0 - tap.weight, &mut stretched[tap.left * columns..][..columns]);
            add_scaled(dy, tap.weight, &mut stretched[tap.right * columns..][..columns]);
        }
        let rows = dx.chunks_exact_mut(width).zip(stretched.chunks_exact(columns));
        rows.for_each(|(dx, from)| shrink(&resize.columns, from, dx));
    };
    parallel::produce(planes * rows * columns, all, work).0
}

#[multiversion(targets = "simd")]
fn stretch(taps: &[Tap], x: &[f32], to: &mut [f32]) {
    for (tap, to) in taps.iter().zip(to) {
        let (left, right) = (x[tap.left], x[tap.right]);
        *to = (right - left).mul_add(tap.weight, left);
    }
}

#[multiversion(targets = "simd")]
fn shrink(taps: &[Tap], from: &[f32], dx: &mut [f32]) {
    for (tap, &from) in taps.iter().zip(from) {
        dx[tap.left] += (1.0 - tap.weight) * from;
        dx[tap.right] += tap.weight * from;
    }
}

#[multiversion(targets = "simd")]
fn mix(left: &[f32], right: &[f32], weight: f32, to: &mut [f32]) {
    for ((to, left), right) in to.iter_mut().zip(left).zip(right) {
        *to = (right - left).mul_add(weight, *left);
    }
}

#[multiversion(targets = "simd")]
fn add_scaled(from: &[f32], scale: f32, to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = from.mul_add(scale, *to));
}
