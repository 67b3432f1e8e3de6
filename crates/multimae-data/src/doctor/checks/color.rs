//! Pictures.

use super::super::part::ReadFolder;
use super::super::report::{Finding, Severity, Values};
use super::those;
use crate::decode::FileFormat;

pub(super) fn check(folder: &ReadFolder) -> (Values, Vec<Finding>) {
    let wrong = those(folder, |facts| facts.bits != 8 || facts.format == FileFormat::Npy);
    let constant = those(folder, |facts| facts.is_constant());
    let mut grey = those(folder, |facts| facts.values.grey && !facts.is_constant());
    if grey.len() + constant.len() == folder.files.len() {
        // A set of grey pictures is no mistake.
        grey.clear();
    }
    let about = |severity, code, things: &[String], message: &str| {
        Finding::about(severity, code, &folder.name, things, message)
    };
    let found = [
        about(
            Severity::Error,
            "not_a_picture",
            &wrong,
            "files are not 8-bit pictures; 16 bits are usually depth, so check the folder",
        ),
        about(
            Severity::Warning,
            "constant",
            &constant,
            "pictures have one colour only; look at them",
        ),
        about(
            Severity::Warning,
            "grey",
            &grey,
            "pictures are grey and others are not; look whether they belong here",
        ),
    ];
    (moments(folder), found.into_iter().flatten().collect())
}

fn moments(folder: &ReadFolder) -> Values {
    let mut sums = [(0.0, 0.0); 3];
    let mut pixels = 0;
    for (_, facts) in folder.good() {
        pixels += facts.size.0 * facts.size.1;
        for (sum, more) in sums.iter_mut().zip(facts.values.sums) {
            *sum = (sum.0 + more.0, sum.1 + more.1);
        }
    }
    let pixels = pixels.max(1) as f64;
    let mean = sums.map(|(sum, _)| sum / pixels);
    let std = sums.map(|(sum, squares)| {
        let mean = sum / pixels;
        (squares / pixels - mean * mean).max(0.0).sqrt()
    });
    Values::Color { mean, std }
}
