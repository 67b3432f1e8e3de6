//! Parquet tables, as the Hugging Face hub and `datasets` have them: images, arrays and labels by
//! row.
//!
//! A [`Table`] is one or several files with the same columns. It is open after its footers are
//! read; [`Table::value`] reads one value. A column holds
//!
//! | in the file | [`ColumnKind`] | [`Value`] |
//! |---|---|---|
//! | binary, or a struct of `bytes` and `path` (the feature `Image`) | `Bytes` | the bytes of an image file |
//! | nested lists of numbers (`Array2D` to `Array5D`, `Sequence`) | `Array` | numbers in the type of the file, and their shape |
//! | integers and booleans | `Int`, with the names of a `ClassLabel` | a number |
//! | floats | `Float` | a number |
//! | strings | `Text` | a string |
//!
//! Any other column is listed, and an error where it is read. All numbers are those of the file:
//! nothing is scaled, and a missing value is [`Value::Null`], never a number.
//!
//! # Costs
//!
//! Files are mapped into memory. A value in a plain column costs the pages from the beginning of its
//! row group that hold it: headers are walked, other pages are not unpacked. An array costs its own
//! pages where the file has page indexes, which `datasets` writes since version 4. In other files
//! pages of arrays say nothing of rows, so the column of the whole row group is decoded, and kept
//! while it is among the last [`KEPT_BYTES`] bytes of all threads. Reading rows in their order decodes each row
//! group once; reading them in a random order from more than that decodes a row group per row.

mod chunks;
mod columns;
mod convert;
mod file;
mod leaf;
mod numbers;
mod shape;
mod splits;
mod table;

pub use chunks::KEPT_BYTES;
pub use columns::{Column, ColumnKind};
pub use numbers::{Array, NumberType, Numbers};
pub(crate) use splits::refuse;
pub use splits::{Split, is_parquet, splits};
pub use table::{Table, Value};
