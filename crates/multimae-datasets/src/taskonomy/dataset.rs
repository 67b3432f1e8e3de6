//! Taskonomy in the list of data sets: its options by name.

use std::path::Path;

use super::prepare::{TaskonomyOptions, prepare};
use super::views::is_taskonomy;
use crate::{
    OptionInfo, OptionKind, OptionValues, PrepareDataset, PrepareRun, Recognised, Result, Summary,
};

/// Taskonomy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taskonomy;

const NEEDS: &[OptionInfo] = &[
    OptionInfo {
        name: "data",
        kind: OptionKind::RequiredFolder,
        help: "The folder with a folder per task (rgb, depth_zbuffer, ...), and a folder per building in each",
    },
    OptionInfo {
        name: "train-list",
        kind: OptionKind::OptionalFile,
        help: "A table `building,point,view` of the views to train on, in place of the buildings of the tiny split",
    },
    OptionInfo {
        name: "val-list",
        kind: OptionKind::OptionalFile,
        help: "Likewise, to validate with",
    },
    OptionInfo { name: "test-list", kind: OptionKind::OptionalFile, help: "Likewise, to test on" },
];

impl PrepareDataset for Taskonomy {
    fn name(&self) -> &'static str {
        "taskonomy"
    }

    fn title(&self) -> &'static str {
        "Taskonomy: views of buildings in up to 14 tasks, from its folders of tasks"
    }

    fn needs(&self) -> &'static [OptionInfo] {
        NEEDS
    }

    fn writes(&self) -> &'static str {
        "Writes a folder per task with links to the published files, or copies on another file system, \
         under names that pair up (BUILDING/point_P_view_V); mask_valid/, made of depth if it is absent; \
         lists (the tiny split by building: train, val, test), frames.csv and manifest.json."
    }

    fn recognise(&self, path: &Path) -> Vec<Recognised> {
        let recognised = || Recognised {
            dataset: self.name(),
            copy: "Taskonomy".to_owned(),
            option: "data",
            path: path.to_owned(),
            facts: vec![
                "its files have another name in every task, so that they do not pair up".to_owned(),
            ],
        };
        is_taskonomy(path).then(recognised).into_iter().collect()
    }

    fn prepare(&self, options: &OptionValues, run: &PrepareRun<'_>) -> Result<Summary> {
        let file = |name| options.file(name).map(ToOwned::to_owned);
        let options = TaskonomyOptions {
            data: options.required_folder("data")?.to_owned(),
            lists: [file("train-list"), file("val-list"), file("test-list")],
        };
        prepare(&options, run)
    }
}
