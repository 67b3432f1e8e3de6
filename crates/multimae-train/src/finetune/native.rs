//! Evaluation samples: what the model sees, and the annotations at their own resolution.

use multimae_data::{
    Encoding, Map, Pipeline, Placement, RawMap, RawSample, Result, Sample, SampleSource, Values,
    resize::{CropBox, resize_plane},
};

/// The prefix of the names of maps at their own resolution.
pub const NATIVE: &str = "native/";

/// Samples with the annotations of some modalities at their own resolution too, under
/// [`NATIVE`] and the modality's name.
pub(super) struct NativeSource {
    pub(super) pipeline: Pipeline,
    pub(super) names: Vec<String>,
}

impl SampleSource for NativeSource {
    fn len(&self) -> usize {
        SampleSource::len(&self.pipeline)
    }

    fn id(&self, index: usize) -> String {
        SampleSource::id(&self.pipeline, index)
    }

    fn sample(&self, epoch: u64, index: usize) -> Result<Sample> {
        let raw = self.pipeline.dataset().decode(index)?;
        let placement = self.pipeline.place(epoch, &raw);
        let mut sample = self.pipeline.apply(&raw, placement, epoch)?;
        let modalities = self.pipeline.dataset().modalities();
        for modality in modalities.iter().filter(|m| self.names.contains(&m.name)) {
            if let Some(map) = native(&raw, &modality.name, &modality.encoding) {
                sample.maps.insert(format!("{NATIVE}{}", modality.name), map);
            }
        }
        Ok(sample)
    }
}

fn native(raw: &RawSample, name: &str, encoding: &Encoding) -> Option<Map> {
    let values = match raw.maps.get(name)? {
        RawMap::Labels(labels) => Values::Labels(labels.clone()),
        RawMap::Continuous { channels, data } => Values::Continuous {
            channels: *channels,
            data: encoding.decoded_values(data, *channels),
        },
        RawMap::Color(_) => return None,
    };
    Some(Map { height: raw.height, width: raw.width, values })
}

/// Brings planes of predictions back to the part of the image that the model saw.
///
/// # Shapes
/// `(C, h, w)` of `size = (h, w)` to `(C, crop height, crop width)`.
///
/// # Errors
/// If the sizes do not fit.
pub(super) fn to_crop(
    planes: &[f32],
    size: (usize, usize),
    placement: &Placement,
) -> Result<Vec<f32>> {
    let (rows, columns) = placement.shown;
    let shown = CropBox { top: 0, left: 0, height: rows, width: columns };
    let to = (placement.crop.height, placement.crop.width);
    let mut out = Vec::new();
    for plane in planes.chunks_exact((size.0 * size.1).max(1)) {
        out.extend(resize_plane(plane, size, shown, to, multimae_data::Interpolation::Bilinear)?);
    }
    Ok(out)
}

/// The values of a plane in a crop.
pub(super) fn in_crop<T: Copy>(plane: &[T], width: usize, crop: CropBox) -> Vec<T> {
    let rows = plane.chunks_exact(width.max(1)).skip(crop.top).take(crop.height);
    rows.flat_map(|row| row.iter().skip(crop.left).take(crop.width).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_left_out_and_the_rest_brought_back() {
        // 2 x 2 shown of 3 x 3, padding 9.
        let planes = [1.0, 1.0, 9.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0];
        let crop = CropBox { top: 1, left: 0, height: 4, width: 4 };
        let placement = Placement { crop, hflip: false, shown: (2, 2), zoom: 1.0 };
        let back = to_crop(&planes, (3, 3), &placement).unwrap();
        assert_eq!(back, [1.0; 16]);
        let image: Vec<i64> = (0..20).collect();
        let small = CropBox { top: 1, left: 2, height: 2, width: 2 };
        assert_eq!(in_crop(&image, 4, small), [6, 7, 10, 11]);
    }
}
