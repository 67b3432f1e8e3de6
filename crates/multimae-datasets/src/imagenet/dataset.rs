//! ImageNet with pseudo labels in the list of data sets: its options by name.

use std::path::Path;

use super::classes::is_multitask;
use super::prepare::{ImagenetOptions, prepare};
use crate::{
    OptionInfo, OptionKind, OptionValues, PrepareDataset, PrepareRun, Recognised, Result, Summary,
};

/// ImageNet with pseudo labels of depth and segmentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImagenetMultitask;

const NEEDS: &[OptionInfo] = &[
    OptionInfo {
        name: "data",
        kind: OptionKind::RequiredFolder,
        help: "imagenet_multitask, with {train,val}/{depth_tar,semseg_tar}/WNID.tar",
    },
    OptionInfo {
        name: "imagenet",
        kind: OptionKind::RequiredFolder,
        help: "ImageNet, with train and val in folders of classes (WNID) or a tar per class (WNID.tar)",
    },
];

impl PrepareDataset for ImagenetMultitask {
    fn name(&self) -> &'static str {
        "imagenet-multitask"
    }

    fn title(&self) -> &'static str {
        "ImageNet with pseudo labels of depth and segmentation, from the published tars per class"
    }

    fn needs(&self) -> &'static [OptionInfo] {
        NEEDS
    }

    fn writes(&self) -> &'static str {
        "Writes {train,val}/{rgb,depth,semseg}/WNID/, which pre-training reads: photographs as links (or \
         copies on another file system), pseudo labels unpacked, and manifest.json. Only images with all \
         three are written; others are counted."
    }

    fn recognise(&self, path: &Path) -> Vec<Recognised> {
        let recognised = || Recognised {
            dataset: self.name(),
            copy: "the published pseudo labels of ImageNet".to_owned(),
            option: "data",
            path: path.to_owned(),
            facts: vec!["the photographs are those of ImageNet, given with --imagenet".to_owned()],
        };
        is_multitask(path).then(recognised).into_iter().collect()
    }

    fn prepare(&self, options: &OptionValues, run: &PrepareRun<'_>) -> Result<Summary> {
        let options = ImagenetOptions {
            data: options.required_folder("data")?.to_owned(),
            imagenet: options.required_folder("imagenet")?.to_owned(),
        };
        prepare(&options, run)
    }
}
