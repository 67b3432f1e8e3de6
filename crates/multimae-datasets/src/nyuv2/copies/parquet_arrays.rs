//! The arrays of MTAN in parquet tables: `tanganke/nyuv2` on Hugging Face.

use std::path::Path;

use multimae_data::parquet::ColumnKind;

use super::mtan::{SIZE, facts};
use super::tables::{Tables, has_columns};
use super::{CopyMaps, NyuCopy, OpenCopy, Problem, ReadFrames, Result, values};

/// The columns that are read. Others are `normal`, and `noise`, which is made up.
const COLUMNS: [&str; 3] = ["image", "segmentation", "depth"];

/// The arrays of MTAN in parquet tables.
#[derive(Debug)]
pub(super) struct ParquetArrays;

impl NyuCopy for ParquetArrays {
    fn title(&self) -> &'static str {
        "NYU Depth V2, the copy of MTAN in parquet (tanganke/nyuv2)"
    }

    fn layout(&self) -> &'static str {
        "a folder with data/{train,val}-*.parquet, tables of the arrays `image`, `segmentation` and \
         `depth`"
    }

    fn recognises(&self, path: &Path) -> bool {
        has_columns(path, &COLUMNS, |column| matches!(column.kind, ColumnKind::Array { .. }))
    }

    fn open(&self, path: &Path) -> Result<OpenCopy> {
        let tables = Tables::open(path)?;
        let frames = tables.frames(None, |list, row, _| format!("{list}_{row:04}"))?;
        Ok(OpenCopy {
            frames,
            files: tables.files(),
            facts: facts(),
            reader: Box::new(Reader(tables)),
        })
    }
}

#[derive(Debug)]
struct Reader(Tables);

impl ReadFrames for Reader {
    fn read(&self, index: usize) -> Result<CopyMaps, Problem> {
        let (height, width) = SIZE;
        let [image, segmentation, depth] = COLUMNS;
        let (rgb, file) = self.0.numbers(index, image, &[3, height, width])?;
        let rgb = values::unit_colors(&values::interleaved(&rgb), width);
        let rgb = rgb.map_err(Problem::of(&file))?;
        let (labels, file) = self.0.numbers(index, segmentation, &[height, width])?;
        let labels = values::thirteen_from_zero(&labels, width).map_err(Problem::of(&file))?;
        let (depth, file) = self.0.numbers(index, depth, &[1, height, width])?;
        let depth = values::metres(&depth, width).map_err(Problem::of(&file))?;
        Ok(CopyMaps { rgb, depth, labels: Some(labels) })
    }
}
