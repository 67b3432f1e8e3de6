//! Times the sum of a model's gradients over the processes of an MPI launcher:
//!
//! ```text
//! mpirun -np 2 reduce_time 20000000 4000000 20 [bf16]
//! ```
//!
//! The arguments are the number of values, the number in a bucket, and the repetitions. Rank 0
//! prints the median of a sum and the rate per rank.

#![expect(clippy::print_stdout, reason = "an example")]

use std::time::Instant;

use multimae_group::{Wire, launch};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, otherwise: usize| {
        arguments.get(place).map_or(Ok(otherwise), |text| text.parse::<usize>())
    };
    let (count, bucket, rounds) = (number(0, 20_000_000)?, number(1, 4_000_000)?, number(2, 20)?);
    let wire = if arguments.iter().any(|word| word == "bf16") { Wire::Bf16 } else { Wire::F32 };
    let group = launch::group(|message| println!("{message}"))?;
    let mut values = vec![1.0_f32; count];
    let mut seconds = Vec::new();
    for _ in 0..rounds {
        group.exchange(&[])?;
        let begun = Instant::now();
        for part in values.chunks_mut(bucket) {
            group.sum(part, wire)?;
        }
        seconds.push(begun.elapsed().as_secs_f64());
        values.fill(1.0);
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    if group.rank() == 0 {
        let rate = 4e-9 * count as f64 / median;
        println!("{} processes: {:.1} ms, {rate:.2} GB/s", group.size(), 1e3 * median);
    }
    drop(group);
    launch::finish();
    Ok(())
}
