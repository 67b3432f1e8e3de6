//! The reasons why files do not pair up into samples.

use std::fmt;
use std::path::PathBuf;

use indexmap::IndexMap;

use crate::capped::Capped;
use crate::extensions::EXTENSIONS;

/// All that keeps the files of a data set from being paired, by modality.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PairingProblems {
    /// Samples that have no file in this modality.
    pub missing: IndexMap<String, Vec<String>>,
    /// Samples that have a file in this modality, but not in most others.
    pub extra: IndexMap<String, Vec<String>>,
    /// Files of the same name and different extensions.
    pub ambiguous: IndexMap<String, Vec<PathBuf>>,
    /// Files with extensions that cannot be read.
    pub unsupported: IndexMap<String, Vec<PathBuf>>,
    /// There is no sample at all.
    pub empty: bool,
    /// Facts that help to find the cause.
    pub note: Option<String>,
}

impl PairingProblems {
    /// Whether nothing keeps the files from being paired.
    pub(crate) fn is_empty(&self) -> bool {
        !self.empty
            && self.missing.is_empty()
            && self.extra.is_empty()
            && self.ambiguous.is_empty()
            && self.unsupported.is_empty()
    }

    /// Notes a sample that not all modalities have, by their names: `present` says which do. A sample that most
    /// have is missing in the others; a sample that few have is extra in those. A tie is settled by
    /// the first modality. Samples of a list are never extra.
    pub(crate) fn check_presence(
        &mut self,
        id: &str,
        present: &[bool],
        modalities: &[&str],
        listed: bool,
    ) {
        let count = present.iter().filter(|&&present| present).count();
        if count == present.len() {
            return;
        }
        let wanted = listed
            || count == 0
            || 2 * count > present.len()
            || 2 * count == present.len() && present[0];
        for (modality, &present) in modalities.iter().zip(present) {
            let list = match (wanted, present) {
                (true, false) => &mut self.missing,
                (false, true) => &mut self.extra,
                _ => continue,
            };
            list.entry((*modality).to_owned()).or_default().push(id.to_owned());
        }
    }
}

impl fmt::Display for PairingProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.empty {
            write!(f, "there are no samples; accepted files are {}", EXTENSIONS.join(", "))?;
        } else {
            write!(f, "the files do not pair up into samples")?;
        }
        for (modality, ids) in &self.missing {
            write!(
                f,
                "\n`{modality}`: {} without a file:{}",
                samples(ids.len()),
                Capped(ids, "\n  ")
            )?;
        }
        for (modality, ids) in &self.extra {
            write!(
                f,
                "\n`{modality}`: {} that other modalities do not have:{}",
                samples(ids.len()),
                Capped(ids, "\n  ")
            )?;
        }
        for (modality, paths) in &self.ambiguous {
            let paths = shown(paths);
            write!(f, "\n`{modality}`: several files for one sample:{}", Capped(&paths, "\n  "))?;
        }
        for (modality, paths) in &self.unsupported {
            let paths = shown(paths);
            write!(
                f,
                "\n`{modality}`: files that are none of {}:{}",
                EXTENSIONS.join(", "),
                Capped(&paths, "\n  ")
            )?;
            if paths.iter().any(|path| path.to_ascii_lowercase().ends_with(".exr")) {
                write!(f, "\nOpenEXR is not read; save it as float .tif or as .npy")?;
            }
        }
        match &self.note {
            Some(note) => write!(f, "\n{note}"),
            None => Ok(()),
        }
    }
}

fn samples(count: usize) -> String {
    if count == 1 { "1 sample".to_owned() } else { format!("{count} samples") }
}

fn shown(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}
