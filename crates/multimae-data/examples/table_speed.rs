//! Milliseconds per value of a parquet table, in the order of the rows and at random:
//! `table_speed FILE...`.
#![allow(clippy::print_stdout, reason = "it is a program")]

use std::time::Instant;

use multimae_data::parquet::{ColumnKind, Table};

/// Rows that are read in each order.
const ROWS: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let start = Instant::now();
    let columns = Table::open(&paths)?.columns().len();
    println!("opened in {:?}", start.elapsed());
    for column in 0..columns {
        for random in [false, true] {
            // Nothing is kept from the order before.
            let table = Table::open(&paths)?;
            let entry = &table.columns()[column];
            if matches!(entry.kind, ColumnKind::Other(_)) {
                continue;
            }
            let rows = table.rows();
            let order = (0..ROWS.min(rows)).map(|row| match random {
                // Any odd number that has no factor in common with usual numbers of rows.
                true => row * 7_919 % rows,
                false => row,
            });
            let start = Instant::now();
            for row in order {
                table.value(row, column)?;
            }
            let each = 1e3 * start.elapsed().as_secs_f64() / ROWS.min(rows) as f64;
            let name = if random { "at random" } else { "in order" };
            println!("{} {name}: {each:.2} ms per value", entry.name);
        }
    }
    Ok(())
}
