//! The copy of FastDepth (Wofk et al., ICRA 2019), also on Hugging Face as `sayakpaul/nyu_depth_v2`
//! and in TensorFlow Datasets: an HDF5 file per frame.

use std::path::{Path, PathBuf};

use super::files::{folder_names, has_file, names, number, shown};
use super::hdf5::FrameFile;
use super::ids::base_of_whole;
use super::{
    CopyFacts, CopyFrame, CopyMaps, FULL_SIZE, FrameId, NyuCopy, OpenCopy, Problem, ReadFrames,
    Result, values,
};
use crate::nyuv2::splits::Splits;

/// Its folders, which are its lists.
const LISTS: [&str; 2] = ["train", "val"];
const EXTENSION: &str = ".h5";

/// The copy of FastDepth.
#[derive(Debug)]
pub(super) struct FastDepth;

impl NyuCopy for FastDepth {
    fn title(&self) -> &'static str {
        "NYU Depth V2, the copy of FastDepth (HDF5 files)"
    }

    fn layout(&self) -> &'static str {
        "a folder with {train,val}/<folder>/NNNNN.h5, of which each holds `rgb` and `depth`"
    }

    fn recognises(&self, path: &Path) -> bool {
        let is_frame = |name: &str| number(name, "", EXTENSION).is_some();
        LISTS.iter().map(|list| path.join(list)).any(|list| {
            let mut folders = folder_names(&list).into_iter();
            folders.any(|folder| has_file(&list.join(folder), is_frame))
        })
    }

    fn open(&self, path: &Path) -> Result<OpenCopy> {
        let mut frames = Vec::new();
        let mut files = Vec::new();
        for list in LISTS {
            for folder in folder_names(&path.join(list)) {
                let inside = Path::new(list).join(&folder);
                for name in names(&path.join(&inside))? {
                    let Some(number) = number(&name, "", EXTENSION) else { continue };
                    let file = inside.join(&name);
                    frames.push(frame(list, &folder, number, &file));
                    files.push(file);
                }
            }
        }
        let notes = number_tests(&mut frames, &files)?;
        let facts = CopyFacts {
            size: FULL_SIZE,
            depth: "floats, metres, written as the nearest millimetre: within 0.5 mm of 32-bit \
                    floats; 16-bit floats add up to 0.5 mm below 2 m, 2 mm below 8 m, and 4 mm \
                    beyond"
                .to_owned(),
            classes: None,
            normals: None,
            region: None,
            notes,
        };
        let reader = Reader { root: path.to_owned(), files: files.clone() };
        Ok(OpenCopy { frames, files, facts, reader: Box::new(reader) })
    }
}

fn frame(list: &'static str, folder: &str, number: &str, file: &Path) -> CopyFrame {
    let scene = if list == "train" { folder.trim_end_matches("_out") } else { "" };
    CopyFrame {
        id: FrameId::Own(format!("{folder}_{number}")),
        list,
        scene: scene.to_owned(),
        scene_type: String::new(),
        source: shown(file),
    }
}

/// Gives the frames of `val` their official ids and list, if their numbers are exactly those of the
/// official test split. Returns the notices.
fn number_tests(frames: &mut [CopyFrame], files: &[PathBuf]) -> Result<Vec<String>> {
    let number = |file: &PathBuf| file.file_stem()?.to_str()?.parse().ok();
    let of_val = || frames.iter().zip(files).filter(|(frame, _)| frame.list == "val");
    let numbers: Option<Vec<u32>> = of_val().map(|(_, file)| number(file)).collect();
    let base =
        numbers.and_then(|numbers| base_of_whole(&numbers, "test", &Splits::official().ok()?));
    let Some(base) = base else {
        let note = "the numbers in `val` are not all of the official test ids and no others, so \
                    they are taken for names";
        return Ok(if of_val().next().is_some() { vec![note.to_owned()] } else { Vec::new() });
    };
    for (frame, file) in frames.iter_mut().zip(files).filter(|(frame, _)| frame.list == "val") {
        let Some(number) = number(file) else { continue };
        frame.id = FrameId::Official(base.id(number));
        frame.list = "test";
    }
    Ok(vec!["`val` is the official test split, by its numbers: it becomes the list `test`".into()])
}

#[derive(Debug)]
struct Reader {
    root: PathBuf,
    files: Vec<PathBuf>,
}

impl ReadFrames for Reader {
    fn read(&self, index: usize) -> Result<CopyMaps, Problem> {
        let Some(file) = self.files.get(index) else {
            return Err(Problem::of(&self.root)(format!("there is no frame {index}")));
        };
        let path = self.root.join(file);
        let (height, width) = FULL_SIZE;
        let file = FrameFile::open(&path)?;
        let rgb = values::interleaved(&file.bytes("rgb", &[3, height, width])?);
        let depth = file.floats("depth", &[height, width])?;
        let depth = values::metres(&depth, width).map_err(Problem::of(&path))?;
        Ok(CopyMaps { rgb, depth, labels: None, normals: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn val(numbers: impl Iterator<Item = u32>) -> (Vec<CopyFrame>, Vec<PathBuf>) {
        let file = |number| PathBuf::from(format!("val/official/{number:05}.h5"));
        let files: Vec<PathBuf> = numbers.map(file).collect();
        let frames = files.iter().map(|file| frame("val", "official", "1", file)).collect();
        (frames, files)
    }

    #[test]
    fn the_official_test_split_is_told_by_all_of_its_numbers() {
        let official = Splits::official().unwrap();
        let (mut frames, files) = val(official.official_ids("test"));
        let notes = number_tests(&mut frames, &files).unwrap();
        assert!(notes[0].contains("official test split"), "{notes:?}");
        assert_eq!((&frames[1].id, frames[1].list), (&FrameId::Official(2), "test"));

        let (mut frames, files) = val(1..=654);
        let notes = number_tests(&mut frames, &files).unwrap();
        assert!(notes[0].contains("taken for names"), "{notes:?}");
        assert_eq!(frames[1].list, "val");
        assert!(number_tests(&mut [], &[]).unwrap().is_empty());
    }
}
