//! Small data sets in temporary folders.

use std::path::{Path, PathBuf};

use multimae_data::{DataModality, Encoding, Interpolation};
use npyz::WriterBuilder;
use png::{BitDepth, ColorType};
use tempfile::TempDir;

pub(crate) const WIDTH: usize = 40;
pub(crate) const HEIGHT: usize = 30;

/// A data set folder that is removed in the end.
pub(crate) struct Files {
    dir: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Complete samples of rgb, depth and semseg that tell where each pixel comes from: red, depth
    /// (in tenths) and the label all say the column, green and the label's row part the row.
    pub(crate) fn with_samples(count: usize) -> Self {
        let files = Self::new();
        for id in 0..count {
            files.sample(&format!("{id:04}"), id);
        }
        files
    }

    pub(crate) fn sample(&self, id: &str, number: usize) {
        let pixels = || (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (y, x)));
        let rgb: Vec<u8> =
            pixels().flat_map(|(y, x)| [5 * x as u8, 5 * y as u8, number as u8]).collect();
        self.png(&format!("rgb/{id}.png"), ColorType::Rgb, BitDepth::Eight, &rgb);
        let depth: Vec<u8> =
            pixels().flat_map(|(y, x)| ((100 * y + x) as u16 * 10).to_be_bytes()).collect();
        self.png(&format!("depth/{id}.png"), ColorType::Grayscale, BitDepth::Sixteen, &depth);
        let labels: Vec<u8> =
            pixels().flat_map(|(y, x)| ((100 * y + x) as u16).to_be_bytes()).collect();
        self.png(&format!("semseg/{id}.png"), ColorType::Grayscale, BitDepth::Sixteen, &labels);
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let path = self.root().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs_err::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs_err::read(self.path(name)).unwrap()
    }

    pub(crate) fn remove(&self, name: &str) {
        fs_err::remove_file(self.path(name)).unwrap();
    }

    pub(crate) fn png(&self, name: &str, color: ColorType, depth: BitDepth, data: &[u8]) {
        self.png_of_size(name, (HEIGHT, WIDTH), color, depth, data);
    }

    pub(crate) fn png_of_size(
        &self,
        name: &str,
        (height, width): (usize, usize),
        color: ColorType,
        depth: BitDepth,
        data: &[u8],
    ) {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == ColorType::Indexed {
            // All colours the same: only the index tells the labels apart.
            encoder.set_palette(vec![7; 3 * 256]);
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        self.write(name, &bytes);
    }

    pub(crate) fn npy<T: npyz::AutoSerialize + Copy>(
        &self,
        name: &str,
        shape: &[u64],
        values: &[T],
    ) {
        let mut bytes = Vec::new();
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(shape)
            .writer(&mut bytes)
            .begin_nd()
            .unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
        self.write(name, &bytes);
    }
}

/// Plain RGB in 0..=1.
pub(crate) fn rgb() -> DataModality {
    let encoding = Encoding::Color { mean: [0.0; 3], std: [1.0; 3] };
    DataModality::new("rgb", encoding)
}

/// Plain values without mean and deviation.
pub(crate) fn plain_values(
    channels: usize,
    divisor: f32,
    interpolation: Interpolation,
) -> Encoding {
    Encoding::Continuous {
        channels,
        divisor,
        mean: vec![],
        std: vec![],
        interpolation,
        standardize: false,
        quantity: multimae_data::Quantity::Plain,
    }
}

pub(crate) fn depth(interpolation: Interpolation) -> DataModality {
    let encoding = plain_values(1, 10.0, interpolation);
    DataModality::new("depth", encoding)
}

pub(crate) fn semseg(classes: usize, ignore: Option<i64>, offset: i64) -> DataModality {
    let encoding = Encoding::labels(classes, ignore, offset);
    DataModality { stride: 4, ..DataModality::new("semseg", encoding) }
}

/// The modalities of [`Files::sample`].
pub(crate) fn modalities() -> Vec<DataModality> {
    vec![rgb(), depth(Interpolation::Nearest), semseg(4000, None, 0)]
}
