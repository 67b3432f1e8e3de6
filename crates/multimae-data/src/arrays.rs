//! Samples from arrays in memory.

use std::path::Path;

use crate::assemble::{Opened, Part, assemble};
use crate::decode::{self, ExifOrientation, Form, Frame, FrameInfo, Order, Pixels, Problem};
use crate::limits::MAX_PIXELS;
use crate::modality::check_modalities;
use crate::resize::CropBox;
use crate::{DataModality, Encoding, RawSample, Result, Stored};

/// The name of an array in messages, where files have a path.
const NAME: &str = "array";

/// The array of one modality, in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct ModalityArray<'a> {
    /// The modality that the array holds.
    pub modality: &'a DataModality,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// The values of the pixels.
    pub values: ArrayValues,
}

/// The values of a [`ModalityArray`].
#[derive(Debug, Clone, PartialEq)]
pub enum ArrayValues {
    /// 8-bit RGB, `(H, W, 3)`, row-major.
    Color(Vec<u8>),
    /// Real values, `(C, H, W)`, row-major, in the unit that the modality's divisor gives: metres of
    /// depth, components of vectors. Values that are not finite are invalid pixels.
    Continuous(Vec<f32>),
    /// Class ids as files store them, `(H, W)`, row-major: the modality's offset is not applied yet.
    Labels(Vec<i64>),
}

impl RawSample {
    /// Makes a sample from arrays in memory, in their order. The checks are those of
    /// [`Dataset::decode`](crate::Dataset::decode), and so are the values: numbers that are stored
    /// integers after the division by the divisor become these integers again.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if there is no array, two are of one modality, or a
    /// modality makes no sense; [`Error::Sample`](crate::Error::Sample) if an array is of the wrong
    /// kind or of another size than the others.
    ///
    /// ```
    /// use multimae_data::{ArrayValues, DataModality, Encoding, ModalityArray, RawMap, RawSample};
    ///
    /// # fn main() -> multimae_data::Result<()> {
    /// let modality = DataModality::new("semseg", Encoding::labels(2, Some(255), -1));
    /// let values = ArrayValues::Labels(vec![1, 2, 0, 255]);
    /// let array = ModalityArray { modality: &modality, height: 2, width: 2, values };
    /// let sample = RawSample::from_arrays("a", vec![array])?;
    /// assert_eq!(sample.maps["semseg"], RawMap::Labels(vec![0, 1, 255, 255]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_arrays(id: &str, arrays: Vec<ModalityArray<'_>>) -> Result<Self> {
        check_modalities(arrays.iter().map(|array| array.modality))?;
        let parts = arrays.into_iter().map(|array| {
            let modality = array.modality;
            let opened = array.frame().and_then(|frame| {
                decode::check(&frame, ExifOrientation::UPRIGHT, modality)?;
                Ok(Opened::Decoded(frame, ExifOrientation::UPRIGHT))
            });
            Part { modality, path: Path::new(NAME).into(), opened }
        });
        assemble((id, 0), parts, |height, width| CropBox::whole((height, width)))
    }
}

impl ModalityArray<'_> {
    /// The values as a file would store them.
    fn frame(self) -> Result<Frame, Problem> {
        let Self { modality, height, width, values } = self;
        let pixels = height.checked_mul(width).filter(|&pixels| pixels as u64 <= MAX_PIXELS);
        let pixels = pixels.ok_or_else(|| {
            format!(
                "it has {height} x {width} pixels, and at most {MAX_PIXELS} are read; reduce it"
            )
        })?;
        let (form, order, channels, values) = match values {
            ArrayValues::Color(rgb) => (Form::Color, Order::Interleaved, 3, Pixels::U8(rgb)),
            ArrayValues::Continuous(data) => {
                let channels = data.len() / pixels.max(1);
                let stored = Pixels::F32(stored(modality, data));
                (Form::Npy { axes: 3 }, Order::Planar, channels, stored)
            }
            ArrayValues::Labels(labels) => {
                (Form::Npy { axes: 2 }, Order::Planar, 1, Pixels::I64(labels))
            }
        };
        Frame::new(FrameInfo { height, width, channels, form, order }, values)
    }
}

/// The stored numbers of values: those that the divisor and the stored zero turn into the values.
fn stored(modality: &DataModality, mut values: Vec<f32>) -> Vec<f32> {
    let Encoding::Continuous { divisor, .. } = modality.encoding else { return values };
    let zero = if let Stored::ZeroAt(zero) = modality.rules.stored { zero } else { 0.0 };
    if (divisor, zero) == (1.0, 0.0) {
        return values;
    }
    for value in &mut values {
        let number = *value * divisor;
        let integer = number.round();
        *value = zero + if integer / divisor == *value { integer } else { number };
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interpolation, Quantity, RawMap, Valid, ValueRules};

    fn depth(divisor: f32) -> DataModality {
        let encoding = Encoding::Continuous {
            channels: 1,
            divisor,
            mean: Vec::new(),
            std: Vec::new(),
            interpolation: Interpolation::Nearest,
            standardize: false,
            quantity: Quantity::Distance,
        };
        let rules = ValueRules { valid: Valid::Quantity, ..ValueRules::default() };
        DataModality { rules, ..DataModality::new("depth", encoding) }
    }

    fn sample(modality: &DataModality, width: usize, values: ArrayValues) -> Result<RawSample> {
        let array = ModalityArray { modality, height: 1, width, values };
        RawSample::from_arrays("a", vec![array])
    }

    #[test]
    fn numbers_are_those_that_a_file_would_store() {
        let modality = depth(1000.0);
        let numbers: Vec<f32> = (1..=65535_u16).map(f32::from).collect();
        let metres = modality.encoding.decoded_values(&numbers, 1);
        let made = sample(&modality, metres.len(), ArrayValues::Continuous(metres)).unwrap();
        let RawMap::Continuous { data, .. } = &made.maps["depth"] else { panic!() };
        // 65535 marks unknown distances.
        assert_eq!(data[..65534], numbers[..65534]);
        assert!(data[65534].is_nan());
        let values = ArrayValues::Continuous(vec![0.0, -1.0, f32::INFINITY, 0.5]);
        let made = sample(&modality, 4, values).unwrap();
        let RawMap::Continuous { data, .. } = &made.maps["depth"] else { panic!() };
        assert!(data[..3].iter().all(|value| value.is_nan()) && data[3] == 500.0, "{data:?}");
    }

    #[test]
    fn numbers_are_counted_from_the_stored_zero() {
        let mut modality = depth(64.0);
        modality.rules = ValueRules { stored: Stored::ZeroAt(32768.0), ..ValueRules::default() };
        let made = sample(&modality, 2, ArrayValues::Continuous(vec![-1.0, 2.0])).unwrap();
        let expected = RawMap::Continuous { channels: 1, data: vec![-64.0, 128.0] };
        assert_eq!(made.maps["depth"], expected);
    }

    #[test]
    fn arrays_of_another_kind_are_refused() {
        let says = |width, values| sample(&depth(1.0), width, values).unwrap_err().to_string();
        let text = says(1, ArrayValues::Color(vec![1, 2, 3]));
        assert!(text.contains("sample `a`, modality `depth`, array: it was read as"), "{text}");
        let text = says(2, ArrayValues::Continuous(vec![1.0; 6]));
        assert!(text.contains("its shape is [3, 1, 2]"), "{text}");
        assert!(says(2, ArrayValues::Continuous(vec![1.0; 3])).contains("3 values"));
        assert!(says(0, ArrayValues::Continuous(Vec::new())).contains("1 x 0"));
    }
}
