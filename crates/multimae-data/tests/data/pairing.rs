//! Finding the samples of a data set.

use crate::files::{Files, depth, modalities, rgb};
use multimae_data::{Dataset, Error, Interpolation, Layout, PairingProblems};

fn problems(files: &Files, layout: &Layout) -> PairingProblems {
    match Dataset::open(files.root(), layout, &modalities()) {
        Err(Error::Pairing { problems, .. }) => *problems,
        other => panic!("{other:?}"),
    }
}

fn ids(dataset: &Dataset) -> Vec<String> {
    dataset.ids().map(Into::into).collect()
}

fn list(split: &str) -> Layout {
    Layout::of(Some(split))
}

#[test]
fn folders_are_walked_and_sorted() {
    let files = Files::new();
    for id in ["b/2", "a/x/1", "a/x.y"] {
        files.sample(id, 0);
    }
    files.write("rgb/.hidden", b"");
    let dataset = Dataset::open(files.root(), &Layout::Folders, &modalities()).unwrap();
    assert_eq!(ids(&dataset), ["a/x.y", "a/x/1", "b/2"]);
    assert_eq!(dataset.samples().get(0).unwrap().paths[1], files.path("depth/a/x.y.png"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let files = Files::with_samples(2);
    for folder in ["rgb", "depth", "semseg"] {
        fs_err::create_dir_all(files.root().join("linked")).unwrap();
        symlink(files.root().join(folder), files.root().join("linked").join(folder)).unwrap();
    }
    let linked = files.root().join("linked");
    let dataset = Dataset::open(&linked, &Layout::Folders, &modalities()).unwrap();
    assert_eq!(dataset.len(), 2);
    symlink(files.root().join("rgb"), files.root().join("rgb/again")).unwrap();
    let error = Dataset::open(files.root(), &Layout::Folders, &modalities()).unwrap_err();
    assert!(error.to_string().contains("again: this link leads back"), "{error}");
}

#[test]
fn all_missing_and_extra_files_are_listed() {
    let files = Files::with_samples(4);
    files.remove("depth/0001.png");
    files.remove("semseg/0002.png");
    fs_err::rename(files.path("rgb/0003.png"), files.path("rgb/003.png")).unwrap();
    let problems = problems(&files, &Layout::Folders);
    assert_eq!(problems.missing["depth"], ["0001"]);
    assert_eq!(problems.missing["semseg"], ["0002"]);
    assert_eq!(problems.missing["rgb"], ["0003"]);
    assert_eq!(problems.extra["rgb"], ["003"]);
    assert_eq!(problems.extra.len(), 1);
    let text = problems.to_string();
    assert!(text.contains("`depth`: 1 sample without a file:\n  0001"), "{text}");
}

#[test]
fn with_two_modalities_the_first_one_counts() {
    let files = Files::with_samples(2);
    files.remove("rgb/0000.png");
    files.remove("depth/0001.png");
    let modalities = [rgb(), depth(Interpolation::Nearest)];
    let error = Dataset::open(files.root(), &Layout::Folders, &modalities).unwrap_err();
    let Error::Pairing { problems, .. } = error else { panic!("{error}") };
    assert_eq!(problems.missing["depth"], ["0001"]);
    assert_eq!(problems.extra["depth"], ["0000"]);
}

#[test]
fn long_lists_end_in_a_count() {
    let files = Files::with_samples(25);
    for id in 0..23 {
        files.remove(&format!("depth/{id:04}.png"));
    }
    let text = problems(&files, &Layout::Folders).to_string();
    assert!(text.contains("23 samples without a file") && text.contains("0019"), "{text}");
    assert!(text.ends_with("... and 3 more") && !text.contains("0020"), "{text}");
}

#[test]
fn two_files_for_one_sample_are_refused() {
    let files = Files::with_samples(2);
    files.write("rgb/0001.jpg", b"");
    let problems = problems(&files, &Layout::Folders);
    assert_eq!(problems.ambiguous["rgb"], [files.path("rgb/0001.jpg"), files.path("rgb/0001.png")]);
}

#[test]
fn other_formats_are_named() {
    let files = Files::with_samples(2);
    fs_err::rename(files.path("depth/0001.png"), files.path("depth/0001.exr")).unwrap();
    let problems = problems(&files, &Layout::Folders);
    assert_eq!(problems.unsupported["depth"], [files.path("depth/0001.exr")]);
    assert_eq!(problems.missing["depth"], ["0001"]);
    assert!(problems.to_string().contains("OpenEXR is not read"), "{problems}");
}

#[test]
fn extensions_may_be_in_upper_case() {
    let files = Files::with_samples(1);
    fs_err::rename(files.path("rgb/0000.png"), files.path("rgb/0000.PNG")).unwrap();
    let dataset = Dataset::open(files.root(), &Layout::Folders, &modalities()).unwrap();
    assert!(dataset.decode(0).is_ok());
}

#[test]
fn empty_and_absent_folders_are_errors() {
    let files = Files::new();
    let open = || Dataset::open(files.root(), &Layout::Folders, &modalities());
    assert!(matches!(open(), Err(Error::MissingFolder { modality, .. }) if modality == "rgb"));
    for folder in ["rgb", "depth", "semseg"] {
        fs_err::create_dir(files.root().join(folder)).unwrap();
    }
    assert!(problems(&files, &Layout::Folders).empty);
}

#[test]
fn a_list_chooses_and_orders() {
    let files = Files::with_samples(5);
    files.write("train.txt", b"# training\n0003\n\n  0001 \r\n");
    let dataset = Dataset::open(files.root(), &list("train"), &modalities()).unwrap();
    assert_eq!(ids(&dataset), ["0003", "0001"]);
}

#[test]
fn listed_samples_need_their_files() {
    let files = Files::with_samples(3);
    files.remove("depth/0002.png");
    files.write("train.txt", b"0000\n0002\n0007\n");
    let problems = problems(&files, &list("train"));
    assert_eq!(problems.missing["depth"], ["0002", "0007"]);
    assert_eq!(problems.missing["rgb"], ["0007"]);
    assert!(problems.extra.is_empty());
}

#[test]
fn bad_lists_are_refused() {
    let files = Files::with_samples(2);
    let open = |split| Dataset::open(files.root(), &list(split), &modalities()).unwrap_err();
    files.write("twice.txt", b"0000\n0001\n0000\n");
    assert!(open("twice").to_string().contains("`0000` (lines 1 and 3)"));
    files.write("blank.txt", b"\n# nothing\n");
    assert!(matches!(open("blank"), Error::List { .. }));
    assert!(open("absent").to_string().contains("absent.txt"));
}

#[test]
fn a_limit_is_a_fixed_choice() {
    let files = Files::with_samples(20);
    let open = || Dataset::open(files.root(), &Layout::Folders, &modalities()).unwrap();
    let limited = open().limit(Some(5), 1);
    assert_eq!(limited.len(), 5);
    assert!(limited.ids().is_sorted());
    assert_eq!(ids(&limited), ids(&open().limit(Some(5), 1)));
    assert_ne!(ids(&limited), ids(&open().limit(Some(5), 2)));
    assert_eq!(open().limit(None, 1).len(), 20);
    assert_eq!(open().limit(Some(50), 1).len(), 20);
}

#[test]
fn modalities_must_make_sense() {
    let files = Files::with_samples(1);
    let open = |modalities: &[_]| Dataset::open(files.root(), &Layout::Folders, modalities);
    assert!(matches!(open(&[]), Err(Error::Config(_))));
    assert!(matches!(open(&[rgb(), rgb()]), Err(Error::Config(_))));
    let mut stride = rgb();
    stride.stride = 0;
    assert!(matches!(open(&[stride]), Err(Error::Config(_))));
    // After the shift, label 1 would be the same as the ignored 0.
    assert!(matches!(open(&[crate::files::semseg(40, Some(0), -1)]), Err(Error::Config(_))));
}

#[test]
fn lists_are_read_in_every_form_whose_meaning_is_certain() {
    let files = Files::with_samples(3);
    for (text, expected) in [
        (&b"\xef\xbb\xbf0002\r\n0000\r\n"[..], ["0002", "0000"]),
        (b"\xff\xfe0\x000\x000\x002\x00\n\x000\x000\x000\x000\x00", ["0002", "0000"]),
        (b"0002.png\n0000.png\n", ["0002", "0000"]),
        (
            b"rgb/0002.jpg depth/0002.png 518.8579\nrgb/0000.jpg depth/0000.png 518.8579",
            ["0002", "0000"],
        ),
    ] {
        files.write("train.txt", text);
        let dataset = Dataset::open(files.root(), &list("train"), &modalities()).unwrap();
        assert_eq!(ids(&dataset), expected);
        let report =
            multimae_data::doctor::examine(files.root(), &Default::default(), |_, _| {}).unwrap();
        assert_eq!(report.parts[0].lists["train"], 2);
        let codes: Vec<&str> = report.findings().map(|found| found.code).collect();
        assert!(!codes.contains(&"unknown_sample"), "{codes:?}");
    }
    files.write("train.txt", b"a/rgb_0.jpg a/sync_depth_0.png 518.8\n");
    let error = Dataset::open(files.root(), &list("train"), &modalities()).unwrap_err();
    assert!(matches!(&error, Error::List { problem, .. } if problem.contains("several columns")));
    files.write("train.txt", b"0\x000\x000\x000\x00");
    let error = Dataset::open(files.root(), &list("train"), &modalities()).unwrap_err();
    assert!(matches!(&error, Error::List { problem, .. } if problem.contains("UTF-8")), "{error}");
}

#[test]
fn names_in_composed_and_decomposed_unicode_are_the_same() {
    let files = Files::new();
    files.sample("x", 0);
    for (folder, name) in [("rgb", "cafe\u{301}"), ("depth", "caf\u{e9}"), ("semseg", "caf\u{e9}")]
    {
        let from = files.path(&format!("{folder}/x.png"));
        fs_err::rename(from, files.path(&format!("{folder}/{name}.png"))).unwrap();
    }
    files.write("train.txt", "cafe\u{301}\n".as_bytes());
    for layout in [Layout::Folders, list("train")] {
        let dataset = Dataset::open(files.root(), &layout, &modalities()).unwrap();
        assert_eq!(ids(&dataset), ["caf\u{e9}"]);
        assert!(dataset.decode(0).is_ok());
    }
}

#[test]
fn stray_files_are_left_out_and_counted() {
    let files = Files::with_samples(2);
    for name in [
        "rgb/Thumbs.db",
        "rgb/._0001.png",
        "rgb/.ipynb_checkpoints/0001.png",
        "depth/desktop.ini",
        "depth/.DS_Store",
        "__MACOSX/rgb/._0001.png",
    ] {
        files.write(name, b"x");
    }
    let dataset = Dataset::open(files.root(), &Layout::Folders, &modalities()).unwrap();
    assert_eq!((dataset.len(), dataset.stray()), (2, 5));
    let report =
        multimae_data::doctor::examine(files.root(), &Default::default(), |_, _| {}).unwrap();
    let stray = report.findings().filter(|found| found.code == "stray_file");
    assert_eq!(stray.map(|found| found.count).collect::<Vec<_>>(), [2, 3]);
    assert!(report.findings().all(|found| found.code != "unsupported_file"));
}
