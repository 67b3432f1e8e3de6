//! Training on shards is training on the files.

use std::sync::Arc;

use multimae_data::{BadSamples, Batch, Dataset, Geometry, Loader, LoaderConfig, Order, Pipeline};

use super::{copied, fixture, open};

fn loader(data: Dataset, workers: usize) -> Loader {
    let geometry = Geometry::RandomResizedCrop {
        scale: (0.2, 1.0),
        ratio: (0.75, 4.0 / 3.0),
        hflip: 0.5,
        size: (8, 8),
    };
    let pipeline = Pipeline::new(Arc::new(data), geometry, 3).unwrap();
    let config = LoaderConfig {
        batch_size: 4,
        workers,
        prefetch: 4,
        seed: 3,
        shuffle: true,
        reshuffle: true,
        drop_last: false,
        bad_samples: BadSamples::Fail,
    };
    Loader::new(pipeline, config).unwrap()
}

fn batches(loader: &Loader, start: (u64, u64)) -> Vec<Batch> {
    loader.batches(start, 3).collect::<Result<_, _>>().unwrap()
}

#[test]
fn batches_are_those_of_the_files() {
    let files = batches(&loader(open(&fixture("files")), 0), (0, 0));
    assert_eq!(files.len(), 6);
    for layout in ["webdataset", "folders", "classes"] {
        let (_dir, root) = copied(layout);
        let shards = loader(open(&root), 2);
        assert_eq!(files, batches(&shards, (0, 0)), "{layout}");
        assert_eq!(files[3..], batches(&shards, (1, 1)), "{layout}, resumed");
    }
}

#[test]
fn the_order_of_shards_is_resumed_and_keeps_shards_together() {
    let (_dir, root) = copied("webdataset");
    let one = loader(open(&root), 2).with_order(Order::Shards { window: 1 }).unwrap();
    let all = batches(&one, (0, 0));
    assert_eq!(all[3..], batches(&one, (1, 1)));
    for epoch in 0..3 {
        // Three samples per shard: indices 0 to 2, and 3 to 5.
        let order = one.order(epoch);
        let shards: Vec<usize> = order.iter().map(|index| index / 3).collect();
        assert!(shards[..3].iter().all(|&shard| shard == shards[0]), "{order:?}");
        assert_ne!(shards[0], shards[3]);
    }
    let limited = open(&root).limit(Some(4), 1);
    assert_eq!(limited.blocks().unwrap().iter().map(Vec::len).sum::<usize>(), 4);
    let files = loader(open(&fixture("files")), 0);
    let error = files.with_order(Order::Shards { window: 1 }).unwrap_err().to_string();
    assert!(error.contains("not in shards"), "{error}");
    assert!(loader(open(&root), 0).with_order(Order::Shards { window: 0 }).is_err());
}

/// Reading ahead changes no sample, and hides no error.
#[test]
fn a_shard_that_cannot_be_read_ahead_is_the_error_of_its_samples() {
    let (_dir, root) = copied("webdataset");
    let data = open(&root);
    let files = data.block_files();
    assert_eq!(files.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    let all = loader(open(&root), 1).with_order(Order::Shards { window: 1 }).unwrap();
    let (order, whole) = (all.order(0), batches(&all, (0, 0)));
    let lost = data.blocks().unwrap().iter().position(|block| block.contains(&order[0])).unwrap();
    fs_err::remove_file(&files[lost][0]).unwrap();
    let one = loader(data, 1).with_order(Order::Shards { window: 1 }).unwrap();
    // Three samples are lost: the first batch of four has all of them, the second one none.
    let mut batches = one.batches((0, 0), 1);
    let error = batches.next().unwrap().unwrap_err().to_string();
    assert!(error.contains(files[lost][0].to_str().unwrap()), "{error}");
    let second = batches.next().unwrap().unwrap();
    assert_eq!(second.samples, whole[1].samples);
    assert!(open(&fixture("files")).block_files().is_empty());
}
