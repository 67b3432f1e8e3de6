//! The test frames of DenseDepth, `nyu_test.zip`: all frames in one array per map.

use std::path::{Path, PathBuf};

use super::npy::NpyArray;
use super::{
    CopyFacts, CopyFrame, CopyMaps, Error, FULL_SIZE, FrameId, NyuCopy, OpenCopy, Problem,
    ReadFrames, Region, Result, values,
};
use crate::nyuv2::frame::MAX_DEPTH;

const RGB: &str = "eigen_test_rgb.npy";
const DEPTH: &str = "eigen_test_depth.npy";
const CROP: &str = "eigen_test_crop.npy";
/// Frames of which the unit of depth is found.
const LOOKED_AT: usize = 32;

/// The test frames of DenseDepth.
#[derive(Debug)]
pub(super) struct EigenTest;

impl NyuCopy for EigenTest {
    fn title(&self) -> &'static str {
        "NYU Depth V2, the test arrays of DenseDepth (nyu_test.zip)"
    }

    fn layout(&self) -> &'static str {
        "a folder with eigen_test_rgb.npy, eigen_test_depth.npy and perhaps eigen_test_crop.npy"
    }

    fn recognises(&self, path: &Path) -> bool {
        [RGB, DEPTH].iter().all(|name| path.join(name).is_file())
    }

    fn open(&self, path: &Path) -> Result<OpenCopy> {
        let (rgb, depth) = (array(path, RGB, &[3])?, array(path, DEPTH, &[])?);
        let frames = rgb.shape()[0];
        if depth.shape()[0] != frames {
            let problem = format!("it has {} frames, and {RGB} has {frames}", depth.shape()[0]);
            return Err(Error::Input { path: path.join(DEPTH), problem });
        }
        let unit = Unit::of(&depth).map_err(Problem::input)?;
        let region = region(&path.join(CROP))?;
        let mut files = vec![PathBuf::from(RGB), PathBuf::from(DEPTH)];
        files.extend(region.is_some().then(|| PathBuf::from(CROP)));
        let facts = CopyFacts {
            size: FULL_SIZE,
            depth: format!("floats, {}, written as the nearest millimetre", unit.words()),
            classes: None,
            normals: None,
            region,
            notes: vec![
                format!("its depths are taken for {}, by their values", unit.words()),
                "it does not state the official ids of its frames; if it is whole, they are as \
                 many as in the official test split, 654"
                    .to_owned(),
            ],
        };
        let frame = |index: usize| CopyFrame {
            id: FrameId::Own(format!("eigen_{index:04}")),
            list: "test",
            scene: String::new(),
            scene_type: String::new(),
            source: format!("{RGB}[{index}]"),
        };
        let path = path.to_owned();
        let reader = Reader { path, rgb, depth, unit };
        let frames = (0..frames).map(frame).collect();
        Ok(OpenCopy { frames, files, facts, reader: Box::new(reader) })
    }
}

/// Opens an array `(frames, H, W, ...)`.
fn array(root: &Path, name: &str, last: &[usize]) -> Result<NpyArray> {
    let path = root.join(name);
    let array = NpyArray::open(&path).map_err(Problem::input)?;
    let (height, width) = FULL_SIZE;
    let expected = [&[height, width], last].concat();
    if array.shape().split_first().is_some_and(|(&count, rest)| count > 0 && rest == expected) {
        return Ok(array);
    }
    let problem = format!("it has the shape {:?}, expected frames of {expected:?}", array.shape());
    Err(Error::Input { path, problem })
}

/// The unit of depth. Published code and descriptions disagree, so the values decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Metres,
    TenMetres,
}

impl Unit {
    /// Tens of metres if no value of frames from all over the array is above 1: rooms are deeper
    /// than a metre.
    fn of(depth: &NpyArray) -> Result<Self, Problem> {
        let frames = depth.shape()[0];
        let step = frames.div_ceil(LOOKED_AT).max(1);
        for index in (0..frames).step_by(step) {
            if depth.item(index)?.iter().any(|&value| value > 1.0) {
                return Ok(Self::Metres);
            }
        }
        Ok(Self::TenMetres)
    }

    fn words(self) -> &'static str {
        match self {
            Self::Metres => "metres",
            Self::TenMetres => "tens of metres",
        }
    }
}

/// The part of the frames inside of the bounds of `eigen_test_crop.npy`: first and last row, first
/// and last column, from 0 and inclusive. None if there is no such file.
fn region(path: &Path) -> Result<Option<Region>> {
    if !path.is_file() {
        return Ok(None);
    }
    let bounds = NpyArray::open(path).and_then(|bounds| bounds.all()).map_err(Problem::input)?;
    let (height, width) = FULL_SIZE;
    let range = |first: f32, last: f32, side: usize| {
        let whole = first >= 0.0 && first <= last && last < side as f32;
        let whole = whole && first.fract() == 0.0 && last.fract() == 0.0;
        whole.then_some(first as usize..last as usize + 1)
    };
    let region = match bounds[..] {
        [top, bottom, left, right] => range(top, bottom, height).zip(range(left, right, width)),
        _ => None,
    };
    let Some((rows, columns)) = region else {
        let problem = format!(
            "it holds {bounds:?}, expected first and last row, first and last column of {width} x \
             {height} pixels; remove it to use whole frames"
        );
        return Err(Error::Input { path: path.to_owned(), problem });
    };
    Ok(Some(Region { rows, columns, reason: "the bounds in eigen_test_crop.npy" }))
}

#[derive(Debug)]
struct Reader {
    path: PathBuf,
    rgb: NpyArray,
    depth: NpyArray,
    unit: Unit,
}

impl ReadFrames for Reader {
    fn read(&self, index: usize) -> Result<CopyMaps, Problem> {
        let width = FULL_SIZE.1;
        let rgb = values::byte_colors(&self.rgb.item(index)?, width)
            .map_err(Problem::of(&self.path.join(RGB)))?;
        let mut depth = self.depth.item(index)?;
        if self.unit == Unit::TenMetres {
            depth.iter_mut().for_each(|value| *value *= MAX_DEPTH);
        }
        let depth = values::metres(&depth, width).map_err(Problem::of(&self.path.join(DEPTH)))?;
        Ok(CopyMaps { rgb, depth, labels: None, normals: None })
    }
}
