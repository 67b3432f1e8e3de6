//! Times and memory of a data set of N tiny samples in shards: rgb of 16 x 16 pixels as jpeg, depth
//! and labels as png. `growth make DIR N [PER_SHARD]` writes them, in WebDataset's layout;
//! `growth read DIR [SAMPLES]` opens them twice, without and with an index, and reads in random order.
//! `benches/shards/growth.py` measures other readers on the same files.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use multimae_data::shards::INDEX_FILE;
use multimae_data::{
    BadSamples, DataModality, Dataset, Encoding, Geometry, IMAGENET_MEAN, IMAGENET_STD,
    Interpolation, Layout, Loader, LoaderConfig, Order, Pipeline,
};

const SIDE: u32 = 16;
/// Different samples; the others repeat their bytes.
const DIFFERENT: usize = 64;

fn modalities() -> [DataModality; 3] {
    let rgb = Encoding::Color { mean: IMAGENET_MEAN, std: IMAGENET_STD };
    let depth = Encoding::Continuous {
        channels: 1,
        divisor: 1000.0,
        mean: vec![],
        std: vec![],
        interpolation: Interpolation::Bicubic,
        standardize: true,
        quantity: multimae_data::Quantity::Plain,
    };
    let labels = DataModality::new("semseg", Encoding::labels(133, Some(255), 0));
    [
        DataModality::new("rgb", rgb),
        DataModality::new("depth", depth),
        DataModality { stride: 4, ..labels },
    ]
}

/// The members of a sample: field and bytes.
fn files(number: usize) -> Result<[(&'static str, Vec<u8>); 3], image::ImageError> {
    let value = |x: u32, y: u32| (x * 13 + y * 7 + number as u32 * 31) % 133;
    let rgb = image::RgbImage::from_fn(SIDE, SIDE, |x, y| {
        image::Rgb([value(x / 4, y / 4) as u8, (x * 9) as u8, (y * 9) as u8])
    });
    let depth = image::ImageBuffer::<image::Luma<u16>, _>::from_fn(SIDE, SIDE, |x, y| {
        image::Luma([500 + 20 * value(x, y) as u16])
    });
    let labels =
        image::GrayImage::from_fn(SIDE, SIDE, |x, y| image::Luma([value(x / 4, y / 4) as u8]));
    let encoded = |image: image::DynamicImage, format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).map(|()| bytes.into_inner())
    };
    Ok([
        ("depth.png", encoded(depth.into(), image::ImageFormat::Png)?),
        ("rgb.jpg", encoded(rgb.into(), image::ImageFormat::Jpeg)?),
        ("semseg.png", encoded(labels.into(), image::ImageFormat::Png)?),
    ])
}

/// Ids as ImageNet has them, a thousand classes, in an order that is not theirs.
fn id(number: usize, samples: usize) -> String {
    let mixed = (number as u64 * 2_654_435_761) % samples as u64;
    format!("n{:08}/n{:08}_{mixed}", 1_440_764 + mixed % 1000, 1_440_764 + mixed % 1000)
}

fn make(root: &Path, samples: usize, per_shard: usize) -> Result<(), Box<dyn std::error::Error>> {
    fs_err::create_dir_all(root)?;
    let different = (0..DIFFERENT).map(files).collect::<Result<Vec<_>, _>>()?;
    for shard in 0..samples.div_ceil(per_shard) {
        let path = root.join(format!("train-{shard:06}.tar"));
        let mut tar = tar::Builder::new(BufWriter::new(fs_err::File::create(path)?));
        for number in shard * per_shard..samples.min((shard + 1) * per_shard) {
            for (field, bytes) in &different[number % DIFFERENT] {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                tar.append_data(&mut header, format!("{}.{field}", id(number, samples)), &**bytes)?;
            }
        }
        tar.into_inner()?.into_inner()?;
    }
    Ok(())
}

/// Bytes of memory of this process: of its own, and of mapped files.
fn memory() -> (u64, u64) {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |key: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    };
    (kilobytes("RssAnon") << 10, kilobytes("RssFile") << 10)
}

/// Seconds of processors that this process has used: other programs do not change them much.
fn processor_seconds() -> f64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold blanks; the system counts in hundredths.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn read(root: &Path, most: usize) -> Result<(), Box<dyn std::error::Error>> {
    let index = root.join(INDEX_FILE);
    let open = || Dataset::open(root, &Layout::Folders, &modalities());
    if !index.exists() {
        let (start, used) = (Instant::now(), processor_seconds());
        open()?;
        let used = processor_seconds() - used;
        let elapsed = start.elapsed().as_secs_f64();
        println!("first opening, with the index made: {elapsed:.2} s, {used:.2} s of processors");
    }
    let (start, used) = (Instant::now(), processor_seconds());
    let before = memory();
    let dataset = open()?;
    let (opened, used) = (start.elapsed().as_secs_f64(), processor_seconds() - used);
    let (own, mapped) = memory();
    println!("{} samples opened in {opened:.3} s, {used:.2} s of processors", dataset.len());
    println!(
        "memory: {:.0} MB, and {:.0} MB of the index mapped; the index has {:.0} MB",
        (own - before.0) as f64 / 1e6,
        (mapped.saturating_sub(before.1)) as f64 / 1e6,
        fs_err::metadata(&index)?.len() as f64 / 1e6
    );
    let geometry = Geometry::RandomResizedCrop {
        scale: (0.2, 1.0),
        ratio: (0.75, 4.0 / 3.0),
        hflip: 0.5,
        size: (SIDE as usize, SIDE as usize),
    };
    let pipeline = Arc::new(Pipeline::new(Arc::new(dataset), geometry, 0)?);
    for (order, workers) in
        [(Order::Samples, 1), (Order::Samples, 2), (Order::Shards { window: 8 }, 1)]
    {
        let config = LoaderConfig {
            batch_size: 256,
            workers,
            prefetch: 512,
            seed: 0,
            shuffle: true,
            reshuffle: true,
            drop_last: false,
            bad_samples: BadSamples::Fail,
        };
        let loader = Loader::new(Arc::clone(&pipeline), config)?.with_order(order)?;
        let (start, used) = (Instant::now(), processor_seconds());
        let (mut samples, mut first) = (0, None);
        for batch in loader.batches((0, 0), 1) {
            samples += batch?.samples.len();
            first.get_or_insert_with(|| start.elapsed());
            if samples >= most {
                break;
            }
        }
        let rate = samples as f64 / start.elapsed().as_secs_f64();
        let of_processor = samples as f64 / (processor_seconds() - used);
        println!(
            "{order:?}, {workers} workers: {rate:.0} samples per second, {of_processor:.0} per second \
             of a processor; first batch after {:.2} s",
            first.unwrap_or_default().as_secs_f64()
        );
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["make", root, samples] => make(root.as_ref(), samples.parse()?, 10_000),
        ["make", root, samples, per_shard] => {
            make(root.as_ref(), samples.parse()?, per_shard.parse()?)
        }
        ["read", root] => read(root.as_ref(), 100_000),
        ["read", root, samples] => read(root.as_ref(), samples.parse()?),
        _ => Err("arguments: make DIR N [PER_SHARD], or read DIR [SAMPLES]".into()),
    }
}
