//! EXIF orientations: files that a viewer turns or mirrors.

use super::super::Options;
use super::super::facts::FileFacts;
use super::super::part::ReadFolder;
use super::super::report::{Finding, Severity};
use super::those_with;

/// The files that carry an orientation. Where it changes their size, the sizes of the other files
/// show whether it fits; where it does not, only a look can.
pub(super) fn check(folders: &[ReadFolder], options: &Options) -> Vec<Finding> {
    folders.iter().flat_map(|folder| of_folder(folder, folders.len() > 1, options)).collect()
}

fn of_folder(folder: &ReadFolder, paired: bool, options: &Options) -> Vec<Finding> {
    let name = &folder.name;
    let tagged = |wanted: bool| {
        those_with(folder, |_, facts| {
            let listed = !facts.exif.is_upright() && changes_size(facts) == wanted;
            listed.then(|| format!("EXIF orientation {}", facts.exif.number()))
        })
    };
    let ignored = options.ignore_orientation.contains(name);
    let reading = if ignored { "as they are stored" } else { "as a viewer shows them" };
    let key = format!("`modalities.{name}.orientation`");
    let doubtful = if paired { Severity::Warning } else { Severity::Note };
    [
        Finding::about(
            Severity::Note,
            "orientation",
            name,
            &tagged(true),
            format!("files carry an EXIF orientation and are read {reading} ({key})"),
        ),
        Finding::about(
            doubtful,
            "orientation_same_size",
            name,
            &tagged(false),
            format!(
                "files carry an EXIF orientation that leaves their size as it is, and are read \
                 {reading}; look whether the other files of these samples fit that, and set {key} \
                 to `{}` otherwise",
                if ignored { "apply" } else { "ignore" }
            ),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn changes_size(facts: &FileFacts) -> bool {
    facts.exif.size(facts.size) != facts.size
}
