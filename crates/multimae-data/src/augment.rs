//! Joint augmentation: one crop and one flip for all modalities of a sample (MultiMAE, section 4.1).

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::resize::CropBox;
use crate::{Error, Result};

/// Draws of a crop before the fallback.
const ATTEMPTS: usize = 10;

/// The part of an image that becomes a sample, and the size of the sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Geometry {
    /// A random crop, resized, perhaps flipped: for training. The rules are torchvision's: up to
    /// ten draws of an area and an aspect ratio until a crop fits, then the central crop of the
    /// nearest aspect ratio.
    RandomResizedCrop {
        /// Smallest and largest area of the crop, as a share of the image.
        scale: (f64, f64),
        /// Smallest and largest aspect ratio (width to height) of the crop, relative to that of
        /// `size`; for a square size these are plain aspect ratios. Drawn log-uniformly.
        ratio: (f64, f64),
        /// Probability of a horizontal flip.
        hflip: f64,
        /// Height and width of the result.
        size: (usize, usize),
    },
    /// The largest centred crop with the aspect ratio of `size`, resized: for evaluation.
    CenterFit {
        /// Height and width of the result.
        size: (usize, usize),
    },
    /// The centre of [`Self::CenterFit`], both sides shortened to a share: evaluation of
    /// classifiers.
    CenterCrop {
        /// Height and width of the result.
        size: (usize, usize),
        /// Share of the sides of the largest centred crop that is kept, in `(0, 1]`.
        share: f64,
    },
    /// The whole image as large as it fits into `size`, at the top left; the rest is padding.
    Inside {
        /// Height and width of the result.
        size: (usize, usize),
    },
    /// The image brought to `size`, enlarged or reduced by a random factor, perhaps flipped, and
    /// cropped at random or padded at the bottom and on the right: for training of dense
    /// predictions. With `base: inside` and factors of 0.1 to 2 this is large-scale jitter.
    ScaleJitter {
        /// Height and width of the result.
        size: (usize, usize),
        /// The size that a factor of 1 refers to.
        base: Base,
        /// Smallest and largest factor, drawn uniformly.
        zoom: (f64, f64),
        /// Probability of a horizontal flip.
        hflip: f64,
    },
}

/// The resizing of an image to a size of another aspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// All of it is in the result, as in [`Geometry::Inside`].
    Inside,
    /// It covers the result, as in [`Geometry::CenterFit`].
    Cover,
}

/// The part of one image that becomes a sample: first crop, then resize, then flip, then pad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// The crop, inside the image.
    pub crop: CropBox,
    /// Flip left and right.
    pub hflip: bool,
    /// Height and width of the part of the result that shows the crop, at the top left. The rest
    /// is padding.
    pub shown: (usize, usize),
    /// The zoom: the magnification of the content compared with the sample without random scaling.
    /// A zoomed image brings its content nearer, so distances are divided by it.
    pub zoom: f64,
}

impl Geometry {
    /// Height and width of the result.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        match *self {
            Self::RandomResizedCrop { size, .. }
            | Self::CenterFit { size }
            | Self::CenterCrop { size, .. }
            | Self::Inside { size }
            | Self::ScaleJitter { size, .. } => size,
        }
    }

    /// Chooses the part of an image of `height` x `width` pixels. The image must not be empty.
    pub fn place(&self, height: usize, width: usize, rng: &mut dyn Rng) -> Placement {
        match *self {
            Self::RandomResizedCrop { scale, ratio, hflip, size } => {
                let hflip = rng.random::<f64>() < hflip;
                let aspect = size.1 as f64 / size.0 as f64;
                let ratio = (ratio.0 * aspect, ratio.1 * aspect);
                let crop = random_crop((height, width), scale, ratio, rng)
                    .unwrap_or_else(|| central_crop((height, width), ratio));
                Placement { crop, hflip, shown: size, zoom: 1.0 }
            }
            Self::CenterFit { size } => Self::centred((height, width), size, 1.0),
            Self::CenterCrop { size, share } => Self::centred((height, width), size, share),
            Self::Inside { size } => {
                let crop = CropBox::whole((height, width));
                let factor = base_factor(Base::Inside, (height, width), size);
                let shown = (scaled(height, factor, size.0), scaled(width, factor, size.1));
                Placement { crop, hflip: false, shown, zoom: 1.0 }
            }
            Self::ScaleJitter { size, base, zoom, hflip } => {
                let hflip = rng.random::<f64>() < hflip;
                let zoom = rng.random_range(zoom.0..=zoom.1);
                let factor = zoom * base_factor(base, (height, width), size);
                let (top, rows, shown_rows) = window(height, factor, size.0, rng);
                let (left, columns, shown_columns) = window(width, factor, size.1, rng);
                let crop = CropBox { top, left, height: rows, width: columns };
                Placement { crop, hflip, shown: (shown_rows, shown_columns), zoom }
            }
        }
    }

    fn centred(image: (usize, usize), size: (usize, usize), share: f64) -> Placement {
        let aspect = size.1 as f64 / size.0 as f64;
        let full = central_crop(image, (aspect, aspect));
        let side = |pixels: usize| scaled(pixels, share, pixels);
        let (height, width) = (side(full.height), side(full.width));
        let crop = CropBox {
            top: full.top + (full.height - height) / 2,
            left: full.left + (full.width - width) / 2,
            height,
            width,
        };
        Placement { crop, hflip: false, shown: size, zoom: 1.0 }
    }

    /// Checks that the geometry makes sense.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<()> {
        let problem = |problem: String| Err(Error::Config(format!("geometry: {problem}")));
        let (height, width) = self.size();
        if height == 0 || width == 0 {
            return problem(format!("size {height} x {width} must not be zero"));
        }
        let flips = match *self {
            Self::RandomResizedCrop { hflip, .. } | Self::ScaleJitter { hflip, .. } => hflip,
            _ => 0.0,
        };
        if !(0.0..=1.0).contains(&flips) {
            return problem(format!("hflip {flips} must be a probability"));
        }
        match *self {
            Self::CenterCrop { share, .. } if !(share > 0.0 && share <= 1.0) => {
                return problem(format!("share {share} must be in (0, 1]"));
            }
            Self::ScaleJitter { zoom: (low, high), .. }
                if !(low > 0.0 && low <= high && high.is_finite()) =>
            {
                return problem(format!(
                    "zoom {:?} must be (low, high) with 0 < low <= high",
                    (low, high)
                ));
            }
            _ => {}
        }
        let Self::RandomResizedCrop { scale, ratio, .. } = *self else { return Ok(()) };
        if !(scale.0 > 0.0 && scale.0 <= scale.1 && scale.1 <= 1.0) {
            return problem(format!(
                "scale {scale:?} must be (low, high) with 0 < low <= high <= 1"
            ));
        }
        if !(ratio.0 > 0.0 && ratio.0 <= ratio.1 && ratio.1.is_finite()) {
            return problem(format!("ratio {ratio:?} must be (low, high) with 0 < low <= high"));
        }
        Ok(())
    }
}

/// The factor that brings an image to a size.
fn base_factor(base: Base, image: (usize, usize), size: (usize, usize)) -> f64 {
    let (rows, columns) = (size.0 as f64 / image.0 as f64, size.1 as f64 / image.1 as f64);
    match base {
        Base::Inside => rows.min(columns),
        Base::Cover => rows.max(columns),
    }
}

/// A scaled number of pixels, at least one and at most `most`.
fn scaled(pixels: usize, factor: f64, most: usize) -> usize {
    ((pixels as f64 * factor).round_ties_even() as usize).clamp(1, most.max(1))
}

/// Along one side: the first pixel and the number of pixels of the crop, and the pixels of the
/// result that show them. A crop that does not fit is chosen at random.
fn window(pixels: usize, factor: f64, size: usize, rng: &mut dyn Rng) -> (usize, usize, usize) {
    // The same number of draws whatever comes out.
    let draw = rng.random::<f64>();
    let cropped = (size as f64 / factor).round_ties_even().max(1.0) as usize;
    if cropped >= pixels {
        return (0, pixels, scaled(pixels, factor, size));
    }
    let places = pixels - cropped + 1;
    let first = ((draw * places as f64) as usize).min(places - 1);
    (first, cropped, size)
}

/// A crop of random area, aspect ratio and place, if one of the draws fits.
fn random_crop(
    (height, width): (usize, usize),
    scale: (f64, f64),
    ratio: (f64, f64),
    rng: &mut dyn Rng,
) -> Option<CropBox> {
    let area = (height * width) as f64;
    for _ in 0..ATTEMPTS {
        let target = area * rng.random_range(scale.0..=scale.1);
        let ratio = rng.random_range(ratio.0.ln()..=ratio.1.ln()).exp();
        let w = (target * ratio).sqrt().round_ties_even() as usize;
        let h = (target / ratio).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let top = rng.random_range(0..=height - h);
            let left = rng.random_range(0..=width - w);
            return Some(CropBox { top, left, height: h, width: w });
        }
    }
    None
}

/// The largest centred crop whose aspect ratio is within the given ones.
fn central_crop((height, width): (usize, usize), ratio: (f64, f64)) -> CropBox {
    let aspect = width as f64 / height as f64;
    let side = |pixels: f64, most: usize| (pixels.round_ties_even() as usize).clamp(1, most);
    let (h, w) = if aspect < ratio.0 {
        (side(width as f64 / ratio.0, height), width)
    } else if aspect > ratio.1 {
        (height, side(height as f64 * ratio.1, width))
    } else {
        (height, width)
    };
    CropBox { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn crops_are_inside_the_image(
            height in 1_usize..700,
            width in 1_usize..700,
            size in (1_usize..300, 1_usize..300),
            low in 0.001_f64..1.0,
            ratio in 0.05_f64..1.0,
            seed: u64,
        ) {
            let ratio = (ratio, 1.0 / ratio);
            let random =
                Geometry::RandomResizedCrop { scale: (low, 1.0), ratio, hflip: 0.5, size };
            let jitter = |base| Geometry::ScaleJitter { size, base, zoom: (0.1, 2.0), hflip: 0.5 };
            let geometries = [
                random,
                Geometry::CenterFit { size },
                Geometry::CenterCrop { size, share: low },
                Geometry::Inside { size },
                jitter(Base::Inside),
                jitter(Base::Cover),
            ];
            for geometry in geometries {
                prop_assert!(geometry.check().is_ok());
                let placement = geometry.place(height, width, &mut stream(seed, "test", 0, 0));
                let (crop, shown) = (placement.crop, placement.shown);
                prop_assert!((1..=size.0).contains(&shown.0) && (1..=size.1).contains(&shown.1));
                prop_assert!(crop.height >= 1 && crop.top + crop.height <= height);
                prop_assert!(crop.width >= 1 && crop.left + crop.width <= width);
            }
        }
    }

    proptest! {
        #[test]
        fn images_of_any_shape_are_placed_within_bounds(
            short in 1_usize..=2000,
            stretch in 1.0..1e4_f64,
            portrait: bool,
            size in (1_usize..700, 1_usize..700),
            zoom in 0.05..2.0_f64,
            seed: u64,
        ) {
            let long = ((short as f64 * stretch) as usize).clamp(short, 20_000);
            let (height, width) = if portrait { (long, short) } else { (short, long) };
            let (ratio, zoom) = ((0.75, 4.0 / 3.0), (zoom, 2.0));
            for geometry in [
                Geometry::RandomResizedCrop { scale: (0.2, 1.0), ratio, hflip: 0.5, size },
                Geometry::CenterFit { size },
                Geometry::CenterCrop { size, share: 0.9 },
                Geometry::Inside { size },
                Geometry::ScaleJitter { size, base: Base::Inside, zoom, hflip: 0.5 },
                Geometry::ScaleJitter { size, base: Base::Cover, zoom, hflip: 0.5 },
            ] {
                let placement = geometry.place(height, width, &mut stream(seed, "test", 0, 0));
                let (crop, shown) = (placement.crop, placement.shown);
                prop_assert!((1..=size.0).contains(&shown.0) && (1..=size.1).contains(&shown.1));
                prop_assert!(crop.height >= 1 && crop.top + crop.height <= height);
                prop_assert!(crop.width >= 1 && crop.left + crop.width <= width);
                // The first pass of resizing needs no more than the image or the result do.
                let between = crop.height * shown.1;
                prop_assert!(between <= height * width.max(size.1), "{between}");
            }
        }
    }

    fn places(size: (usize, usize)) -> Vec<Placement> {
        let (scale, ratio) = ((0.2, 1.0), (0.75, 4.0 / 3.0));
        let geometry = Geometry::RandomResizedCrop { scale, ratio, hflip: 0.5, size };
        let mut rng = stream(1, "test", 0, 0);
        (0..4000).map(|_| geometry.place(240, 320, &mut rng)).collect()
    }

    fn mean(values: impl Iterator<Item = f64>) -> f64 {
        let values: Vec<f64> = values.collect();
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn area_ratio_and_flips_are_as_asked_for() {
        for (size, aspect) in [((224, 224), 1.0_f64), ((96, 128), 4.0 / 3.0)] {
            let places = places(size);
            let ratios = places.iter().map(|p| p.crop.width as f64 / p.crop.height as f64);
            let logs: Vec<f64> = ratios.map(|ratio| (ratio / aspect).ln()).collect();
            assert!(logs.iter().all(|log| log.abs() < (4.0_f64 / 3.0).ln() + 0.02));
            assert!(mean(logs.into_iter()).abs() < 0.05);
            let areas = || places.iter().map(|p| (p.crop.width * p.crop.height) as f64 / 76800.0);
            assert!(areas().all(|area| (0.19..=1.0).contains(&area)));
            assert!((0.5..0.62).contains(&mean(areas())));
            let flips = mean(places.iter().map(|p| f64::from(u8::from(p.hflip))));
            assert!((flips - 0.5).abs() < 0.04, "{flips}");
        }
    }

    #[test]
    fn without_a_fitting_crop_the_centre_is_taken() {
        let (scale, ratio) = ((1.0, 1.0), (0.75, 4.0 / 3.0));
        let size = (32, 32);
        let geometry = Geometry::RandomResizedCrop { scale, ratio, hflip: 0.0, size };
        let wide = geometry.place(30, 300, &mut stream(0, "test", 0, 0));
        assert_eq!(wide.crop, CropBox { top: 0, left: 130, height: 30, width: 40 });
        let high = geometry.place(300, 30, &mut stream(0, "test", 0, 0));
        assert_eq!(high.crop, CropBox { top: 130, left: 0, height: 40, width: 30 });
        assert!(!wide.hflip);
    }

    #[test]
    fn evaluation_sees_the_centre() {
        let place = |size| Geometry::CenterFit { size }.place(240, 320, &mut stream(0, "", 0, 0));
        let square = CropBox { top: 0, left: 40, height: 240, width: 240 };
        let expected = Placement { crop: square, hflip: false, shown: (64, 64), zoom: 1.0 };
        assert_eq!(place((64, 64)), expected);
        assert_eq!(place((96, 128)).crop, CropBox::whole((240, 320)));
        assert_eq!(place((64, 128)).crop, CropBox { top: 40, left: 0, height: 160, width: 320 });
    }

    #[test]
    fn all_of_an_image_fits_inside() {
        let place = Geometry::Inside { size: (64, 64) }.place(240, 320, &mut stream(0, "", 0, 0));
        assert_eq!(place.crop, CropBox::whole((240, 320)));
        assert_eq!(place.shown, (48, 64));
        let share = Geometry::CenterCrop { size: (64, 64), share: 0.5 };
        let place = share.place(240, 320, &mut stream(0, "", 0, 0));
        assert_eq!(place.crop, CropBox { top: 60, left: 100, height: 120, width: 120 });
    }

    #[test]
    fn scale_jitter_crops_what_is_large_and_pads_what_is_small() {
        let jitter = |zoom| Geometry::ScaleJitter {
            size: (96, 128),
            base: Base::Inside,
            zoom: (zoom, zoom),
            hflip: 0.0,
        };
        let mut rng = stream(3, "test", 0, 0);
        let small = jitter(0.5).place(240, 320, &mut rng);
        assert_eq!((small.crop, small.shown), (CropBox::whole((240, 320)), (48, 64)));
        let large = jitter(2.0).place(240, 320, &mut rng);
        assert_eq!((large.crop.height, large.crop.width), (120, 160));
        assert_eq!((large.shown, large.zoom), ((96, 128), 2.0));
        let tops: Vec<usize> =
            (0..5000).map(|_| jitter(2.0).place(240, 320, &mut rng).crop.top).collect();
        assert!(tops.contains(&0) && tops.contains(&120));
        // A square covers itself and shows a part of the frame.
        let cover = Geometry::ScaleJitter {
            size: (64, 64),
            base: Base::Cover,
            zoom: (1.0, 1.0),
            hflip: 1.0,
        };
        let place = cover.place(240, 320, &mut rng);
        assert_eq!((place.crop.height, place.crop.width, place.shown), (240, 240, (64, 64)));
        assert!(place.hflip);
    }

    #[test]
    fn impossible_geometries_are_refused() {
        let geometry = |scale, ratio, hflip, size| {
            Geometry::RandomResizedCrop { scale, ratio, hflip, size }.check().is_err()
        };
        assert!(geometry((0.0, 1.0), (1.0, 1.0), 0.5, (4, 4)));
        assert!(geometry((0.5, 0.2), (1.0, 1.0), 0.5, (4, 4)));
        assert!(geometry((0.2, f64::NAN), (1.0, 1.0), 0.5, (4, 4)));
        assert!(geometry((0.2, 1.0), (2.0, 1.0), 0.5, (4, 4)));
        assert!(geometry((0.2, 1.0), (1.0, 1.0), 1.5, (4, 4)));
        assert!(geometry((0.2, 1.0), (1.0, 1.0), 0.5, (0, 4)));
        assert!(Geometry::CenterFit { size: (4, 0) }.check().is_err());
    }
}
