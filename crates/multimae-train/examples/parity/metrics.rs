//! Cases of depth and segmentation metrics.

use multimae::metrics::{DepthMetrics, SemsegMetrics};
use serde_json::json;

use crate::case::{Case, Files, ParityError, Tensors};

/// Labels with this value do not count.
const IGNORE: i64 = 255;

/// Computes `expected.json`.
pub(crate) fn compute(case: &Case) -> Result<Files, ParityError> {
    let inputs = case.tensors("inputs.safetensors")?;
    let report = json!({
        "kind": "metrics",
        "depth": depth(&inputs)?,
        "semseg": semseg(&inputs, case)?,
    });
    let text =
        serde_json::to_string_pretty(&report).map_err(|e| ParityError::Unknown(e.to_string()))?;
    Ok(vec![("expected.json", text.into_bytes())])
}

fn depth(inputs: &Tensors) -> Result<serde_json::Value, ParityError> {
    let floats = |name| Ok::<_, ParityError>(inputs.get(name)?.iter::<f32>().collect::<Vec<_>>());
    let valid: Vec<bool> = inputs.get("depth.valid")?.iter::<u8>().map(|v| v != 0).collect();
    let mut metrics = DepthMetrics::default();
    metrics.add(&floats("depth.pred")?, &floats("depth.target")?, &valid);
    Ok(json!(metrics.scores()))
}

fn semseg(inputs: &Tensors, case: &Case) -> Result<serde_json::Value, ParityError> {
    let labels = |name| Ok::<_, ParityError>(inputs.get(name)?.iter::<i64>().collect::<Vec<_>>());
    let (prediction, target) = (labels("semseg.pred")?, labels("semseg.target")?);
    // Without a configuration, the classes are those that occur.
    let seen = prediction.iter().chain(&target).filter(|&&class| class != IGNORE).max();
    let classes = seen.map_or(0, |&class| usize::try_from(class + 1).unwrap_or(0));
    let classes = case.count_or("num_classes", classes)?;
    let mut metrics = SemsegMetrics::new(classes, IGNORE);
    metrics.add(&prediction, &target);
    let mut report = json!({ "num_classes": classes, "ignore_index": IGNORE });
    if let (Some(report), Some(scores)) = (report.as_object_mut(), metrics.scores())
        && let serde_json::Value::Object(scores) = json!(scores)
    {
        report.extend(scores);
    }
    Ok(report)
}
