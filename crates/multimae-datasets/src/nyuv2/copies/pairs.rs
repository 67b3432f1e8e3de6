//! Frames of two pictures: colours, and depth as a grey PNG.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use png::BitDepth;

use super::files::{colors, grey_png, names, number};
use super::{CopyMaps, Problem, ReadFrames, values};

/// The form of stored depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DepthForm {
    /// 16 bits, millimetres.
    Millimetres,
    /// 8 bits, 10 m at 255.
    CodesOfTenMetres,
}

/// The two files of a frame, below the folder of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) colors: PathBuf,
    pub(super) depth: PathBuf,
    pub(super) form: DepthForm,
}

/// Frames of two pictures.
#[derive(Debug)]
pub(super) struct Pairs {
    pub(super) root: PathBuf,
    pub(super) pairs: Vec<Pair>,
}

impl Pairs {
    /// All files, below the folder of the copy.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.pairs.iter().flat_map(|pair| [pair.colors.clone(), pair.depth.clone()]).collect()
    }
}

impl ReadFrames for Pairs {
    fn read(&self, index: usize) -> Result<CopyMaps, Problem> {
        let Some(pair) = self.pairs.get(index) else {
            return Err(Problem::of(&self.root)(format!("there is no frame {index}")));
        };
        let path = self.root.join(&pair.colors);
        let rgb = colors(&path)?;
        values::check_full_size(rgb.size).map_err(Problem::of(&path))?;
        let depth = self.root.join(&pair.depth);
        let depth = read_depth(&depth, pair.form)?;
        Ok(CopyMaps { rgb: rgb.values, depth, labels: None, normals: None })
    }
}

fn read_depth(path: &Path, form: DepthForm) -> Result<Vec<u16>, Problem> {
    let (bits, meaning): (_, &str) = match form {
        DepthForm::Millimetres => (BitDepth::Sixteen, "depths in millimetres of this copy"),
        DepthForm::CodesOfTenMetres => {
            (BitDepth::Eight, "training depths of this copy, 10 m at 255,")
        }
    };
    let stored = grey_png(path, bits, meaning)?;
    values::check_full_size(stored.size).map_err(Problem::of(path))?;
    let width = stored.size.1;
    let depth = match form {
        DepthForm::Millimetres => values::whole_millimetres(&stored.values, width),
        DepthForm::CodesOfTenMetres => values::codes_of_ten_metres(&stored.values, width),
    };
    depth.map_err(Problem::of(path))
}

/// Before and behind the number of a frame's colours in the copies of BTS.
pub(super) const BTS_COLORS: (&str, &str) = ("rgb_", ".jpg");
/// Before and behind the number of a frame's depth in the copies of BTS.
pub(super) const BTS_DEPTH: (&str, &str) = ("sync_depth_", ".png");

/// The numbers of the frames in a folder of BTS.
pub(super) struct BtsNumbers {
    /// Of frames with both files, in rising order.
    pub(super) paired: Vec<String>,
    /// The names of files without a partner.
    pub(super) unpaired: Vec<String>,
}

/// The two files of a frame of BTS.
pub(super) fn bts_pair(folder: &Path, number: &str) -> Pair {
    let file = |(before, behind): (&str, &str)| folder.join(format!("{before}{number}{behind}"));
    Pair { colors: file(BTS_COLORS), depth: file(BTS_DEPTH), form: DepthForm::Millimetres }
}

/// Pairs the files in a folder of BTS by their numbers.
///
/// # Errors
/// If the folder cannot be read.
pub(super) fn bts_numbers(folder: &Path) -> std::io::Result<BtsNumbers> {
    let names = names(folder)?;
    let of = |(before, behind): (&str, &str)| -> BTreeSet<&str> {
        names.iter().filter_map(|name| number(name, before, behind)).collect()
    };
    let (colors, depths) = (of(BTS_COLORS), of(BTS_DEPTH));
    let paired = colors.intersection(&depths).map(|&number| number.to_owned()).collect();
    let name = |(before, behind): (&str, &str), number: &&str| format!("{before}{number}{behind}");
    let without_depth = colors.difference(&depths).map(|number| name(BTS_COLORS, number));
    let without_colors = depths.difference(&colors).map(|number| name(BTS_DEPTH, number));
    Ok(BtsNumbers { paired, unpaired: without_depth.chain(without_colors).collect() })
}
