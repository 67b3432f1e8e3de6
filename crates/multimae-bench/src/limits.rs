//! The limits of this machine, and the rate of our GEMM.

use std::time::Instant;

use multimae::burn::tensor::{Device, Distribution, Tensor};
use multimae_kernels::precision::Precision;
use multimae_kernels::prepared::PreparedWeights;
use multimae_kernels::{limits, ops};
use multimae_report::Table;
use serde::{Deserialize, Serialize};

use crate::cells::{NONE, percent};
use crate::{Error, Result};

/// The best of this many counts.
const TRIES: usize = 10;

/// Rows, columns and inner length of GEMMs: both layers of the MLP of ViT-Small over 16 images, of
/// ViT-Base over 8 images and over one, and a large square.
const SIZES: [[usize; 3]; 7] = [
    [1584, 1536, 384],
    [1584, 384, 1536],
    [792, 3072, 768],
    [792, 768, 3072],
    [197, 3072, 768],
    [197, 768, 3072],
    [1536, 1536, 1536],
];

/// The limits of a number of threads in a precision, and our GEMM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Multiply-adds per second of a loop that does nothing else, two operations each.
    pub operations: f64,
    /// Bytes per second of the triad over large arrays.
    pub triad: f64,
    /// Our GEMM at some sizes.
    pub gemms: Vec<GemmRate>,
}

/// The rate of a GEMM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GemmRate {
    /// Rows, columns and inner length.
    pub size: [usize; 3],
    /// Operations per second.
    pub operations: f64,
}

impl Limits {
    /// Measures with a number of threads.
    ///
    /// # Errors
    /// If the threads cannot be started, or the processor does not multiply in that precision.
    pub fn measure(precision: Precision, threads: usize) -> Result<Self> {
        let refused = |problem: String| Error::Limits { threads, problem };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| refused(error.to_string()))?;
        pool.install(|| {
            let operations = limits::operations(precision)
                .ok_or_else(|| refused(format!("no products in {precision:?}")))?;
            let gemms = SIZES.map(|size| GemmRate { size, operations: of_gemm(precision, size) });
            Ok(Self { operations, triad: limits::triad(), gemms: gemms.to_vec() })
        })
    }

    /// A row per GEMM, and the limits.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::new(["", "rate", "share of limit"].map(str::to_owned));
        let rate = |operations: f64| format!("{:.0} GFLOP/s", operations / 1e9);
        table.row(vec!["limit: multiply-adds alone".into(), rate(self.operations), percent(1.0)]);
        for GemmRate { size: [rows, columns, inner], operations } in &self.gemms {
            let share = percent(operations / self.operations);
            table.row(vec![format!("GEMM {rows} x {columns} x {inner}"), rate(*operations), share]);
        }
        let triad = format!("{:.1} GB/s", self.triad / 1e9);
        table.row(vec!["limit: triad in memory".into(), triad, NONE.into()]);
        table
    }
}

/// Operations per second of a linear layer without bias.
fn of_gemm(precision: Precision, [rows, columns, inner]: [usize; 3]) -> f64 {
    let device = Device::default();
    let random =
        |rows, columns| Tensor::<2>::random([rows, columns], Distribution::Default, &device);
    let (x, weight) = (random(rows, inner), random(columns, inner));
    // In 8 bits alone weights are quantised before, as they are for predictions.
    let prepared = PreparedWeights::new();
    if precision == Precision::Int8 {
        prepared.add(&weight);
    }
    let product = || ops::linear(x.clone(), weight.clone(), None);
    let seconds = (0..TRIES).map(|_| {
        let start = Instant::now();
        let product = precision.scope(|| prepared.scope(product));
        // The engine may do it only when the result is asked for.
        let _ = product.slice([0..1, 0..1]).into_data();
        start.elapsed().as_secs_f64()
    });
    2.0 * (rows * columns * inner) as f64 / seconds.fold(f64::INFINITY, f64::min)
}
