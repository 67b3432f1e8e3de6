//! Hypersim in the list of data sets: its options by name.

use std::path::Path;

use super::prepare::{CameraChoice, ColorChoice, HypersimOptions, prepare};
use super::scenes::scenes_folder;
use crate::{
    Choice, OptionInfo, OptionKind, OptionValues, PrepareDataset, PrepareRun, Recognised, Result,
    Summary,
};

/// Hypersim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hypersim;

const CAMERAS: &[Choice] = &[
    Choice { word: "scene", help: "The camera of each scene, from the table of cameras" },
    Choice {
        word: "one-focal",
        help: "One focal length for all scenes, 886.81 pixels: wrong where a camera is tilted, shifted or zoomed",
    },
];

const COLORS: &[Choice] = &[
    Choice { word: "auto", help: "Radiance where it is there, else previews" },
    Choice { word: "hdf5", help: "Tone-mapped radiance (color.hdf5, render_entity_id.hdf5)" },
    Choice {
        word: "preview",
        help: "The published previews (tonemap.jpg), which lose some detail",
    },
];

const NEEDS: &[OptionInfo] = &[
    OptionInfo {
        name: "data",
        kind: OptionKind::RequiredFolder,
        help: "The folder of the scenes (ai_001_001, ...)",
    },
    OptionInfo {
        name: "split",
        kind: OptionKind::OptionalFile,
        help: "metadata_images_split_scene_v1.csv of apple/ml-hypersim; looked for in the data if absent",
    },
    OptionInfo {
        name: "cameras",
        kind: OptionKind::OptionalFile,
        help: "metadata_camera_parameters.csv of apple/ml-hypersim; looked for in the data if absent",
    },
    OptionInfo {
        name: "camera",
        kind: OptionKind::Choice(CAMERAS),
        help: "From distance along the ray to depth along the axis",
    },
    OptionInfo { name: "color", kind: OptionKind::Choice(COLORS), help: "The source of RGB" },
    OptionInfo {
        name: "normals",
        kind: OptionKind::Flag,
        help: "Write surface normals, too, from normal_cam.hdf5",
    },
];

impl PrepareDataset for Hypersim {
    fn name(&self) -> &'static str {
        "hypersim"
    }

    fn title(&self) -> &'static str {
        "Hypersim: 74,619 rendered frames, from the HDF5 files of its scenes"
    }

    fn needs(&self) -> &'static [OptionInfo] {
        NEEDS
    }

    fn writes(&self) -> &'static str {
        "Writes rgb/, depth/ (16-bit PNG, millimetres along the optical axis), semseg/ (NYUv2's 40 \
         classes, 0 is void) where it is there, mask_valid/ (255 where depth is valid), normal/ if asked \
         for, lists (the official train, val and test of the public release), classes.txt, frames.csv and \
         manifest.json. Frames that are not downloaded are left out and counted."
    }

    fn recognise(&self, path: &Path) -> Vec<Recognised> {
        let recognised = |_| Recognised {
            dataset: self.name(),
            copy: "Hypersim".to_owned(),
            option: "data",
            path: path.to_owned(),
            facts: vec!["its depth is the distance along the ray".to_owned()],
        };
        scenes_folder(path).map(recognised).into_iter().collect()
    }

    fn prepare(&self, options: &OptionValues, run: &PrepareRun<'_>) -> Result<Summary> {
        prepare(&HypersimOptions::from_values(options)?, run)
    }
}

impl HypersimOptions {
    /// The options of the command line.
    fn from_values(values: &OptionValues) -> Result<Self> {
        let file = |name| values.file(name).map(ToOwned::to_owned);
        Ok(Self {
            data: values.required_folder("data")?.to_owned(),
            split: file("split"),
            cameras: file("cameras"),
            camera: values.choice("camera", CameraChoice::Scene, |word| match word {
                "scene" => Some(CameraChoice::Scene),
                "one-focal" => Some(CameraChoice::OneFocal),
                _ => None,
            })?,
            color: values.choice("color", ColorChoice::Auto, |word| match word {
                "auto" => Some(ColorChoice::Auto),
                "hdf5" => Some(ColorChoice::Hdf5),
                "preview" => Some(ColorChoice::Preview),
                _ => None,
            })?,
            normals: values.flag("normals"),
        })
    }
}
