//! Packs that keep the files as they are.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use multimae_data::packed::{Options, Pack, Shrink, Summary, create, find_folders};
use multimae_data::resize::CropBox;
use multimae_data::{DataModality, Dataset, Encoding, Interpolation, Layout, Orientation};
use png::{BitDepth, ColorType};

use crate::files::{Files, HEIGHT, WIDTH, modalities, plain_values, rgb};

fn options(files: &Files) -> Options {
    let mut folders = find_folders(files.root(), &Default::default()).unwrap();
    folders.iter_mut().for_each(|folder| folder.encoded = true);
    Options { folders, shrink: None, skip_bad: false, replace: false, threads: 2 }
}

fn pack(files: &Files, options: &Options) -> (PathBuf, multimae_data::Result<Summary>) {
    let out = files.root().join("all.pack");
    let result = create(files.root(), &out, options, |_, _| {}, &AtomicBool::new(false));
    (out, result)
}

fn open(root: &Path, modalities: &[DataModality]) -> Dataset {
    Dataset::open(root, &Layout::Folders, modalities).unwrap()
}

/// Samples with a file of every encoding: png of three kinds, jpeg, npy.
fn files(count: usize) -> Files {
    let files = Files::with_samples(count);
    let pixels = HEIGHT * WIDTH;
    for id in 0..count {
        let values: Vec<f32> = (0..pixels).map(|at| at as f32 * 0.37 - id as f32).collect();
        files.npy(&format!("height/{id:04}.npy"), &[HEIGHT as u64, WIDTH as u64], &values);
        let labels: Vec<u8> = (0..pixels).map(|at| ((at + id) % 3) as u8).collect();
        files.png(&format!("label/{id:04}.png"), ColorType::Indexed, BitDepth::Eight, &labels);
        let photo = image::RgbImage::from_fn(WIDTH as u32, HEIGHT as u32, |x, y| {
            image::Rgb([x as u8 * 5, y as u8 * 7, id as u8 * 40])
        });
        photo.save(files.path(&format!("image/{id:04}.jpg"))).unwrap();
    }
    files
}

fn all() -> Vec<DataModality> {
    let label = Encoding::labels(3, Some(2), 0);
    let height = plain_values(1, 7.0, Interpolation::Bilinear);
    let mut all = modalities();
    all.extend([
        DataModality::new("height", height),
        DataModality { stride: 4, ..DataModality::new("label", label) },
        DataModality { folder: "image".to_owned(), ..DataModality::new("photo", rgb().encoding) },
    ]);
    all
}

fn assert_same(files: &Dataset, packed: &Dataset) {
    assert_eq!(files.len(), packed.len());
    let part = |_: usize, _: usize| CropBox { top: 3, left: 7, height: 11, width: 20 };
    for index in 0..files.len() {
        assert_eq!(files.decode(index).unwrap(), packed.decode(index).unwrap());
        let window = |data: &Dataset| data.decode_window(index, part).unwrap();
        assert_eq!(window(files), window(packed));
    }
}

#[test]
fn samples_are_those_of_the_files_and_so_are_sizes() {
    let files = files(4);
    let (out, result) = pack(&files, &options(&files));
    let summary = result.unwrap();
    let (folder, packed) = (open(files.root(), &all()), open(&out, &all()));
    assert_same(&folder, &packed);
    // A run may be resumed on either.
    assert_eq!(folder.facts().unwrap(), packed.facts().unwrap());
    let pack = Pack::open(&out).unwrap();
    assert!(pack.folders().iter().all(|&(_, _, files)| files == 4), "{:?}", pack.folders());
    assert!(pack.folders().iter().all(|(name, ..)| pack.is_encoded(name)));
    // Their bytes, the index, and nothing else.
    let own = summary.bytes - summary.source_bytes;
    assert!(own < 64 + 64 + 400 + 4 * (16 + 6 * 16), "{own} bytes beside those of the files");
}

/// The modality decides as what a file is read, not the pack.
#[test]
fn a_folder_serves_every_modality_that_its_files_serve() {
    let files = Files::with_samples(2);
    let (out, result) = pack(&files, &options(&files));
    result.unwrap();
    let picture = DataModality { folder: "depth".to_owned(), ..rgb() };
    let numbers = DataModality {
        folder: "rgb".to_owned(),
        ..DataModality::new("planes", plain_values(3, 1.0, Interpolation::Nearest))
    };
    let ignored = DataModality { orientation: Orientation::Ignore, ..rgb() };
    for modalities in [vec![picture], vec![numbers], vec![ignored]] {
        let read = |root: &Path| open(root, &modalities).decode(1).map_err(|e| e.to_string());
        match (read(files.root()), read(&out)) {
            (Ok(folder), Ok(packed)) => assert_eq!(folder, packed),
            (Err(folder), Err(packed)) => {
                let problem = |text: &str| text.rsplit_once("png: ").map(|(_, p)| p.to_owned());
                assert!(problem(&folder).is_none_or(|problem| packed.ends_with(&problem)));
            }
            (folder, packed) => panic!("{folder:?} and {packed:?}"),
        }
    }
}

#[test]
fn folders_are_kept_one_by_one() {
    let files = files(3);
    let mut options = options(&files);
    options.folders.iter_mut().for_each(|folder| folder.encoded = folder.folder == "image");
    let (out, result) = pack(&files, &options);
    result.unwrap();
    assert_same(&open(files.root(), &all()), &open(&out, &all()));
    let pack = Pack::open(&out).unwrap();
    assert!(pack.is_encoded("image") && !pack.is_encoded("rgb") && !pack.is_encoded("normal"));
}

#[test]
fn damaged_bytes_name_the_sample() {
    let files = Files::with_samples(3);
    let (out, result) = pack(&files, &options(&files));
    result.unwrap();
    let whole = fs_err::read(&out).unwrap();
    let second = files.read("rgb/0001.png");
    let at = whole.windows(second.len()).position(|bytes| bytes == second).unwrap();
    let mut damaged = whole.clone();
    damaged[at + second.len() / 2] ^= 1;
    fs_err::write(&out, &damaged).unwrap();
    let dataset = open(&out, &modalities());
    assert!(dataset.decode(0).is_ok() && dataset.decode(2).is_ok());
    let error = dataset.decode(1).unwrap_err().to_string();
    assert!(error.contains("`0001`") && error.contains("checksum"), "{error}");
    let found = Pack::open(&out).unwrap().verify(|_, _| {}, &AtomicBool::new(false)).unwrap();
    let found: Vec<_> = found.iter().map(|one| (&*one.sample, &*one.folder)).collect();
    assert_eq!(found, [("0001", "rgb")]);
    // Every byte of the index counts, and so does a byte of the header.
    for at in [9, whole.len() - 9] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs_err::write(&out, &damaged).unwrap();
        assert!(Pack::open(&out).is_err(), "byte {at}");
    }
}

#[test]
fn bad_files_are_found_while_packing() {
    let files = Files::with_samples(3);
    files.write("rgb/0001.png", b"no picture");
    let (out, result) = pack(&files, &options(&files));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("0001") && !out.exists(), "{error}");
    let (out, result) = pack(&files, &Options { skip_bad: true, ..options(&files) });
    assert_eq!(result.unwrap().left_out.len(), 1);
    assert_eq!(open(&out, &modalities()).len(), 2);
}

#[test]
fn files_as_they_are_cannot_be_reduced() {
    let files = Files::with_samples(1);
    let shrink = Some(Shrink::ShortSide(4));
    let (_, result) = pack(&files, &Options { shrink, ..options(&files) });
    let error = result.unwrap_err().to_string();
    assert!(error.contains("as they are") && error.contains("reduced"), "{error}");
}

/// Packs of frames have the format that older versions read; others have a newer one, which these
/// refuse with its number.
#[test]
fn the_format_is_the_oldest_that_holds_the_pack() {
    let files = Files::with_samples(1);
    let version = |encoded: bool| {
        let mut options = Options { replace: true, ..options(&files) };
        options.folders.iter_mut().for_each(|folder| folder.encoded = encoded);
        let (out, result) = pack(&files, &options);
        result.unwrap();
        fs_err::read(out).unwrap()[8..12].to_vec()
    };
    assert_eq!((version(false), version(true)), (vec![1, 0, 0, 0], vec![2, 0, 0, 0]));
}
