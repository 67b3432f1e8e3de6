//! From the files of a sample to what the model sees.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::augment::{Geometry, Placement};
use crate::resize::{gather, nearest_indices, resize_plane, resize_rgb};
use crate::{
    DataModality, Dataset, Encoding, Error, Interpolation, Map, RawMap, RawSample, Result, Values,
    robust_standardize, stream,
};

/// One sample, ready for the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The id of the sample.
    pub id: String,
    /// Its index in the data set.
    pub index: usize,
    /// The maps by the name of the modality, in the order of the data set's modalities.
    pub maps: IndexMap<String, Map>,
}

/// Makes samples: decode, crop, resize and flip all modalities together, normalise.
#[derive(Debug, Clone)]
pub struct Pipeline {
    dataset: Arc<Dataset>,
    geometry: Geometry,
    seed: u64,
}

impl Pipeline {
    /// A pipeline over a data set.
    ///
    /// # Errors
    /// [`Error::Config`] if the geometry makes no sense or its size is not a multiple of every
    /// modality's stride.
    pub fn new(dataset: Arc<Dataset>, geometry: Geometry, seed: u64) -> Result<Self> {
        geometry.check()?;
        let (height, width) = geometry.size();
        for modality in dataset.modalities() {
            let stride = modality.stride;
            if !height.is_multiple_of(stride) || !width.is_multiple_of(stride) {
                return Err(Error::Config(format!(
                    "modality `{}`: the size {height} x {width} is not a multiple of its stride \
                     {stride}",
                    modality.name
                )));
            }
        }
        Ok(Self { dataset, geometry, seed })
    }

    /// The data set.
    #[must_use]
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    /// The geometry.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The sample `index` as it looks in `epoch`. It depends on the seed, the epoch and the index
    /// alone.
    ///
    /// # Errors
    /// [`Error::Sample`] if a file is bad; [`Error::Index`] if there is no such sample.
    pub fn sample(&self, epoch: u64, index: usize) -> Result<Sample> {
        let raw = self.dataset.decode(index)?;
        let placement = self.place(epoch, &raw);
        self.apply(raw, placement)
    }

    /// The part of the sample that `epoch` shows.
    #[must_use]
    pub fn place(&self, epoch: u64, raw: &RawSample) -> Placement {
        let mut rng = stream(self.seed, "augment", epoch, raw.index as u64);
        self.geometry.place(raw.height, raw.width, &mut rng)
    }

    fn apply(&self, raw: RawSample, placement: Placement) -> Result<Sample> {
        let from = (raw.height, raw.width);
        let mut maps = IndexMap::with_capacity(raw.maps.len());
        for (modality, (name, map)) in self.dataset.modalities().iter().zip(&raw.maps) {
            let view =
                View { from, placement, full: self.geometry.size(), stride: modality.stride };
            maps.insert(name.clone(), view.map(map, modality)?);
        }
        Ok(Sample { id: raw.id, index: raw.index, maps })
    }
}

/// What is to be made of every map of one sample.
struct View {
    from: (usize, usize),
    placement: Placement,
    full: (usize, usize),
    stride: usize,
}

impl View {
    fn map(&self, raw: &RawMap, modality: &DataModality) -> Result<Map> {
        let (height, width) = self.size();
        let values = match (raw, &modality.encoding) {
            (RawMap::Color(rgb), Encoding::Color { mean, std }) => self.color(rgb, mean, std)?,
            (RawMap::Continuous { channels, data }, encoding) => {
                self.continuous(*channels, data, encoding)?
            }
            (RawMap::Labels(labels), _) => Values::Labels(self.labels(labels)?),
            (RawMap::Color(_), _) => {
                return Err(Error::Config(format!("modality `{}` holds colours", modality.name)));
            }
        };
        Ok(Map { height, width, values })
    }

    fn size(&self) -> (usize, usize) {
        (self.full.0 / self.stride, self.full.1 / self.stride)
    }

    fn color(&self, rgb: &[u8], mean: &[f32; 3], std: &[f32; 3]) -> Result<Values> {
        let rgb = resize_rgb(rgb, self.from, self.placement.crop, self.size())?;
        let mut data = Vec::with_capacity(rgb.len());
        for channel in 0..3 {
            let table: [f32; 256] =
                std::array::from_fn(|value| (value as f32 / 255.0 - mean[channel]) / std[channel]);
            let values = rgb.as_chunks::<3>().0.iter();
            data.extend(values.map(|pixel| table[usize::from(pixel[channel])]));
        }
        self.flip(&mut data);
        Ok(Values::Continuous { channels: 3, data })
    }

    fn continuous(&self, channels: usize, planes: &[f32], encoding: &Encoding) -> Result<Values> {
        let Encoding::Continuous { divisor, mean, std, interpolation, standardize, .. } = encoding
        else {
            return Err(Error::Config(format!("real values for {encoding:?}")));
        };
        let mut data = Vec::with_capacity(channels * self.size().0 * self.size().1);
        for (channel, plane) in planes.chunks_exact(self.from.0 * self.from.1).enumerate() {
            let mut plane = self.plane(plane, *interpolation)?;
            let mean = mean.get(channel).copied().unwrap_or(0.0);
            let std = std.get(channel).copied().unwrap_or(1.0);
            plane.iter_mut().for_each(|x| *x = (*x / divisor - mean) / std);
            if *standardize {
                robust_standardize(&mut plane);
            }
            data.append(&mut plane);
        }
        self.flip(&mut data);
        Ok(Values::Continuous { channels, data })
    }

    fn plane(&self, plane: &[f32], interpolation: Interpolation) -> Result<Vec<f32>> {
        resize_plane(plane, self.from, self.placement.crop, self.size(), interpolation)
    }

    /// Resized to the full size, flipped, and from there to 1/stride, each to the nearest pixel,
    /// as the published code does: both steps become one choice of rows and columns.
    fn labels(&self, labels: &[i64]) -> Result<Vec<i64>> {
        let Placement { crop, hflip } = self.placement;
        let full_rows = nearest_indices(crop.height, self.full.0);
        let mut full_columns = nearest_indices(crop.width, self.full.1);
        if hflip {
            full_columns.reverse();
        }
        let (height, width) = self.size();
        let pick = |full: &[usize], to: usize| -> Vec<usize> {
            nearest_indices(full.len(), to).into_iter().map(|index| full[index]).collect()
        };
        let (rows, columns) = (pick(&full_rows, height), pick(&full_columns, width));
        gather(labels, self.from, crop, &rows, &columns)
    }

    fn flip(&self, planes: &mut [f32]) {
        if self.placement.hflip {
            planes.chunks_exact_mut(self.size().1).for_each(<[f32]>::reverse);
        }
    }
}
