//! Maps of a model at the size of a frame, row by row: all logits of a large frame at once would
//! not fit into memory.

use multimae::modality::Size;

/// Along one side: between which two of `from` pixels each of `to` pixels lies (half-pixel
/// centres, borders repeated), as `multimae::interpolate`'s bilinear resizing has it.
struct Axis(Vec<(usize, usize, f32)>);

impl Axis {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let last = from.saturating_sub(1);
        let between = |i: usize| {
            let position = ((i as f64 + 0.5) * scale - 0.5).max(0.0);
            let left = (position as usize).min(last);
            (left, (left + 1).min(last), (position - left as f64) as f32)
        };
        Self((0..to).map(between).collect())
    }
}

/// Maps of a model.
#[derive(Debug, Clone, Copy)]
pub struct Maps<'a> {
    /// `(C, canvas)`, row-major.
    pub values: &'a [f32],
    /// The size of the maps.
    pub canvas: Size,
    /// The part at the top left that shows the frame; the rest is padding.
    pub shown: Size,
}

impl<'a> Maps<'a> {
    /// Every channel by itself.
    pub fn planes(&self) -> impl Iterator<Item = Maps<'a>> {
        let (canvas, shown) = (self.canvas, self.shown);
        let planes = self.values.chunks_exact(canvas.area().max(1));
        planes.map(move |values| Maps { values, canvas, shown })
    }

    /// One map at another size, bilinearly.
    ///
    /// # Shapes
    /// `(1, canvas)` to `to`.
    #[must_use]
    pub fn resized(&self, to: Size) -> Vec<f32> {
        let mut resized = Vec::with_capacity(to.area());
        self.rows(to, |row, columns| {
            resized.extend(columns.0.iter().map(|&(l, r, w)| mixed(row[l], row[r], w)));
        });
        resized
    }

    /// The index of the largest of the maps at every pixel of another size; of equals the first.
    ///
    /// # Shapes
    /// `(C, canvas)` to `to`.
    #[must_use]
    pub fn largest(&self, to: Size) -> Vec<i64> {
        let width = self.shown.width;
        let mut labels = Vec::with_capacity(to.area());
        self.rows(to, |rows, columns| {
            labels.extend(columns.0.iter().map(|&(l, r, w)| {
                let mut best = (f32::NEG_INFINITY, 0);
                for (class, row) in rows.chunks_exact(width).enumerate() {
                    let value = mixed(row[l], row[r], w);
                    if value > best.0 {
                        best = (value, class as i64);
                    }
                }
                best.1
            }));
        });
        labels
    }

    /// Every row of the new height in turn, all channels one after the other, at the old width.
    fn rows(&self, to: Size, mut each: impl FnMut(&[f32], &Axis)) {
        let (rows, columns) =
            (Axis::new(self.shown.height, to.height), Axis::new(self.shown.width, to.width));
        let width = self.shown.width;
        let mut row = Vec::new();
        for (upper, lower, weight) in rows.0 {
            row.clear();
            for map in self.values.chunks_exact(self.canvas.area().max(1)) {
                let line = |y: usize| &map[y * self.canvas.width..][..width];
                let pairs = line(upper).iter().zip(line(lower));
                row.extend(pairs.map(|(&a, &b)| mixed(a, b, weight)));
            }
            each(&row, &columns);
        }
    }
}

fn mixed(a: f32, b: f32, weight: f32) -> f32 {
    a + (b - a) * weight
}

#[cfg(test)]
mod tests {
    use multimae::burn::tensor::{Device, Tensor, TensorData};
    use multimae::interpolate::{Interpolation, resize};

    use super::*;

    const CANVAS: Size = Size { height: 6, width: 7 };

    fn values(channels: usize) -> Vec<f32> {
        (0..channels * CANVAS.area()).map(|i| ((i * 37) % 23) as f32 / 7.0).collect()
    }

    /// Applies a function of tensors to the shown part.
    fn expected(values: &[f32], channels: usize, shown: Size, to: Size) -> Vec<f32> {
        let data = TensorData::new(values.to_vec(), [1, channels, CANVAS.height, CANVAS.width]);
        let maps = Tensor::<4>::from_data(data, &Device::default());
        let maps = maps.narrow(2, 0, shown.height).narrow(3, 0, shown.width);
        resize(maps, to, Interpolation::Bilinear).into_data().iter::<f32>().collect()
    }

    #[test]
    fn rows_one_by_one_are_the_whole() {
        for (shown, to) in [
            (CANVAS, Size::new(13, 9)),
            (Size::new(4, 7), Size::new(4, 7)),
            (Size::new(6, 3), Size::new(2, 11)),
            (Size::new(1, 1), Size::new(3, 3)),
        ] {
            let (one, three) = (values(1), values(3));
            let maps = |values| Maps { values, canvas: CANVAS, shown };
            let depth = maps(&one).resized(to);
            for (got, expected) in depth.iter().zip(expected(&one, 1, shown, to)) {
                assert!((got - expected).abs() < 1e-5, "{shown} {to}");
            }
            let resized = expected(&three, 3, shown, to);
            let labels = maps(&three).largest(to);
            assert_eq!(labels.len(), to.area());
            for (pixel, &label) in labels.iter().enumerate() {
                let of_class = |class: usize| resized[class * to.area() + pixel];
                let most = (0..3).map(of_class).fold(f32::MIN, f32::max);
                assert!(of_class(label as usize) >= most - 1e-5, "{shown} {to}");
            }
        }
    }

    #[test]
    fn of_equal_logits_the_first_wins() {
        let maps =
            Maps { values: &[1.0, 1.0, 1.0], canvas: Size::new(1, 1), shown: Size::new(1, 1) };
        assert_eq!(maps.largest(Size::new(1, 2)), [0, 0]);
    }
}
