//! The answers of the idle server, to compare with.

use axum::body::Bytes;
use indexmap::IndexMap;
use serde_json::Value;

use super::requests::{image, predict};
use crate::load::client::Client;
use crate::{Error, Result};

/// Real values may differ by this plus the same part of their size: frames of one batch share GEMMs.
const TOLERANCE: f32 = 1e-3;
/// Labels may differ at this part of the pixels, where two classes are as good as equal.
const LABELS: f64 = 1e-3;

/// Answers by adapter, task and number of the frame.
#[derive(Debug)]
pub(super) struct References {
    frames: Vec<Bytes>,
    /// `answers[adapter][task][frame]`, `.npy` files.
    answers: IndexMap<String, IndexMap<String, Vec<Bytes>>>,
}

impl References {
    pub(super) fn new(frames: &[Vec<u8>]) -> Self {
        let frames = frames.iter().map(|frame| Bytes::from(frame.clone())).collect();
        Self { frames, answers: IndexMap::new() }
    }

    /// Asks an adapter for all tasks and frames, one after the other.
    ///
    /// # Errors
    /// If it does not answer.
    pub(super) async fn ask(&mut self, client: &Client, adapter: &str) -> Result<()> {
        let mut tasks: IndexMap<String, Vec<Bytes>> = IndexMap::new();
        for task in tasks_of(client, adapter).await? {
            for frame in &self.frames {
                let reply = client.send(image(predict(adapter, &task)), frame.clone()).await?;
                let answer = reply.answered(&format!("adapter `{adapter}`, task `{task}`"))?;
                tasks.entry(task.clone()).or_default().push(answer);
            }
        }
        self.answers.insert(adapter.to_owned(), tasks);
        Ok(())
    }

    pub(super) fn frame(&self, number: usize) -> Bytes {
        self.frames[number % self.frames.len()].clone()
    }

    /// The task of a number of an adapter.
    pub(super) fn task(&self, adapter: &str, number: usize) -> Option<&str> {
        let tasks = self.answers.get(adapter)?;
        let (name, _) = tasks.get_index(number % tasks.len().max(1))?;
        Some(name)
    }

    /// Whether an answer is that of the idle server, within the tolerance.
    pub(super) fn is_right(&self, adapter: &str, task: &str, frame: usize, answer: &[u8]) -> bool {
        let answers = self.answers.get(adapter).and_then(|tasks| tasks.get(task));
        let expected = answers.and_then(|answers| answers.get(frame % self.frames.len()));
        expected.is_some_and(|expected| agree(expected, answer))
    }
}

/// The tasks of an adapter that have an `.npy` file: not those of classes of images.
async fn tasks_of(client: &Client, adapter: &str) -> Result<Vec<String>> {
    let reply = client.get("/v1/adapters").await?;
    let list: Value = serde_json::from_slice(&reply.answered("/v1/adapters")?).unwrap_or_default();
    let mut adapters = list["adapters"].as_array().into_iter().flatten();
    let tasks = adapters.find(|own| own["name"] == adapter).map(|own| &own["tasks"]);
    let tasks = tasks.and_then(Value::as_object);
    let tasks = tasks.ok_or_else(|| Error::Load(format!("`{adapter}` is not loaded")))?;
    let maps = tasks.iter().filter(|(_, about)| about["shown"] != "text");
    Ok(maps.map(|(name, _)| name.clone()).collect())
}

/// Whether two `.npy` files have one header and the same values within the tolerance.
fn agree(expected: &[u8], answer: &[u8]) -> bool {
    let (Some((head, values)), Some((own_head, own))) = (parts(expected), parts(answer)) else {
        return false;
    };
    if head != own_head || values.len() != own.len() {
        return false;
    }
    if !String::from_utf8_lossy(head).contains("'<f4'") {
        let differ = values.iter().zip(own).filter(|(a, b)| a != b).count();
        return differ as f64 <= LABELS * values.len() as f64;
    }
    let close = |(a, b): (&[u8], &[u8])| match (number(a), number(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * (1.0 + a.abs()) || a == b,
        _ => false,
    };
    values.chunks(4).zip(own.chunks(4)).all(close)
}

fn number(bytes: &[u8]) -> Option<f32> {
    bytes.try_into().ok().map(f32::from_le_bytes)
}

/// The header and the values of an `.npy` file of version 1.
fn parts(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_le_bytes(file.get(8..10)?.try_into().ok()?));
    (file.starts_with(b"\x93NUMPY\x01")).then(|| file.split_at_checked(10 + length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(kind: &str, values: &[u8]) -> Vec<u8> {
        let head = format!("{{'descr': '{kind}', 'shape': ({},)}}\n", values.len());
        let length = (head.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00".as_slice(), &length, head.as_bytes(), values].concat()
    }

    #[test]
    fn answers_agree_within_the_tolerance() {
        let real = |values: [f32; 3]| npy("<f4", &values.map(f32::to_le_bytes).concat());
        let expected = real([1.0, 2.0, -3.0]);
        assert!(agree(&expected, &real([1.0005, 2.0, -3.001])));
        for other in [[1.01, 2.0, -3.0], [1.0, f32::NAN, -3.0], [1.0, 2.0, 3.0]] {
            assert!(!agree(&expected, &real(other)), "{other:?}");
        }
        assert!(!agree(&expected, &expected[..expected.len() - 4]));
        assert!(!agree(&expected, b"{}"));
        let labels: Vec<u8> = (0..=200).cycle().take(3000).collect();
        let differing = |count: usize| {
            let mut labels = labels.clone();
            labels[..count].iter_mut().for_each(|label| *label += 1);
            npy("|u1", &labels)
        };
        assert!(agree(&npy("|u1", &labels), &differing(3)));
        assert!(!agree(&npy("|u1", &labels), &differing(4)));
    }
}
