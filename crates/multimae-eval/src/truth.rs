//! What the data says of a frame.

use multimae_data::{DataModality, Encoding, RawMap, RawSample};

use crate::{Error, Result};
use multimae_infer::saved_model::mask_values;

/// The folder of the masks of valid pixels.
pub const MASK_FOLDER: &str = "mask_valid";

/// Where a frame's depth is and how it becomes metres.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthTruth {
    /// The modality.
    pub modality: String,
    /// How its files hold metres.
    pub encoding: Encoding,
}

/// Where everything that predictions are compared with is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Truth {
    /// For protocols of depth.
    pub depth: Option<DepthTruth>,
    /// The modality of the labels, for protocols of labels. They are the model's.
    pub labels: Option<String>,
    /// The modality of the [mask of valid pixels](mask_modality), if frames have one.
    pub mask: Option<String>,
}

/// Masks of valid pixels as the published data has them: 8 bits, 255 where depth is valid.
#[must_use]
pub fn mask_modality() -> DataModality {
    let encoding = Encoding::Labels { classes: 256, ignore: None, offset: 0 };
    DataModality {
        name: MASK_FOLDER.to_owned(),
        folder: MASK_FOLDER.to_owned(),
        encoding,
        stride: 1,
    }
}

impl Truth {
    /// A frame's depth in metres, `(H, W)`. Stored zeros are not known, and become NaN.
    ///
    /// # Errors
    /// If the frame has no such map.
    pub fn depth_of(&self, frame: &RawSample) -> Result<Vec<f32>> {
        let truth = self.depth.as_ref().ok_or_else(|| missing(frame, "depth"))?;
        match frame.maps.get(&truth.modality) {
            Some(RawMap::Continuous { channels: 1, data }) => {
                let metres = truth.encoding.decoded_values(data, 1).into_iter().zip(data);
                Ok(metres.map(|(m, &stored)| if stored == 0.0 { f32::NAN } else { m }).collect())
            }
            _ => Err(missing(frame, &truth.modality)),
        }
    }

    /// A frame's labels.
    ///
    /// # Errors
    /// If the frame has no such map.
    pub fn labels_of<'a>(&self, frame: &'a RawSample) -> Result<&'a [i64]> {
        let modality = self.labels.as_ref().ok_or_else(|| missing(frame, "labels"))?;
        match frame.maps.get(modality) {
            Some(RawMap::Labels(labels)) => Ok(labels),
            _ => Err(missing(frame, modality)),
        }
    }

    /// Which pixels of a frame the data calls valid, if it says so.
    #[must_use]
    pub fn valid_of(&self, frame: &RawSample) -> Option<Vec<bool>> {
        match frame.maps.get(self.mask.as_ref()?) {
            Some(RawMap::Labels(mask)) => Some(mask_values(mask)),
            _ => None,
        }
    }
}

fn missing(frame: &RawSample, what: &str) -> Error {
    Error::Evaluation(format!("frame `{}` has no `{what}` to compare with", frame.id))
}

#[cfg(test)]
mod tests {
    use multimae_data::Interpolation;

    use super::*;

    #[test]
    fn depth_in_metres_and_masks() {
        let map = |data: &[f32]| RawMap::Continuous { channels: 1, data: data.to_vec() };
        let maps = [
            ("depth".to_owned(), map(&[2500.0, 0.0, 700.0])),
            (MASK_FOLDER.to_owned(), RawMap::Labels(vec![255, 254, 0])),
        ];
        let frame =
            RawSample { id: "a".to_owned(), index: 0, height: 1, width: 3, maps: maps.into() };
        let encoding = Encoding::Continuous {
            channels: 1,
            divisor: 1000.0,
            mean: Vec::new(),
            std: Vec::new(),
            interpolation: Interpolation::Nearest,
            standardize: false,
        };
        let depth = DepthTruth { modality: "depth".to_owned(), encoding };
        let truth = Truth { depth: Some(depth), labels: None, mask: Some(MASK_FOLDER.to_owned()) };
        let metres = truth.depth_of(&frame).unwrap();
        assert!(metres[0] == 2.5 && metres[1].is_nan() && metres[2] == 0.7);
        assert_eq!(truth.valid_of(&frame), Some(vec![true, false, false]));
        assert!(truth.labels_of(&frame).is_err());
        assert_eq!(Truth { mask: None, ..truth }.valid_of(&frame), None);
    }
}
