//! The copy of MTAN (Liu et al., CVPR 2019) for 13 classes: arrays of 288 x 384 in folders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::files::{has_file, names, number, shown};
use super::npy::NpyArray;
use super::{
    Classes, CopyFacts, CopyFrame, CopyMaps, Error, FrameId, NyuCopy, OpenCopy, Problem,
    ReadFrames, Result, values,
};

/// Its folders, which are its lists.
const LISTS: [&str; 2] = ["train", "val"];
/// The folders of the maps that are read. The fourth, `normal`, is not.
const MAPS: [&str; 3] = ["image", "label", "depth"];
const EXTENSION: &str = ".npy";
/// Height and width of its frames.
pub(super) const SIZE: (usize, usize) = (288, 384);
/// The form of its depth.
pub(super) const DEPTH: &str =
    "32-bit floats, metres, of frames reduced to 384 x 288; written as the nearest millimetre";

/// The copy of MTAN.
#[derive(Debug)]
pub(super) struct Mtan;

impl NyuCopy for Mtan {
    fn title(&self) -> &'static str {
        "NYU Depth V2, the copy of MTAN (13 classes, 384 x 288, .npy files)"
    }

    fn layout(&self) -> &'static str {
        "a folder with {train,val}/{image,label,depth,normal}/N.npy"
    }

    fn recognises(&self, path: &Path) -> bool {
        let is_frame = |name: &str| number(name, "", EXTENSION).is_some();
        let has_maps = |list: &Path| MAPS.iter().all(|map| has_file(&list.join(map), is_frame));
        LISTS.iter().any(|list| has_maps(&path.join(list)))
    }

    fn open(&self, path: &Path) -> Result<OpenCopy> {
        let mut frames = Vec::new();
        let mut stored = Vec::new();
        for list in LISTS {
            for number in numbers(path, list)? {
                let file =
                    |map: &str| Path::new(list).join(map).join(format!("{number}{EXTENSION}"));
                let files = MAPS.map(file);
                frames.push(CopyFrame {
                    id: FrameId::Own(format!("{list}_{number:0>4}")),
                    list,
                    scene: String::new(),
                    scene_type: String::new(),
                    source: shown(&files[0]),
                });
                stored.push(files);
            }
        }
        let facts = facts();
        let files = stored.iter().flatten().cloned().collect();
        let reader = Reader { root: path.to_owned(), files: stored };
        Ok(OpenCopy { frames, files, facts, reader: Box::new(reader) })
    }
}

/// The facts about this copy, in whatever files it is kept.
pub(super) fn facts() -> CopyFacts {
    CopyFacts {
        size: SIZE,
        depth: DEPTH.to_owned(),
        classes: Some(Classes::Thirteen),
        region: None,
        notes: vec![
            "labels are those of 13 classes: -1 to 12 in the copy become 0 (void) to 13".to_owned(),
            "the copy does not state the official ids of its frames; its `train` and `val` are as \
             large as the official training and test splits, 795 and 654, if it is whole"
                .to_owned(),
            "surface normals of this copy are not written".to_owned(),
        ],
    }
}

/// The numbers of the frames of a list, in the order of the numbers.
fn numbers(root: &Path, list: &str) -> Result<Vec<String>> {
    let of = |map: &&str| -> Result<BTreeSet<String>> {
        let folder = root.join(list).join(map);
        let names = if folder.is_dir() { names(&folder)? } else { Vec::new() };
        let numbers = names.iter().filter_map(|name| number(name, "", EXTENSION));
        Ok(numbers.map(str::to_owned).collect())
    };
    let found = MAPS.iter().map(of).collect::<Result<Vec<_>>>()?;
    let all: BTreeSet<String> = found.iter().flatten().cloned().collect();
    for (map, numbers) in MAPS.iter().zip(&found) {
        if let Some(number) = all.difference(numbers).next() {
            let path = root.join(list).join(map).join(format!("{number}{EXTENSION}"));
            let problem = "it is missing, and another map of the same frame is there";
            return Err(Error::Input { path, problem: problem.to_owned() });
        }
    }
    let mut numbers: Vec<String> = all.into_iter().collect();
    numbers.sort_by_key(|number| number.len());
    Ok(numbers)
}

#[derive(Debug)]
struct Reader {
    root: PathBuf,
    /// Of every frame, in the order of [`MAPS`].
    files: Vec<[PathBuf; 3]>,
}

impl ReadFrames for Reader {
    fn read(&self, index: usize) -> Result<CopyMaps, Problem> {
        let Some(files) = self.files.get(index) else {
            return Err(Problem::of(&self.root)(format!("there is no frame {index}")));
        };
        let (height, width) = SIZE;
        let [image, label, depth] = files.each_ref().map(|file| self.root.join(file));
        let rgb = array(&image, &[&[height, width, 3]])?;
        let labels = array(&label, &[&[height, width], &[height, width, 1]])?;
        let metres = array(&depth, &[&[height, width, 1], &[height, width], &[1, height, width]])?;
        let convert = if rgb.holds_integers() { values::byte_colors } else { values::unit_colors };
        let rgb = convert(&rgb.all()?, width).map_err(Problem::of(&image))?;
        let labels =
            values::thirteen_from_zero(&labels.all()?, width).map_err(Problem::of(&label))?;
        let depth = values::metres(&metres.all()?, width).map_err(Problem::of(&depth))?;
        Ok(CopyMaps { rgb, depth, labels: Some(labels) })
    }
}

/// Opens an array of one of these shapes.
fn array(path: &Path, shapes: &[&[usize]]) -> Result<NpyArray, Problem> {
    let array = NpyArray::open(path)?;
    if shapes.contains(&array.shape()) {
        return Ok(array);
    }
    let problem = format!("it has the shape {:?}, expected {:?}", array.shape(), shapes[0]);
    Err(Problem::of(path)(problem))
}
