//! Medians of predictions and of what they stand beside: a wrong unit shows in their ratio.

/// Medians that differ by a larger factor are hardly in the same unit.
const FAR_APART: f64 = 3.0;

/// The medians of values per image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageMedians(Vec<f32>);

impl ImageMedians {
    /// Adds the values of an image; those that are not positive and finite are not known.
    pub fn add(&mut self, values: impl IntoIterator<Item = f32>) {
        let known = values.into_iter().filter(|value| *value > 0.0 && value.is_finite());
        self.0.extend(median(known.collect()));
    }

    /// The median of the images' medians; `None` if nothing is known.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        median(self.0.clone()).map(f64::from)
    }
}

/// The factor between two medians, if it is so large that their units hardly agree.
#[must_use]
pub fn far_apart(a: f64, b: f64) -> Option<f64> {
    let ratio = if a > b { a / b } else { b / a };
    (ratio > FAR_APART).then_some(ratio)
}

fn median(mut values: Vec<f32>) -> Option<f32> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_leave_out_what_is_not_known() {
        let mut medians = ImageMedians::default();
        assert_eq!(medians.median(), None);
        medians.add([0.0, f32::NAN, 2.0, 3.0, 4.0]);
        medians.add([-1.0, f32::INFINITY]);
        medians.add([1.0]);
        medians.add([9.0]);
        assert_eq!(medians.median(), Some(3.0));
    }

    #[test]
    fn only_a_factor_above_3_is_far_apart() {
        assert_eq!((far_apart(3.0, 1.0), far_apart(1.0, 2.9)), (None, None));
        assert_eq!((far_apart(1.0, 8.0), far_apart(8.0, 1.0)), (Some(8.0), Some(8.0)));
    }
}
