//! Opening a parquet file, and what its footer says.

use ::parquet::basic::Compression;
use ::parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use ::parquet::file::reader::FileReader;
use ::parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use ::parquet::file::statistics::Statistics;
use bytes::Bytes;

use super::columns::{self, Column};
use crate::decode::Problem;

/// The rows of a row group.
pub(super) fn rows_of(group: &RowGroupMetaData) -> usize {
    usize::try_from(group.num_rows()).unwrap_or_default()
}

/// A checksum of what a file notes about a column of a row group.
pub(super) fn checksum(chunk: &ColumnChunkMetaData) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    for number in [chunk.num_values(), chunk.uncompressed_size(), chunk.data_page_offset()] {
        checksum.update(&number.to_le_bytes());
    }
    let statistics = chunk.statistics();
    let ends = [Statistics::min_bytes_opt, Statistics::max_bytes_opt];
    for end in ends.iter().filter_map(|end| statistics.and_then(end)) {
        checksum.update(end);
    }
    checksum.finalize()
}

/// Reads the footer of a file.
///
/// # Errors
/// If it is no parquet file, is damaged, or packed in a way that is not read.
pub(super) fn open(contents: Bytes) -> Result<(SerializedFileReader<Bytes>, Vec<Column>), Problem> {
    if !contents.starts_with(b"PAR1") {
        return Err("it is no parquet file: it does not begin with PAR1".to_owned());
    }
    let bytes = contents.len() as u64;
    let options = ReadOptionsBuilder::new().with_page_index().build();
    let reader = SerializedFileReader::new_with_options(contents, options)
        .map_err(|error| format!("{error}; the file is damaged or not whole, copy it again"))?;
    let mut chunks = reader.metadata().row_groups().iter().flat_map(RowGroupMetaData::columns);
    let codec = |chunk: &&ColumnChunkMetaData| {
        matches!(chunk.compression(), Compression::BROTLI(_) | Compression::LZO)
    };
    if let Some(chunk) = chunks.find(codec) {
        return Err(format!(
            "column `{}` is compressed by {}, which is not read; write the table again with \
             `compression=\"zstd\"`",
            chunk.column_path().string(),
            chunk.compression()
        ));
    }
    let rows: usize =
        reader.metadata().row_groups().iter().map(rows_of).fold(0, usize::saturating_add);
    if rows as u64 > bytes {
        return Err(format!("its footer claims {rows} rows in {bytes} bytes; it is damaged"));
    }
    let columns = columns::of_file(reader.metadata().file_metadata());
    Ok((reader, columns))
}

/// Whether a file has the columns of the first one.
pub(super) fn same_columns(first: &[Column], other: &[Column]) -> Result<(), Problem> {
    let names = |columns: &[Column]| {
        columns.iter().map(|column| column.name.clone()).collect::<Vec<String>>().join(", ")
    };
    if names(first) != names(other) {
        return Err(format!(
            "its columns are {}, and those of the first file {}; open one set of files at a time",
            names(other),
            names(first)
        ));
    }
    match first.iter().zip(other).find(|(first, other)| first != other) {
        None => Ok(()),
        Some((first, other)) => Err(format!(
            "its column `{}` holds {:?}, and that of the first file {:?}; open one set of files at \
             a time",
            first.name, other.kind, first.kind
        )),
    }
}
