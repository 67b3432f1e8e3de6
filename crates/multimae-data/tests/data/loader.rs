//! Batches: their order, their errors, their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::files::{Files, modalities};
use indexmap::IndexMap;
use multimae_data::{
    BadSamples, Batch, Dataset, Deal, Error, Geometry, Layout, Loader, LoaderConfig, Pipeline,
    Result, Sample, SampleSource, StagedSource,
};
use proptest::prelude::*;

fn config(batch_size: usize, workers: usize) -> LoaderConfig {
    LoaderConfig {
        batch_size,
        workers,
        prefetch: 3,
        seed: 5,
        shuffle: true,
        reshuffle: true,
        drop_last: false,
        bad_samples: BadSamples::Fail,
    }
}

/// The behaviour of sample `index` of an epoch.
type Rule = fn(u64, usize) -> Option<&'static str>;

/// Samples without files, which take a moment and may be bad.
struct Made {
    len: usize,
    rule: Rule,
    started: AtomicUsize,
    delay: Duration,
}

impl Made {
    fn new(len: usize, rule: Rule) -> Arc<Self> {
        let started = AtomicUsize::new(0);
        Arc::new(Self { len, rule, started, delay: Duration::ZERO })
    }
}

impl SampleSource for Made {
    fn len(&self) -> usize {
        self.len
    }

    fn id(&self, _epoch: u64, index: usize) -> String {
        format!("s{index}")
    }

    fn sample(&self, epoch: u64, index: usize) -> Result<Sample> {
        self.started.fetch_add(1, Ordering::SeqCst);
        // Uneven: later samples overtake earlier ones.
        std::thread::sleep(self.delay + Duration::from_micros((index * 7919 % 5 * 100) as u64));
        match (self.rule)(epoch, index) {
            Some("panic") => panic!("sample {index} fell over"),
            Some(problem) => Err(Error::Sample {
                sample: self.id(epoch, index),
                modality: "rgb".to_owned(),
                path: "file".into(),
                problem: problem.to_owned(),
            }),
            None => Ok(Sample { id: self.id(epoch, index), index, maps: IndexMap::new() }),
        }
    }
}

fn good(_: u64, _: usize) -> Option<&'static str> {
    None
}

fn indices(batch: &Batch) -> Vec<usize> {
    batch.samples.iter().map(|sample| sample.index).collect()
}

fn all(loader: &Loader, start: (u64, u64), end: u64) -> Vec<Batch> {
    loader.batches(start, end).map(Result::unwrap).collect()
}

#[test]
fn every_sample_comes_once_per_epoch() {
    let loader = Loader::new(Made::new(10, good), config(4, 2)).unwrap();
    let batches = all(&loader, (0, 0), 2);
    let names: Vec<(u64, u64, usize)> =
        batches.iter().map(|b| (b.epoch, b.batch, b.samples.len())).collect();
    assert_eq!(names, [(0, 0, 4), (0, 1, 4), (0, 2, 2), (1, 0, 4), (1, 1, 4), (1, 2, 2)]);
    for epoch in [0, 1] {
        let mut seen: Vec<usize> =
            batches.iter().filter(|b| b.epoch == epoch).flat_map(indices).collect();
        assert_eq!(seen, loader.order(epoch));
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..10));
    }
    assert_ne!(loader.order(0), loader.order(1));
}

#[test]
fn without_shuffling_the_order_is_the_data_sets() {
    let config = LoaderConfig { shuffle: false, drop_last: true, ..config(4, 1) };
    let loader = Loader::new(Made::new(10, good), config).unwrap();
    assert_eq!(loader.batches_per_epoch(), 2);
    let seen: Vec<usize> = all(&loader, (0, 0), 2).iter().flat_map(indices).collect();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn threads_and_interruptions_change_nothing(
        len in 1_usize..30,
        batch_size in 1_usize..8,
        workers in 1_usize..4,
        prefetch in 0_usize..20,
        drop_last: bool,
        start in 0_u64..12,
    ) {
        let plain = LoaderConfig { drop_last, ..config(batch_size, 0) };
        let Ok(loader) = Loader::new(Made::new(len, good), plain.clone()) else {
            prop_assert!(drop_last && len < batch_size);
            return Ok(());
        };
        let expected = all(&loader, (0, 0), 3);
        let threaded = LoaderConfig { workers, prefetch, ..plain };
        let loader = Loader::new(Made::new(len, good), threaded).unwrap();
        prop_assert_eq!(&all(&loader, (0, 0), 3), &expected);
        let start = start.min(expected.len() as u64);
        prop_assert_eq!(&all(&loader, (0, start), 3), &expected[start as usize..]);
    }
}

#[test]
fn real_samples_do_not_depend_on_threads() {
    let files = Files::with_samples(7);
    let dataset = Dataset::open(files.root(), &Layout::Folders, &modalities()).unwrap();
    let (scale, ratio) = ((0.2, 1.0), (0.75, 4.0 / 3.0));
    let geometry = Geometry::RandomResizedCrop { scale, ratio, hflip: 0.5, size: (16, 16) };
    let pipeline = Arc::new(Pipeline::new(Arc::new(dataset), geometry, 1).unwrap());
    let batches = |workers| {
        let loader = Loader::new(Arc::clone(&pipeline), config(3, workers)).unwrap();
        all(&loader, (0, 1), 3)
    };
    let expected = batches(0);
    assert_eq!(expected.len(), 8);
    assert_eq!(batches(1), expected);
    assert_eq!(batches(3), expected);
}

#[test]
fn the_geometry_changes_at_a_step_in_the_middle_of_an_epoch() {
    let files = Files::with_samples(7);
    let dataset = Dataset::open(files.root(), &Layout::Folders, &modalities()).unwrap();
    let of_size = |side| Geometry::CenterFit { size: (side, side) };
    let pipeline = Pipeline::new(Arc::new(dataset), of_size(8), 1).unwrap();
    // Three batches in an epoch: steps 0 to 3 have a side of 8, 4 of 12, and the others of 16.
    let sized = |side| pipeline.clone().with_geometry(of_size(side)).unwrap();
    let staged = StagedSource::new(pipeline.clone(), 3);
    let staged = Arc::new(staged.with_stage(5, sized(16)).with_stage(4, sized(12)));
    let batches = |workers, start| {
        let loader = Loader::new(Arc::clone(&staged), config(3, workers)).unwrap();
        all(&loader, start, 3)
    };
    let expected = batches(0, (0, 0));
    let sides: Vec<usize> =
        expected.iter().map(|batch| batch.samples[0].maps["rgb"].width).collect();
    assert_eq!(sides, [8, 8, 8, 8, 12, 16, 16, 16, 16]);
    assert_eq!(batches(3, (0, 0)), expected);
    assert_eq!(batches(2, (1, 1)), expected[4..]);
    let plain = Loader::new(pipeline, config(3, 0)).unwrap();
    assert_eq!(all(&plain, (0, 0), 1), expected[..3]);
}

fn third_is_bad(_: u64, index: usize) -> Option<&'static str> {
    (index == 2).then_some("damaged")
}

#[test]
fn a_bad_sample_fails_its_own_batch() {
    for workers in [0, 2] {
        let config = LoaderConfig { shuffle: false, ..config(2, workers) };
        let loader = Loader::new(Made::new(6, third_is_bad), config).unwrap();
        let batches: Vec<Result<Batch>> = loader.batches((0, 0), 1).collect();
        assert_eq!(batches.len(), 3);
        assert_eq!(indices(batches[0].as_ref().unwrap()), [0, 1]);
        assert!(matches!(&batches[1], Err(Error::Sample { sample, .. }) if sample == "s2"));
        assert_eq!(indices(batches[2].as_ref().unwrap()), [4, 5]);
    }
}

#[test]
fn skipped_samples_are_listed() {
    let config = LoaderConfig { shuffle: false, bad_samples: BadSamples::Skip, ..config(2, 2) };
    let loader = Loader::new(Made::new(6, third_is_bad), config).unwrap();
    let batches = all(&loader, (0, 0), 1);
    assert_eq!(indices(&batches[1]), [3]);
    assert_eq!(batches[1].rejected[0].id, "s2");
    assert!(batches[1].rejected[0].problem.contains("damaged"));
    assert!(batches[0].rejected.is_empty());
}

/// Samples by place of the batches of all processes together.
fn together(parts: &[Vec<Batch>]) -> Vec<Vec<(usize, String)>> {
    (0..parts[0].len())
        .map(|number| {
            let of = |part: &Vec<Batch>| {
                let Batch { places, samples, .. } = part[number].clone();
                places.into_iter().zip(samples.into_iter().map(|sample| sample.id))
            };
            let mut placed: Vec<(usize, String)> = parts.iter().flat_map(of).collect();
            placed.sort();
            placed
        })
        .collect()
}

#[test]
fn dealt_batches_are_the_whole_ones_together() {
    for workers in [0, 2] {
        let skips = LoaderConfig { bad_samples: BadSamples::Skip, ..config(6, workers) };
        let loader = Loader::new(Made::new(20, third_is_bad), skips).unwrap();
        let whole = all(&loader, (0, 2), 3);
        // The last batch of an epoch has two samples: only the first pass.
        for size in [1, 2, 3] {
            let parts: Vec<Vec<Batch>> = (0..size)
                .map(|rank| loader.clone().with_deal(Deal::new((2, 3), (rank, size))))
                .map(|part| all(&part, (0, 2), 3))
                .collect();
            assert_eq!(together(&parts), together(std::slice::from_ref(&whole)));
            for (number, batch) in whole.iter().enumerate() {
                let rejected: usize = parts.iter().map(|part| part[number].rejected.len()).sum();
                assert_eq!(rejected, batch.rejected.len());
                let same = |part: &Vec<Batch>| {
                    let Batch { epoch, batch, planned, .. } = part[number];
                    (epoch, batch, planned)
                };
                let expected = (batch.epoch, batch.batch, batch.planned);
                assert!(parts.iter().all(|part| same(part) == expected));
            }
        }
    }
}

#[test]
fn a_dealt_batch_may_be_empty() {
    let none: Rule = |_, _| Some("torn");
    let skips = LoaderConfig { bad_samples: BadSamples::Skip, ..config(4, 0) };
    let loader = Loader::new(Made::new(4, none), skips).unwrap();
    let part = loader.with_deal(Deal::new((2, 2), (1, 2)));
    let batches = all(&part, (0, 0), 1);
    assert!(batches[0].samples.is_empty());
    assert_eq!((batches[0].planned, batches[0].rejected.len()), (4, 2));
}

#[test]
fn a_batch_without_good_samples_is_an_error() {
    let rule: Rule = |_, index| (index < 2).then_some("damaged");
    let config = LoaderConfig { shuffle: false, bad_samples: BadSamples::Skip, ..config(2, 2) };
    let loader = Loader::new(Made::new(4, rule), config).unwrap();
    let batches: Vec<Result<Batch>> = loader.batches((0, 0), 1).collect();
    let Err(error @ Error::EmptyBatch { .. }) = &batches[0] else { panic!("{batches:?}") };
    let text = error.to_string();
    assert!(text.contains("s0") && text.contains("s1") && text.contains("damaged"), "{text}");
    assert!(batches[1].is_ok());
}

#[test]
fn a_panic_becomes_an_error_even_when_bad_samples_are_skipped() {
    let rule: Rule = |_, index| (index == 1).then_some("panic");
    for workers in [0, 1, 3] {
        let config =
            LoaderConfig { shuffle: false, bad_samples: BadSamples::Skip, ..config(2, workers) };
        let loader = Loader::new(Made::new(4, rule), config).unwrap();
        let batches: Vec<Result<Batch>> = loader.batches((0, 0), 1).collect();
        let Err(error @ Error::Worker { .. }) = &batches[0] else { panic!("{batches:?}") };
        assert!(error.to_string().contains("`s1`") && error.to_string().contains("fell over"));
        assert_eq!(indices(batches[1].as_ref().unwrap()), [2, 3]);
    }
}

/// Waits until this number of samples was begun, and a little longer for one too many.
fn started(source: &Made, count: usize) -> usize {
    let deadline = Instant::now() + Duration::from_secs(20);
    while source.started.load(Ordering::SeqCst) < count && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(50));
    source.started.load(Ordering::SeqCst)
}

#[test]
fn only_so_many_samples_are_made_ahead() {
    let source = Made::new(100, good);
    let loader = Loader::new(Arc::clone(&source), config(4, 2)).unwrap();
    let mut batches = loader.batches((0, 0), 1);
    assert_eq!(started(&source, 5), 5);
    batches.next().unwrap().unwrap();
    assert_eq!(started(&source, 9), 9);
}

#[test]
fn dropping_stops_the_threads() {
    let mut source = Made::new(1000, good);
    Arc::get_mut(&mut source).unwrap().delay = Duration::from_millis(20);
    let config = LoaderConfig { prefetch: 500, ..config(4, 2) };
    let loader = Loader::new(Arc::clone(&source), config).unwrap();
    let mut batches = loader.batches((0, 0), 1);
    batches.next().unwrap().unwrap();
    drop(batches);
    drop(loader);
    // The threads are gone, and their hold on the samples with them.
    assert_eq!(Arc::strong_count(&source), 1);
    // They did not finish what they had been asked for.
    let begun = source.started.load(Ordering::SeqCst);
    assert!(begun < 1000, "{begun} samples");
}

#[test]
fn starts_beyond_an_epoch_count_on() {
    let loader = Loader::new(Made::new(10, good), config(4, 1)).unwrap();
    assert_eq!(all(&loader, (0, 4), 3), all(&loader, (1, 1), 3));
    assert!(loader.batches((3, 0), 3).next().is_none());
    assert!(loader.batches((0, 9), 3).next().is_none());
}

#[test]
fn impossible_configurations_are_refused() {
    assert!(Loader::new(Made::new(4, good), config(0, 1)).is_err());
    let drop_last = LoaderConfig { drop_last: true, ..config(5, 1) };
    assert!(Loader::new(Made::new(4, good), drop_last).is_err());
    assert!(Loader::new(Made::new(0, good), config(2, 1)).is_err());
}
