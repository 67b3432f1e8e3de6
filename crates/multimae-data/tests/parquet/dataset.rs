//! Tables as data sets.

use multimae_data::{
    DataDifference, DataModality, Dataset, Encoding, Interpolation, Layout, Naming, Quantity,
    RawMap, has_folder, is_stored,
};
use serde_json::Value as Json;

use super::{expected, fixture};

fn rgb(column: &str) -> DataModality {
    let encoding = Encoding::Color { mean: [0.0; 3], std: [1.0; 3] };
    DataModality { folder: column.to_owned(), ..DataModality::new("rgb", encoding) }
}

fn numbers(column: &str, channels: usize) -> DataModality {
    let encoding = Encoding::Continuous {
        channels,
        divisor: 1.0,
        mean: vec![],
        std: vec![],
        interpolation: Interpolation::Nearest,
        standardize: false,
        quantity: Quantity::Plain,
    };
    DataModality::new(column, encoding)
}

fn labels(column: &str) -> DataModality {
    DataModality::new(column, Encoding::labels(13, Some(-1), 0))
}

fn all() -> Vec<DataModality> {
    vec![
        rgb("image"),
        numbers("depth_image", 1),
        numbers("float_image", 1),
        DataModality { folder: "rgb".to_owned(), ..numbers("planes", 3) },
        numbers("depth", 1),
        labels("segmentation"),
        numbers("pixels", 3),
    ]
}

/// The numbers of nested lists in their order.
fn flat(value: &Json) -> Vec<f64> {
    match value {
        Json::Array(values) => values.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

fn values(map: &RawMap) -> Vec<f64> {
    match map {
        RawMap::Color(rgb) => rgb.iter().map(|&v| v.into()).collect(),
        RawMap::Continuous { data, .. } => data.iter().map(|&v| v.into()).collect(),
        RawMap::Labels(labels) => labels.iter().map(|&v| v as f64).collect(),
    }
}

/// `(H, W, 3)` to `(3, H, W)`.
fn planes(values: &[f64]) -> Vec<f64> {
    (0..3).flat_map(|channel| values.iter().skip(channel).step_by(3).copied()).collect()
}

#[test]
fn rows_are_samples_of_their_columns() {
    let root = fixture("hub");
    assert!(is_stored(&root) && has_folder(&root, "depth") && !has_folder(&root, "normal"));
    let expected = expected();
    for split in ["train", "val"] {
        let dataset = Dataset::open(&root, &Layout::of(Some(split)), &all()).unwrap();
        let rows = expected["hub"]["splits"][split].as_array().unwrap();
        assert_eq!(dataset.len(), rows.len());
        for (index, row) in rows.iter().enumerate() {
            let sample = dataset.decode(index).unwrap();
            assert_eq!(sample.id, format!("{split}-{index:05}"));
            assert_eq!((sample.height, sample.width), (4, 6));
            for (modality, map) in dataset.modalities().iter().zip(sample.maps.values()) {
                let column = &modality.folder;
                let wanted = flat(&row[column]);
                let wanted = if column == "pixels" { planes(&wanted) } else { wanted };
                assert_eq!(values(map), wanted, "{split} {index} {column}");
            }
        }
    }
    let whole = Dataset::open(&root, &Layout::Folders, &[rgb("pixels")]).unwrap();
    assert_eq!(whole.len(), 7);
    let row = &expected["hub"]["splits"]["train"][0]["pixels"];
    assert_eq!(values(&whole.decode(0).unwrap().maps["rgb"]), flat(row));
}

#[test]
fn columns_of_names_name_the_samples() {
    let table = fixture("snappy.parquet");
    let modalities = [rgb("image"), numbers("depth", 1)];
    let dataset = Dataset::open(&table, &Layout::Folders, &modalities).unwrap();
    let ids: Vec<_> = dataset.ids().collect();
    assert_eq!(ids, ["kitchen/0", "kitchen/1", "kitchen/2", "kitchen/3", "kitchen/4"]);
    // A single file is a split of its own name.
    assert!(Dataset::open(&table, &Layout::of(Some("snappy")), &modalities).is_ok());
    let error = Dataset::open(&table, &Layout::of(Some("train")), &modalities).unwrap_err();
    assert!(error.to_string().contains("no split `train`, but snappy"), "{error}");
}

#[test]
fn rows_without_a_value_lack_their_modality() {
    let modalities = [rgb("image"), labels("maybe"), numbers("depth", 1)];
    let table = fixture("snappy.parquet");
    let error = Dataset::open(&table, &Layout::Folders, &modalities).unwrap_err().to_string();
    assert!(error.contains("`maybe`: 1 sample without a file:\n  kitchen/3"), "{error}");
}

#[test]
fn columns_that_do_not_fit_are_named() {
    let open =
        |modality: DataModality| Dataset::open(&fixture("hub"), &Layout::Folders, &[modality]);
    let error = open(rgb("rgbd")).unwrap_err().to_string();
    assert!(
        error.contains("needs column `rgbd`") && error.contains("image, depth_image"),
        "{error}"
    );
    let error = open(labels("scene")).unwrap_err().to_string();
    assert!(error.contains("neither images nor arrays"), "{error}");
    let naming = Naming { strip_suffix: "_a".to_owned(), ..Naming::default() };
    let error = open(DataModality { naming, ..rgb("image") }).unwrap_err().to_string();
    assert!(error.contains("`strip_suffix`"), "{error}");
    // A bad value is a bad sample, with the file.
    let decode = |modality| open(modality).unwrap().decode(4).unwrap_err();
    let error = decode(rgb("rgb"));
    assert!(error.is_bad_sample(), "{error}");
    let text = error.to_string();
    assert!(text.contains("train-00001-of-00002.parquet") && text.contains("<f4"), "{text}");
    let text = decode(DataModality::new("segmentation", Encoding::labels(3, None, 0))).to_string();
    assert!(text.contains("train-00004") && text.contains("labels outside"), "{text}");
}

#[test]
fn other_tables_are_other_data() {
    let facts = |name: &str, column: &str| {
        let dataset = Dataset::open(&fixture(name), &Layout::Folders, &[numbers(column, 1)]);
        dataset.unwrap().facts().unwrap()
    };
    let before = facts("zstd.parquet", "depth");
    assert_eq!(before.difference(&facts("zstd.parquet", "depth")), None);
    assert_eq!(before.samples, 5);
    let now = facts("gzip.parquet", "depth");
    assert!(matches!(before.difference(&now), Some(DataDifference::Sizes(_))));
}

#[test]
fn commands_on_folders_say_that_they_read_no_tables() {
    let root = fixture("hub");
    let packed = multimae_data::packed::find_folders(&root, &Default::default()).unwrap_err();
    assert!(packed.to_string().contains("it holds parquet tables"), "{packed}");
}

/// Images keep their bytes, arrays their type and shape.
#[test]
fn rows_become_shards_and_packs() {
    use multimae_data::convert::{create_pack, find_folders, write_shards};
    use multimae_data::packed::Options;
    use multimae_data::shards::{ShardLayout, ShardOptions, ShardSize};

    let (root, dir) = (fixture("hub"), tempfile::tempdir().unwrap());
    let stop = std::sync::atomic::AtomicBool::new(false);
    let found = find_folders(&root, &Default::default()).unwrap();
    let modalities: Vec<DataModality> = all()
        .into_iter()
        .filter(|modality| modality.folder != "pixels" && modality.folder != "rgb")
        .collect();
    let wanted: Vec<String> = modalities.iter().map(|modality| modality.folder.clone()).collect();
    let shards = ShardOptions {
        folders: wanted.clone(),
        layout: ShardLayout::Folders,
        size: ShardSize::Samples(4),
        splits: Vec::new(),
        unnamed: None,
    };
    write_shards(&root, &dir.path().join("shards"), &shards, |_, _| {}, &stop).unwrap();
    let mut folders = found;
    folders.retain(|folder| wanted.contains(&folder.folder));
    folders.iter_mut().for_each(|folder| folder.encoded = true);
    let options = Options { folders, shrink: None, skip_bad: false, replace: false, threads: 1 };
    create_pack(&root, &dir.path().join("all.pack"), &options, |_, _| {}, &stop).unwrap();
    for split in ["train", "val"] {
        let open = |root: &std::path::Path| {
            Dataset::open(root, &Layout::of(Some(split)), &modalities).unwrap()
        };
        let table = open(&root);
        for other in ["shards", "all.pack"].map(|name| open(&dir.path().join(name))) {
            assert_eq!(table.ids().collect::<Vec<_>>(), other.ids().collect::<Vec<_>>());
            for index in 0..table.len() {
                assert_eq!(table.decode(index).unwrap(), other.decode(index).unwrap());
            }
        }
    }
}
