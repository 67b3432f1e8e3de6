//! The copy of DenseDepth (Alhashim and Wonka, 2018), `nyu_data.zip`, also on Kaggle: training depth
//! in 8 bits, test depth in 16 bits.

use std::path::{Path, PathBuf};

use super::files::shown;
use super::ids::{Base, are_official};
use super::pairs::{DepthForm, Pair, Pairs};
use super::{CopyFacts, CopyFrame, Error, FULL_SIZE, FrameId, NyuCopy, OpenCopy, Result};
use crate::nyuv2::splits::Splits;

/// The folders in which the lists may be, below the path that is given.
const FOLDERS: [&str; 3] = ["", "data", "nyu_data/data"];
const TRAIN: &str = "nyu2_train.csv";
const TEST: &str = "nyu2_test.csv";

/// The copy of DenseDepth.
#[derive(Debug)]
pub(super) struct DenseDepth;

impl NyuCopy for DenseDepth {
    fn title(&self) -> &'static str {
        "NYU Depth V2, the copy of DenseDepth (nyu_data.zip)"
    }

    fn layout(&self) -> &'static str {
        "a folder with data/nyu2_train.csv, data/nyu2_test.csv and the pictures that they name"
    }

    fn recognises(&self, path: &Path) -> bool {
        lists_folder(path).is_some()
    }

    fn open(&self, path: &Path) -> Result<OpenCopy> {
        let folder = lists_folder(path).unwrap_or_default();
        let (mut frames, mut pairs) = (Vec::new(), Vec::new());
        for row in rows(path, &folder, TRAIN, DepthForm::CodesOfTenMetres)? {
            frames.push(train_frame(&row));
            pairs.push(row);
        }
        let tests = rows(path, &folder, TEST, DepthForm::Millimetres)?;
        let (of_tests, mut notes) = test_frames(&tests)?;
        frames.extend(of_tests);
        pairs.extend(tests);
        if frames.iter().any(|frame| frame.list == "train") {
            notes.push(
                "training depth has steps of 39.2 mm: train on it, and do not report errors on it"
                    .to_owned(),
            );
        }
        let reader = Pairs { root: path.to_owned(), pairs };
        let facts = CopyFacts {
            size: FULL_SIZE,
            depth: "training: 8-bit PNG, 10 m at 255, within 19.6 mm (39.2 mm if codes were cut \
                    off); test: 16-bit PNG, millimetres, within 1 mm"
                .to_owned(),
            classes: None,
            normals: None,
            region: None,
            notes,
        };
        Ok(OpenCopy { frames, files: reader.files(), facts, reader: Box::new(reader) })
    }
}

/// The folder of the lists, below the path.
fn lists_folder(path: &Path) -> Option<PathBuf> {
    let has = |folder: &str, list: &str| path.join(folder).join(list).is_file();
    let found = FOLDERS.into_iter().find(|folder| has(folder, TRAIN) || has(folder, TEST));
    found.map(PathBuf::from)
}

/// The pictures of a list: a line `colours,depth` each. None if there is no such list.
fn rows(root: &Path, folder: &Path, list: &str, form: DepthForm) -> Result<Vec<Pair>> {
    let path = root.join(folder).join(list);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = fs_err::read_to_string(&path)?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let row = |(at, line): (usize, &str)| {
        let bad = |problem: String| {
            let problem = format!("line {}, {line}: {problem}", at + 1);
            Error::Input { path: path.clone(), problem }
        };
        let columns: Vec<&str> = line.split(',').map(str::trim).collect();
        let [colors, depth] = columns[..] else {
            return Err(bad(format!("{} columns, expected colours and depth", columns.len())));
        };
        let [colors, depth] = [colors, depth].map(|column| below(folder, column));
        for file in [&colors, &depth].map(|file| root.join(file)) {
            if !file.is_file() {
                return Err(bad(format!("there is no {}", file.display())));
            }
        }
        Ok(Pair { colors, depth, form })
    };
    lines.map(row).collect()
}

/// The place of a file that a list names from wherever it was made: its folder begins with `nyu2_`.
fn below(folder: &Path, column: &str) -> PathBuf {
    let column = column.replace('\\', "/");
    folder.join(column.find("nyu2_").map_or(column.as_str(), |at| &column[at..]))
}

/// `data/nyu2_train/<scene>_out/<number>.jpg`.
fn train_frame(pair: &Pair) -> CopyFrame {
    let name =
        |path: Option<&std::ffi::OsStr>| path.unwrap_or_default().to_string_lossy().into_owned();
    let folder = name(pair.colors.parent().and_then(Path::file_name));
    CopyFrame {
        id: FrameId::Own(format!("{folder}_{}", name(pair.colors.file_stem()))),
        list: "train",
        scene: folder.trim_end_matches("_out").to_owned(),
        scene_type: String::new(),
        source: shown(&pair.colors),
    }
}

/// `data/nyu2_test/<number>_colors.png`: the numbers are official ids from 0.
fn test_frames(pairs: &[Pair]) -> Result<(Vec<CopyFrame>, Vec<String>)> {
    let stem =
        |pair: &Pair| pair.colors.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let number = |pair: &Pair| stem(pair).strip_suffix("_colors")?.parse::<u32>().ok();
    let numbers: Option<Vec<_>> = pairs.iter().map(|pair| Some(("test", number(pair)?))).collect();
    let official = Splits::official()?;
    let are_official = are_official(&numbers.unwrap_or_default(), Base::Zero, &official);
    let frame = |pair: &Pair| CopyFrame {
        id: match number(pair) {
            Some(number) if are_official => FrameId::Official(Base::Zero.id(number)),
            _ => FrameId::Own(format!("test_{}", stem(pair))),
        },
        list: "test",
        scene: String::new(),
        scene_type: String::new(),
        source: shown(&pair.colors),
    };
    let note = "the numbers of its test frames are not official test ids from 0, so they are taken \
                for names";
    let notes = if are_official || pairs.is_empty() { vec![] } else { vec![note.to_owned()] };
    Ok((pairs.iter().map(frame).collect(), notes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_wherever_the_list_was_made() {
        let place = Path::new("data/nyu2_train/a_out/1.jpg");
        for column in ["data/nyu2_train/a_out/1.jpg", "data\\nyu2_train\\a_out\\1.jpg"] {
            assert_eq!(below(Path::new("data"), column), place);
        }
        let plain = below(Path::new(""), "data/nyu2_test/00000_colors.png");
        assert_eq!(plain, Path::new("nyu2_test/00000_colors.png"));
    }

    #[test]
    fn test_frames_have_official_ids_only_if_all_do() {
        let pair = |number: u32| Pair {
            colors: format!("nyu2_test/{number:05}_colors.png").into(),
            depth: format!("nyu2_test/{number:05}_depth.png").into(),
            form: DepthForm::Millimetres,
        };
        let (frames, notes) = test_frames(&[pair(0), pair(13)]).unwrap();
        assert_eq!((&frames[1].id, notes.len()), (&FrameId::Official(14), 0));
        // Frame 3 is one of training.
        let (frames, notes) = test_frames(&[pair(0), pair(2)]).unwrap();
        assert_eq!(frames[0].id, FrameId::Own("test_00000_colors".to_owned()));
        assert!(notes[0].contains("not official test ids"), "{notes:?}");
    }
}
