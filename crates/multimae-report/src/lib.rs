//! Reports of a training run: pictures, curves, HTML, TensorBoard event files and the metrics log.
//!
//! The main nouns:
//!
//! * [`Picture`]: an RGB picture made from a tensor, a depth map or class labels, with the masked
//!   patches hidden or the visible ones pasted; [`Grid`] sets pictures in a figure with titles.
//! * [`Palette`] and [`Colormap`]: the colours and names of classes, the colours of values.
//! * [`LineChart`], [`ScatterChart`]: curves and points as SVG. [`Table`]: for a terminal or Markdown.
//! * [`Report`]: one HTML file that holds all of these and opens without a network.
//! * [`MetricsLog`]: `metrics.jsonl`. [`EventWriter`]: the same numbers for TensorBoard.
//!
//! Nothing here knows of models or engines: tensors come as slices with their shape.
//!
//! ```
//! use multimae_report::colormap::ValueRange;
//! use multimae_report::picture::WHITE;
//! use multimae_report::{Colormap, Grid, LineChart, Picture, Report, Series};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let depth: Vec<f32> = (0..32 * 32).map(|i| (i % 32) as f32 / 10.0).collect();
//! let range = ValueRange::of(&depth);
//! let original = Picture::from_map(&depth, (32, 32), Colormap::Viridis, range)?;
//! let mut masked = original.clone();
//! masked.hide_patches(&[true, false, false, true], (2, 2), WHITE)?;
//!
//! let mut figure = Grid::new(["masked input", "original"]);
//! figure.row("depth", [masked.upscale(2), original.upscale(2)]);
//!
//! let mut loss = LineChart::new("Loss", "step", "L1");
//! loss.push(Series::new("depth", vec![(0.0, 1.0), (1.0, 0.6), (2.0, 0.5)]));
//!
//! let mut report = Report::new("A first run");
//! report.chart(&loss.svg()).picture(&figure.render(), "One sample.")?;
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("report.html");
//! report.write(&path)?;
//! # Ok(())
//! # }
//! ```

pub mod chart;
pub mod colormap;
mod error;
pub mod events;
pub mod html;
pub mod metrics_log;
pub mod palette;
pub mod picture;
mod table;

pub use chart::{LineChart, ScatterChart, Series};
pub use colormap::Colormap;
pub use error::{Error, Result};
pub use events::EventWriter;
pub use html::Report;
pub use metrics_log::MetricsLog;
pub use palette::Palette;
pub use picture::{Grid, Picture};
pub use table::Table;
