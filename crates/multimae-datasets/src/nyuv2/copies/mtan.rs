//! The copy of MTAN (Liu et al., CVPR 2019) for 13 classes: arrays of 288 x 384 in folders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::files::{has_file, names, number, shown};
use super::npy::NpyArray;
use super::{
    Classes, CopyFacts, CopyFrame, CopyMaps, Error, FrameId, NyuCopy, OpenCopy, Problem,
    ReadFrames, Result, normals, values,
};

/// Its folders, which are its lists.
const LISTS: [&str; 2] = ["train", "val"];
/// The folders of the maps that every copy has.
const MAPS: [&str; 3] = ["image", "label", "depth"];
/// The folder of surface normals, which may be left out.
const NORMALS: &str = "normal";
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
        let has_maps = |list: &Path| MAPS.iter().all(|map| has_file(&list.join(map), is_frame));
        LISTS.iter().any(|list| has_maps(&path.join(list)))
    }

    fn open(&self, path: &Path) -> Result<OpenCopy> {
        let normals = LISTS.iter().any(|list| has_file(&path.join(list).join(NORMALS), is_frame));
        let maps = || MAPS.into_iter().chain(normals.then_some(NORMALS));
        let mut frames = Vec::new();
        let mut stored = Vec::new();
        for list in LISTS {
            for number in numbers(path, list, maps())? {
                let file =
                    |map: &str| Path::new(list).join(map).join(format!("{number}{EXTENSION}"));
                let files: Vec<PathBuf> = maps().map(file).collect();
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
        let facts = facts(normals);
        let files = stored.iter().flatten().cloned().collect();
        let reader = Reader { root: path.to_owned(), files: stored };
        Ok(OpenCopy { frames, files, facts, reader: Box::new(reader) })
    }
}

/// Whether a name is that of an array of a frame.
fn is_frame(name: &str) -> bool {
    number(name, "", EXTENSION).is_some()
}

/// The facts about this copy, in whatever files it is kept, with or without surface normals.
pub(super) fn facts(normals: bool) -> CopyFacts {
    let note = if normals { normals::NOTE } else { "this copy has no surface normals" };
    CopyFacts {
        size: SIZE,
        depth: DEPTH.to_owned(),
        classes: Some(Classes::Thirteen),
        normals: normals.then_some(normals::AS_STORED),
        region: None,
        notes: vec![
            "labels are those of 13 classes: -1 to 12 in the copy become 0 (void) to 13".to_owned(),
            "the copy does not state the official ids of its frames; its `train` and `val` are as \
             large as the official training and test splits, 795 and 654, if it is whole"
                .to_owned(),
            note.to_owned(),
        ],
    }
}

/// The numbers of the frames of a list that has these maps, in the order of the numbers.
fn numbers<'a>(
    root: &Path,
    list: &str,
    maps: impl Iterator<Item = &'a str> + Clone,
) -> Result<Vec<String>> {
    let of = |map: &str| -> Result<BTreeSet<String>> {
        let folder = root.join(list).join(map);
        let names = if folder.is_dir() { names(&folder)? } else { Vec::new() };
        let numbers = names.iter().filter_map(|name| number(name, "", EXTENSION));
        Ok(numbers.map(str::to_owned).collect())
    };
    let found = maps.clone().map(of).collect::<Result<Vec<_>>>()?;
    let all: BTreeSet<String> = found.iter().flatten().cloned().collect();
    for (map, numbers) in maps.zip(&found) {
        if let Some(number) = all.difference(numbers).next() {
            let path = root.join(list).join(map).join(format!("{number}{EXTENSION}"));
            let problem = "it is missing, and another map of the same frame is there; copy it, or \
                           remove the folder of its map if that is `normal`";
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
    /// Of every frame, in the order of [`MAPS`]; that of normals is the last, if there is one.
    files: Vec<Vec<PathBuf>>,
}

impl ReadFrames for Reader {
    fn read(&self, index: usize) -> Result<CopyMaps, Problem> {
        let Some([image, label, depth, normal @ ..]) = self.files.get(index).map(Vec::as_slice)
        else {
            return Err(Problem::of(&self.root)(format!("there is no frame {index}")));
        };
        let (height, width) = SIZE;
        let [image, label, depth] = [image, label, depth].map(|file| self.root.join(file));
        let rgb = array(&image, &[&[height, width, 3]])?;
        let labels = array(&label, &[&[height, width], &[height, width, 1]])?;
        let metres = array(&depth, &[&[height, width, 1], &[height, width], &[1, height, width]])?;
        let convert = if rgb.holds_integers() { values::byte_colors } else { values::unit_colors };
        let rgb = convert(&rgb.all()?, width).map_err(Problem::of(&image))?;
        let labels =
            values::thirteen_from_zero(&labels.all()?, width).map_err(Problem::of(&label))?;
        let depth = values::metres(&metres.all()?, width).map_err(Problem::of(&depth))?;
        let normals = normal.first().map(|file| self.normals(&self.root.join(file))).transpose()?;
        Ok(CopyMaps { rgb, depth, labels: Some(labels), normals })
    }
}

impl Reader {
    fn normals(&self, path: &Path) -> Result<Vec<u8>, Problem> {
        let (height, width) = SIZE;
        let normals = array(path, &[&[height, width, 3]])?.all()?;
        normals::in_8_bits(&normals, width).map_err(Problem::of(path))
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
