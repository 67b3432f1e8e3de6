//! Arrays that h5py wrote, whole and damaged.

use hdf5_pure::{DType, File};
use proptest::prelude::*;

use super::*;

const ARRAYS: &[u8] = include_bytes!("../../tests/fixtures/hdf5/arrays.h5");

/// A file of these bytes, open for reading as long as its folder is there.
fn open(bytes: &[u8]) -> (tempfile::TempDir, Result<File, hdf5_pure::Error>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.h5");
    fs_err::write(&path, bytes).unwrap();
    let file = File::open_streaming(&path);
    (dir, file)
}

fn checked(bytes: &[u8], name: &str) -> Result<(), String> {
    let (_dir, file) = open(bytes);
    let file = file.unwrap();
    check_chunks(&file.dataset(name).unwrap(), file.file_size())
}

/// `row * 8 + column` of 6 x 8.
fn expected() -> Vec<f32> {
    (0_u8..48).map(f32::from).collect()
}

#[test]
fn halves_are_told_from_other_floats_and_read() {
    let (_dir, file) = open(ARRAYS);
    let file = file.unwrap();
    for (name, half) in [("half", true), ("half_big_endian", false), ("bfloat", false)] {
        let array = file.dataset(name).unwrap();
        let DType::Other(datatype) = array.dtype().unwrap() else { panic!("{name} is plain") };
        assert_eq!(is_half(&datatype), half, "{name}");
        if half {
            assert_eq!(of_halves(&array.read_raw().unwrap()), expected());
        }
    }
}

#[test]
fn whole_arrays_pass_with_chunks_and_without() {
    for name in ["half", "single", "plain"] {
        checked(ARRAYS, name).unwrap();
    }
    let (_dir, file) = open(ARRAYS);
    assert_eq!(file.unwrap().dataset("single").unwrap().read_f32().unwrap(), expected());
}

/// The place of a chunk's entry in the index of `single`: its bytes, its filters and its first element.
fn entry_of_single(bytes: &[u8]) -> usize {
    // The chunk that begins at (4, 4) has 33 bytes; the last 0 counts the bytes of an element.
    let (len, filters) = (33_u32.to_le_bytes(), 0_u32.to_le_bytes());
    let first: Vec<u8> = [4_u64, 4, 0].iter().flat_map(|at| at.to_le_bytes()).collect();
    let entry = [&len[..], &filters, &first].concat();
    bytes.windows(entry.len()).position(|part| part == entry).unwrap()
}

#[test]
fn chunks_outside_of_the_file_or_of_the_array_are_refused() {
    let entry = entry_of_single(ARRAYS);
    let damaged = |at: usize, value: &[u8]| {
        let mut bytes = ARRAYS.to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        checked(&bytes, "single").unwrap_err()
    };
    let large = damaged(entry, &0x7000_0000_u32.to_le_bytes());
    assert!(large.contains("a chunk of 1879048192 bytes lies outside of the file's"), "{large}");
    let beyond = damaged(entry + 8, &6_u64.to_le_bytes());
    assert!(beyond.contains("a chunk begins at [6, 4], outside of the array's [6, 8]"), "{beyond}");
}

#[test]
fn chunks_larger_than_memory_are_refused() {
    // The sides of a chunk, and the bytes of an element.
    let sides: Vec<u8> = [4_u32, 4, 4].iter().flat_map(|side| side.to_le_bytes()).collect();
    let at = ARRAYS.windows(sides.len()).position(|part| part == sides).unwrap();
    let mut bytes = ARRAYS.to_vec();
    bytes[at..at + 4].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    let problem = checked(&bytes, "single").unwrap_err();
    assert!(problem.contains("do not fit into memory"), "{problem}");
}

#[test]
fn more_values_than_the_file_can_hold_are_refused() {
    let (_dir, file) = open(ARRAYS);
    let array = file.unwrap().dataset("single").unwrap();
    check_chunks(&array, ARRAYS.len() as u64).unwrap();
    let problem = check_chunks(&array, 0).unwrap_err();
    assert!(problem.contains("more than a file of 0 bytes"), "{problem}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_never_panics_behind_the_check(at in 0..ARRAYS.len(), value: u8, end in 0..=ARRAYS.len()) {
        let mut bytes = ARRAYS.to_vec();
        bytes[at] = value;
        bytes.truncate(end.max(ARRAYS.len() / 2));
        let (_dir, file) = open(&bytes);
        let Ok(file) = file else { return Ok(()) };
        for name in ["half", "single", "plain"] {
            let Ok(array) = file.dataset(name) else { continue };
            if check_chunks(&array, file.file_size()).is_ok() {
                let _ = array.read_raw();
            }
        }
    }
}
