//! The files to predict.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use fs_err as fs;
use multimae_data::{
    DataModality, Dataset, EXTENSIONS, Encoding, Layout, Naming, SampleEntry, has_folder, is_stray,
    stray_notice,
};

use crate::saved_model::ModelCard;
use crate::{Error, Result};

/// One `--input`: a file or folder, perhaps with the modality that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPath {
    /// The model's modality, if said.
    pub modality: Option<String>,
    /// A file or a folder.
    pub path: PathBuf,
}

impl FromStr for InputPath {
    type Err = std::convert::Infallible;

    /// `PATH` or `MODALITY=PATH`; a path that exists is a path even with an `=` in it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once('=').filter(|_| !Path::new(text).exists());
        Ok(match named {
            Some((modality, path)) => {
                Self { modality: Some(modality.to_owned()), path: PathBuf::from(path) }
            }
            None => Self { modality: None, path: PathBuf::from(text) },
        })
    }
}

/// The frames that are predicted.
#[derive(Debug, Clone)]
pub struct FrameSources {
    /// The frames; their modalities are those of the model that are given.
    pub dataset: Dataset,
    /// Files of folders that are no images and no arrays, and were left out.
    pub left_out: usize,
    /// [Stray](is_stray) files of a folder of images, which were left out.
    stray: usize,
}

impl FrameSources {
    /// Finds the frames of inputs:
    ///
    /// * an image, or a folder of images, for the model's colour modality;
    /// * a folder that holds a folder per modality, paired by name, of a `split` if given;
    /// * several of `MODALITY=FILE` or of `MODALITY=FOLDER`, paired by name.
    ///
    /// # Errors
    /// If an input is not there, the model has no such modality, or files do not pair up.
    pub fn find(inputs: &[InputPath], split: Option<&str>, card: &ModelCard) -> Result<Self> {
        let known: Vec<DataModality> = card.inputs.iter().map(|input| input.data.clone()).collect();
        Self::among(inputs, split, &known, card.valid_mask.as_ref())
    }

    /// Notices about the files, for the user.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let stray = stray_notice(self.stray).into_iter();
        stray.chain(self.dataset.notices()).collect()
    }

    /// [`Self::find`] for a model of these modalities.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn of(inputs: &[InputPath], split: Option<&str>, known: &[DataModality]) -> Result<Self> {
        Self::among(inputs, split, known, None)
    }

    /// The frames of a place that has folders or fields of the modalities; `None` of others.
    ///
    /// # Errors
    /// If files do not pair up.
    pub fn by_folder(
        path: &Path,
        split: Option<&str>,
        known: &[DataModality],
    ) -> Result<Option<Self>> {
        let folders = folders_in(path, known, None);
        if folders.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self::paired(Dataset::open(path, &Layout::of(split), &folders)?)))
    }

    fn paired(dataset: Dataset) -> Self {
        Self { dataset, left_out: 0, stray: 0 }
    }

    /// `mask` is read where a folder per modality is given and has it.
    fn among(
        inputs: &[InputPath],
        split: Option<&str>,
        known: &[DataModality],
        mask: Option<&DataModality>,
    ) -> Result<Self> {
        for input in inputs {
            fs::metadata(&input.path)?;
        }
        if let [InputPath { modality: None, path }] = inputs {
            let folders = folders_in(path, known, mask);
            if !folders.is_empty() {
                let layout = Layout::of(split);
                return Ok(Self::paired(Dataset::open(path, &layout, &folders)?));
            }
        }
        if let Some(split) = split {
            return Err(problem(format!(
                "split `{split}` needs one folder that holds a folder per modality ({}) and \
                 {split}.txt",
                names(known)
            )));
        }
        let modalities = inputs
            .iter()
            .map(|input| Ok((modality_of(input, known)?, input.path.clone())))
            .collect::<Result<Vec<_>>>()?;
        let dirs = modalities.iter().filter(|(_, path)| path.is_dir()).count();
        match (&modalities[..], dirs) {
            ([], _) => Err(problem("no input is given".to_owned())),
            ([(modality, folder)], 1) => images_of(&modality.clone().photo(), folder),
            ([(modality, file)], 0) => one_frame(vec![(modality.clone().photo(), file.clone())]),
            (_, 0) => one_frame(modalities),
            (all, n) if n == all.len() => {
                let data: Vec<DataModality> = modalities.into_iter().map(in_folder).collect();
                // The folders are whole paths already.
                let dataset = Dataset::open(Path::new(""), &Layout::Folders, &data)?;
                Ok(Self::paired(dataset))
            }
            _ => Err(problem("give either files or folders as inputs, not both".to_owned())),
        }
    }
}

fn problem(problem: String) -> Error {
    Error::Prediction(problem)
}

fn names(known: &[DataModality]) -> String {
    let names: Vec<&str> = known.iter().map(|data| data.name.as_str()).collect();
    names.join(", ")
}

/// The model's modalities that have a folder, by its stored name or by their own.
fn folders_in(
    root: &Path,
    known: &[DataModality],
    mask: Option<&DataModality>,
) -> Vec<DataModality> {
    let found = |data: &DataModality| {
        if has_folder(root, &data.source()) {
            return Some(data.clone());
        }
        let (folder, naming) = (data.name.clone(), Naming::default());
        has_folder(root, &folder).then(|| DataModality { folder, naming, ..data.clone() })
    };
    let mut all: Vec<DataModality> = known.iter().filter_map(found).collect();
    if !all.is_empty() {
        all.extend(mask.and_then(found));
    }
    all
}

/// The modality that an input is said, or taken, to hold.
fn modality_of(input: &InputPath, known: &[DataModality]) -> Result<DataModality> {
    let of_name = |name: &String| {
        known.iter().find(|data| data.name == *name).cloned().ok_or_else(|| {
            problem(format!("the model has no input `{name}`; it has {}", names(known)))
        })
    };
    match &input.modality {
        Some(name) => of_name(name),
        None => {
            let color = |data: &&DataModality| matches!(data.encoding, Encoding::Color { .. });
            let only = if known.len() == 1 { known.first() } else { known.iter().find(color) };
            only.cloned().ok_or_else(|| {
                problem(format!(
                    "{}: say what it holds, as in {}={}; the model's inputs are {}",
                    input.path.display(),
                    known.first().map_or("depth", |data| &data.name),
                    input.path.display(),
                    names(known)
                ))
            })
        }
    }
}

fn in_folder((data, path): (DataModality, PathBuf)) -> DataModality {
    DataModality { folder: path.to_string_lossy().into_owned(), ..data }
}

/// All images and arrays directly in a folder.
fn images_of(modality: &DataModality, folder: &Path) -> Result<FrameSources> {
    let (mut entries, mut left_out, mut stray) = (Vec::new(), 0, 0);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            continue;
        }
        if is_stray(&name) {
            stray += 1;
            continue;
        }
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        if EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)) {
            entries.push(SampleEntry { id: stem(&path), paths: vec![path] });
        } else {
            left_out += 1;
        }
    }
    if entries.is_empty() {
        return Err(problem(format!(
            "{}: no image in it ({}), and no folder of the model's modalities",
            folder.display(),
            EXTENSIONS.join(", ")
        )));
    }
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(problem(format!(
            "{} and {} would have the same outputs; rename one",
            pair[0].paths[0].display(),
            pair[1].paths[0].display()
        )));
    }
    Ok(FrameSources {
        dataset: Dataset::of_entries(std::slice::from_ref(modality), entries)?,
        left_out,
        stray,
    })
}

/// One frame from a file per modality.
fn one_frame(modalities: Vec<(DataModality, PathBuf)>) -> Result<FrameSources> {
    let (data, paths): (Vec<DataModality>, Vec<PathBuf>) = modalities.into_iter().unzip();
    let id = paths.first().map(|path| stem(path)).unwrap_or_default();
    let dataset = Dataset::of_entries(&data, vec![SampleEntry { id, paths }])?;
    Ok(FrameSources::paired(dataset))
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_may_name_their_modality() {
        let input: InputPath = "depth=frames/a.png".parse().unwrap();
        assert_eq!((input.modality.as_deref(), input.path), (Some("depth"), "frames/a.png".into()));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a=b.png");
        fs::write(&path, "x").unwrap();
        let input: InputPath = path.to_str().unwrap().parse().unwrap();
        assert_eq!((input.modality, input.path), (None, path));
    }
}
