//! From the files of a sample to what the model sees.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::augment::{Geometry, Placement};
use crate::color::ColorAugmentation;
use crate::modality::LabelRule;
use crate::resize::{CropBox, gather, nearest_indices, resize_plane, resize_rgb};
use crate::{
    DataModality, Dataset, Encoding, Error, Interpolation, Map, Quantity, RawMap, RawSample,
    Result, Values, robust_standardize, stream,
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
    color: Option<ColorAugmentation>,
    label_padding: IndexMap<String, i64>,
}

impl Pipeline {
    /// A pipeline over a data set.
    ///
    /// # Errors
    /// [`Error::Config`] if the geometry makes no sense or its size is not a multiple of every
    /// modality's stride.
    pub fn new(dataset: Arc<Dataset>, geometry: Geometry, seed: u64) -> Result<Self> {
        check_geometry(&dataset, &geometry)?;
        Ok(Self { dataset, geometry, seed, color: None, label_padding: IndexMap::new() })
    }

    /// The same pipeline with another geometry.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_geometry(mut self, geometry: Geometry) -> Result<Self> {
        check_geometry(&self.dataset, &geometry)?;
        self.geometry = geometry;
        Ok(self)
    }

    /// Changes the colours of RGB images at random.
    ///
    /// # Errors
    /// [`Error::Config`] if the ranges make no sense.
    pub fn with_color(mut self, color: ColorAugmentation) -> Result<Self> {
        color.check()?;
        self.color = Some(color);
        Ok(self)
    }

    /// The label of padding in a modality of labels, instead of the ignored one.
    #[must_use]
    pub fn with_label_padding(mut self, modality: &str, label: i64) -> Self {
        self.label_padding.insert(modality.to_owned(), label);
        self
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
        let mut placement = None;
        // The pixels outside the crop have no influence, so they need not be decoded.
        let raw = self.dataset.decode_window(index, |height, width| {
            placement.insert(self.place_at(epoch, index, (height, width))).crop
        })?;
        let crop = CropBox::whole((raw.height, raw.width));
        let placement = placement.map(|placement| Placement { crop, ..placement });
        let placement = placement.unwrap_or_else(|| self.place(epoch, &raw));
        self.apply(&raw, placement, epoch)
    }

    /// The part of the sample that `epoch` shows.
    #[must_use]
    pub fn place(&self, epoch: u64, raw: &RawSample) -> Placement {
        self.place_at(epoch, raw.index, (raw.height, raw.width))
    }

    fn place_at(&self, epoch: u64, index: usize, (height, width): (usize, usize)) -> Placement {
        let mut rng = stream(self.seed, "augment", epoch, index as u64);
        self.geometry.place(height, width, &mut rng)
    }

    /// Makes a sample of decoded files by a placement. Padding is grey in colours, invalid (NaN) in
    /// real values, and the ignored label, or the first one that is no class, in labels.
    ///
    /// # Errors
    /// [`Error::Config`] if the maps are not those of the data set's modalities.
    pub fn apply(&self, raw: &RawSample, placement: Placement, epoch: u64) -> Result<Sample> {
        self.apply_at(raw, placement, self.geometry.size(), epoch)
    }

    /// As [`Self::apply`], at a size (height, width) other than the geometry's.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_at(
        &self,
        raw: &RawSample,
        placement: Placement,
        full: (usize, usize),
        epoch: u64,
    ) -> Result<Sample> {
        let from = (raw.height, raw.width);
        let mut maps = IndexMap::with_capacity(raw.maps.len());
        for (modality, (name, map)) in self.dataset.modalities().iter().zip(&raw.maps) {
            let view = CropView { from, placement, full, stride: modality.stride };
            let padding = self.label_padding.get(&modality.name).copied();
            let map = match (map, &self.color) {
                (RawMap::Color(_), Some(color)) => {
                    let mut rng = stream(self.seed, "color", epoch, raw.index as u64);
                    view.map(map, modality, padding, &mut |rgb| {
                        color.apply(rgb, &mut rng);
                    })
                }
                _ => view.map(map, modality, padding, &mut |_| {}),
            }?;
            maps.insert(name.clone(), map);
        }
        Ok(Sample { id: raw.id.clone(), index: raw.index, maps })
    }
}

/// Checks that a geometry makes sense and fits the strides of all modalities.
fn check_geometry(dataset: &Dataset, geometry: &Geometry) -> Result<()> {
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
    Ok(())
}

/// Decoded files as a placement shows them at a size, the modalities in the given order. Without
/// random colours; padding as in [`Pipeline::apply`].
///
/// # Errors
/// [`Error::Config`] if a modality is missing or its map is not of its kind.
pub fn view(
    raw: &RawSample,
    modalities: &[&DataModality],
    placement: Placement,
    size: (usize, usize),
) -> Result<Sample> {
    let from = (raw.height, raw.width);
    let map = |modality: &&DataModality| {
        let name = &modality.name;
        let map = raw.maps.get(name).ok_or_else(|| {
            Error::Config(format!("sample `{}` has no modality `{name}`", raw.id))
        })?;
        let view = CropView { from, placement, full: size, stride: modality.stride };
        Ok((name.clone(), view.map(map, modality, None, &mut |_| {})?))
    };
    let maps = modalities.iter().map(map).collect::<Result<_>>()?;
    Ok(Sample { id: raw.id.clone(), index: raw.index, maps })
}

/// Padding of colours, 8 bits.
const GREY: u8 = 128;

/// The views of every map of one sample.
struct CropView {
    from: (usize, usize),
    placement: Placement,
    full: (usize, usize),
    stride: usize,
}

impl CropView {
    fn map(
        &self,
        raw: &RawMap,
        modality: &DataModality,
        label_padding: Option<i64>,
        recolor: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Map> {
        let (height, width) = self.size();
        let values = match (raw, &modality.encoding) {
            (RawMap::Color(rgb), Encoding::Color { mean, std }) => {
                self.color(rgb, mean, std, recolor)?
            }
            (RawMap::Continuous { channels, data }, _) => {
                self.continuous(*channels, data, modality)?
            }
            (RawMap::Labels(labels), encoding) => {
                let padding = match (label_padding, encoding) {
                    (Some(label), _) => label,
                    (None, Encoding::Labels { classes, .. }) => LabelRule::of(encoding)
                        .and_then(|rule| rule.void())
                        .unwrap_or(*classes as i64),
                    (None, _) => 0,
                };
                Values::Labels(self.labels(labels, modality, padding)?)
            }
            (RawMap::Color(_), _) => {
                return Err(Error::Config(format!("modality `{}` holds colours", modality.name)));
            }
        };
        Ok(Map { height, width, values })
    }

    fn size(&self) -> (usize, usize) {
        (self.full.0 / self.stride, self.full.1 / self.stride)
    }

    /// The part of [`Self::size`] that is no padding.
    fn shown(&self) -> (usize, usize) {
        let (height, width) = self.placement.shown;
        (height.div_ceil(self.stride), width.div_ceil(self.stride))
    }

    fn color(
        &self,
        rgb: &[u8],
        mean: &[f32; 3],
        std: &[f32; 3],
        recolor: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Values> {
        let mut rgb = resize_rgb(rgb, self.from, self.placement.crop, self.shown())?;
        recolor(&mut rgb);
        let mut data = Vec::with_capacity(3 * self.size().0 * self.size().1);
        for channel in 0..3 {
            let table: [f32; 256] =
                std::array::from_fn(|value| (value as f32 / 255.0 - mean[channel]) / std[channel]);
            let values = rgb.as_chunks::<3>().0.iter();
            let mut plane: Vec<f32> =
                values.map(|pixel| table[usize::from(pixel[channel])]).collect();
            self.flip(&mut plane);
            data.append(&mut self.pad(plane, table[usize::from(GREY)]));
        }
        Ok(Values::Continuous { channels: 3, data })
    }

    fn continuous(
        &self,
        channels: usize,
        planes: &[f32],
        modality: &DataModality,
    ) -> Result<Values> {
        let Encoding::Continuous {
            divisor, mean, std, interpolation, standardize, quantity, ..
        } = &modality.encoding
        else {
            return Err(Error::Config(format!("real values for {:?}", modality.encoding)));
        };
        let shown = self.shown().0 * self.shown().1;
        let mut normalised = Vec::with_capacity(channels * shown);
        for (channel, plane) in planes.chunks_exact(self.from.0 * self.from.1).enumerate() {
            let mut plane = self.plane(plane, *interpolation)?;
            let mean = mean.get(channel).copied().unwrap_or(0.0);
            let std = std.get(channel).copied().unwrap_or(1.0);
            // Without random scaling, exactly as stored.
            let divisor = match *quantity == Quantity::Distance && self.placement.zoom != 1.0 {
                true => *divisor * self.placement.zoom as f32,
                false => *divisor,
            };
            plane.iter_mut().for_each(|x| *x = (*x / divisor - mean) / std);
            normalised.append(&mut plane);
        }
        if self.placement.hflip {
            modality.mirror_planes(&mut normalised, shown);
        }
        let mut data = Vec::with_capacity(channels * self.size().0 * self.size().1);
        for plane in normalised.chunks_exact_mut(shown) {
            if *standardize {
                robust_standardize(plane);
            }
            self.flip(plane);
            data.append(&mut self.pad(plane.to_vec(), f32::NAN));
        }
        Ok(Values::Continuous { channels, data })
    }

    fn plane(&self, plane: &[f32], interpolation: Interpolation) -> Result<Vec<f32>> {
        resize_plane(plane, self.from, self.placement.crop, self.shown(), interpolation)
    }

    /// Resized to the full size, flipped, and from there to 1/stride, each to the nearest pixel,
    /// as the published code does: both steps become one choice of rows and columns.
    fn labels(&self, labels: &[i64], modality: &DataModality, padding: i64) -> Result<Vec<i64>> {
        let Placement { crop, hflip, shown, .. } = self.placement;
        let full_rows = nearest_indices(crop.height, shown.0);
        let mut full_columns = nearest_indices(crop.width, shown.1);
        if hflip {
            full_columns.reverse();
        }
        let (height, width) = self.size();
        // Beyond the visible part is padding.
        let pick = |full: &[usize], all: usize, to: usize| -> Vec<usize> {
            let chosen = nearest_indices(all, to).into_iter();
            chosen.map_while(|index| full.get(index).copied()).collect()
        };
        let rows = pick(&full_rows, self.full.0, height);
        let columns = pick(&full_columns, self.full.1, width);
        let mut picked = gather(labels, self.from, crop, &rows, &columns)?;
        if hflip {
            modality.mirror_labels(&mut picked);
        }
        Ok(pad(picked, (rows.len(), columns.len()), (height, width), padding))
    }

    fn flip(&self, plane: &mut [f32]) {
        if self.placement.hflip {
            plane.chunks_exact_mut(self.shown().1).for_each(<[f32]>::reverse);
        }
    }

    fn pad(&self, plane: Vec<f32>, value: f32) -> Vec<f32> {
        pad(plane, self.shown(), self.size(), value)
    }
}

/// A plane of size `from` at the top left of one of size `to`.
fn pad<T: Copy>(plane: Vec<T>, from: (usize, usize), to: (usize, usize), value: T) -> Vec<T> {
    if from == to {
        return plane;
    }
    let mut padded = Vec::with_capacity(to.0 * to.1);
    for row in plane.chunks_exact(from.1.max(1)).take(from.0) {
        padded.extend_from_slice(row);
        padded.extend(std::iter::repeat_n(value, to.1 - from.1));
    }
    padded.resize(to.0 * to.1, value);
    padded
}
