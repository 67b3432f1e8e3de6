//! TensorBoard event files.
//!
//! An event file is a sequence of TFRecords, each a protocol buffer `Event`. The messages below are
//! the parts of TensorFlow's `event.proto` and `summary.proto` that we write.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crc::{CRC_32_ISCSI, Crc};
use fs_err as fs;
use prost::Message;

use crate::Result;

/// The content of a file's first record.
const FILE_VERSION: &str = "brain.Event:2";

/// `SessionLog.SessionStatus.START`.
const SESSION_START: i32 = 1;

/// `Image.colorspace` of RGB.
const RGB: i32 = 3;

/// CRC-32C (Castagnoli).
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Writes one event file.
#[derive(Debug)]
pub struct EventWriter {
    file: BufWriter<fs::File>,
}

impl EventWriter {
    /// Opens a new event file `events.out.tfevents.<seconds>.multimae.<pid>.<n>` in `dir`, which is
    /// made if it is not there.
    ///
    /// A run that resumes at `resume_step` says so in the file; TensorBoard then forgets the
    /// records of earlier files of the directory from that step on.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(dir: &Path, resume_step: Option<u64>) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let mut writer = Self { file: BufWriter::new(create_file(dir)?) };
        writer.event(0, What::FileVersion(FILE_VERSION.to_owned()))?;
        if let Some(step) = resume_step {
            writer.event(step, What::SessionLog(SessionLog { status: SESSION_START }))?;
        }
        writer.flush()?;
        Ok(writer)
    }

    /// The directory of the events.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.get_ref().path()
    }

    /// Writes a number.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> Result<()> {
        self.summary(tag, step, SummaryValue::SimpleValue(value as f32))
    }

    /// Writes an RGB picture, given as PNG with its size in pixels.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn image(
        &mut self,
        tag: &str,
        step: u64,
        png: Vec<u8>,
        width: u32,
        height: u32,
    ) -> Result<()> {
        let image = Image {
            height: height.try_into().unwrap_or(i32::MAX),
            width: width.try_into().unwrap_or(i32::MAX),
            colorspace: RGB,
            encoded_image_string: png,
        };
        self.summary(tag, step, SummaryValue::Image(image))
    }

    /// Hands everything written so far to the operating system.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.file.flush()?)
    }

    fn summary(&mut self, tag: &str, step: u64, value: SummaryValue) -> Result<()> {
        let value = Tagged { tag: tag.to_owned(), value: Some(value) };
        self.event(step, What::Summary(Summary { value: vec![value] }))
    }

    fn event(&mut self, step: u64, what: What) -> Result<()> {
        let event = Event {
            wall_time: since_epoch().as_secs_f64(),
            step: step.try_into().unwrap_or(i64::MAX),
            what: Some(what),
        };
        write_record(&mut self.file, &event.encode_to_vec())?;
        Ok(())
    }
}

fn since_epoch() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn create_file(dir: &Path) -> Result<fs::File> {
    // TensorBoard reads the files of a directory in the order of their names.
    let stem = format!("events.out.tfevents.{}.multimae", since_epoch().as_secs());
    let mut count = 0;
    loop {
        let path: PathBuf = dir.join(format!("{stem}.{}.{count}", std::process::id()));
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => count += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Length, CRC of the length, data, CRC of the data; all little-endian.
fn write_record(out: &mut impl Write, data: &[u8]) -> std::io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked_crc(&length).to_le_bytes())?;
    out.write_all(data)?;
    out.write_all(&masked_crc(data).to_le_bytes())
}

/// The CRC as TFRecords store it: rotated and shifted, so that a CRC over data that holds CRCs is
/// still a good one.
fn masked_crc(data: &[u8]) -> u32 {
    CRC32C.checksum(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Tagged>,
}

/// `Summary.Value`.
#[derive(Clone, PartialEq, Message)]
struct Tagged {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "SummaryValue", tags = "2, 4")]
    value: Option<SummaryValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum SummaryValue {
    #[prost(float, tag = "2")]
    SimpleValue(f32),
    #[prost(message, tag = "4")]
    Image(Image),
}

/// `Summary.Image`.
#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded_image_string: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (head, tail) = bytes.split_at(count);
        *bytes = tail;
        head
    }

    fn number(bytes: &[u8]) -> u64 {
        bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
    }

    /// CRC-32C bit by bit, to check the table-driven one.
    fn plain_crc(data: &[u8]) -> u64 {
        let mut crc = u32::MAX;
        for &byte in data {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            }
        }
        let crc = !crc;
        u64::from(crc.rotate_right(15).wrapping_add(0xa282_ead8))
    }

    fn events(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut events = Vec::new();
        while !rest.is_empty() {
            let length = take(&mut rest, 8);
            assert_eq!(number(take(&mut rest, 4)), plain_crc(length));
            let data = take(&mut rest, usize::try_from(number(length)).unwrap());
            assert_eq!(number(take(&mut rest, 4)), plain_crc(data));
            events.push(Event::decode(data).unwrap());
        }
        events
    }

    #[test]
    fn records_decode() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(dir.path(), None).unwrap();
        writer.scalar("train/loss", 3, 0.5).unwrap();
        writer.image("val/depth", 4, vec![1, 2, 3], 7, 5).unwrap();
        writer.flush().unwrap();
        let events = events(writer.path());
        assert_eq!(events[0].what, Some(What::FileVersion("brain.Event:2".to_owned())));
        assert_eq!(events[1].step, 3);
        let summary = |event: &Event| match &event.what {
            Some(What::Summary(summary)) => summary.value[0].clone(),
            other => panic!("{other:?}"),
        };
        let scalar = summary(&events[1]);
        assert_eq!(scalar.tag, "train/loss");
        assert_eq!(scalar.value, Some(SummaryValue::SimpleValue(0.5)));
        let Some(SummaryValue::Image(image)) = summary(&events[2]).value else { panic!() };
        assert_eq!((image.width, image.height, image.colorspace), (7, 5, 3));
        assert_eq!(image.encoded_image_string, [1, 2, 3]);
    }

    #[test]
    fn a_resumed_run_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let first = EventWriter::create(dir.path(), None).unwrap();
        let second = EventWriter::create(dir.path(), Some(10)).unwrap();
        assert_ne!(first.path(), second.path());
        assert_eq!(events(first.path()).len(), 1);
        let resumed = &events(second.path())[1];
        assert_eq!(resumed.step, 10);
        assert_eq!(resumed.what, Some(What::SessionLog(SessionLog { status: 1 })));
    }
}
