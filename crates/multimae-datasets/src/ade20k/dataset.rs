//! ADE20K in the list of data sets: its options by name.

use std::path::Path;

use super::layout;
use super::prepare::prepare;
use crate::{
    OptionInfo, OptionKind, OptionValues, PrepareDataset, PrepareRun, Recognised, Result, Summary,
};

/// ADE20K for scene parsing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ade20k;

const NEEDS: &[OptionInfo] = &[OptionInfo {
    name: "data",
    kind: OptionKind::RequiredFolder,
    help: "The unpacked ADEChallengeData2016, with `images` and `annotations`",
}];

impl PrepareDataset for Ade20k {
    fn name(&self) -> &'static str {
        "ade20k"
    }

    fn title(&self) -> &'static str {
        "ADE20K (scene parsing, 150 classes): 22,210 photographs, from ADEChallengeData2016"
    }

    fn needs(&self) -> &'static [OptionInfo] {
        NEEDS
    }

    fn writes(&self) -> &'static str {
        "Writes rgb/ and semseg/ (0 is void, classes count from 1) as links to the published files, or \
         copies on another file system; lists (the official train and val), classes.txt, frames.csv and \
         manifest.json. Every annotation is checked."
    }

    fn recognise(&self, path: &Path) -> Vec<Recognised> {
        let root = layout::find(path).filter(|_| !layout::is_full_release(path));
        let recognised = |path| Recognised {
            dataset: self.name(),
            copy: "ADE20K for scene parsing, 150 classes".to_owned(),
            option: "data",
            path,
            facts: vec![
                "its folders are `images` and `annotations`, and label 0 is never scored"
                    .to_owned(),
            ],
        };
        root.map(recognised).into_iter().collect()
    }

    fn prepare(&self, options: &OptionValues, run: &PrepareRun<'_>) -> Result<Summary> {
        prepare(options.required_folder("data")?, run)
    }
}
