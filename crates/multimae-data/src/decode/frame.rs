//! The stored values of a file, before a modality interprets them.

use serde::{Deserialize, Serialize};

use super::{FileFormat, Problem};
use crate::modality::NumberRange;
use crate::resize::CropBox;

/// The stored values of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    pub(crate) info: FrameInfo,
    /// `height * width * channels` values, in `info.order`.
    pub(crate) pixels: Pixels,
}

/// The kind of values that a file stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct FrameInfo {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) form: Form,
    pub(crate) order: Order,
}

/// The container of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Form {
    /// An image read as colours: palettes applied, grey spread over three channels, no alpha.
    Color,
    /// A png value by value.
    Png {
        /// Bits per value.
        bits: u8,
        /// Values are indices into a palette.
        palette: bool,
    },
    /// A jpeg, grey or RGB.
    Jpeg,
    /// An array.
    Npy {
        /// 2 or 3.
        axes: u8,
    },
    /// An image of another format, value by value. The last one: packs count the variants.
    Raster {
        /// The format of the file.
        format: FileFormat,
        /// Bits per value.
        bits: u8,
        /// Values are indices into a palette.
        palette: bool,
    },
}

/// The index of a value that moves fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Order {
    /// `(H, W, C)`.
    Interleaved,
    /// `(C, H, W)`.
    Planar,
}

/// Numbers in the type of the file. Booleans are 0 and 1, halves are floats of 32 bits, and unsigned
/// integers of 64 bits are signed ones: greater ones are an error.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names are those of the types")]
pub enum Pixels {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// The same expression for values of every type.
macro_rules! of_any_type {
    ($pixels:expr, $values:ident => $result:expr) => {
        match $pixels {
            Pixels::U8($values) => $result,
            Pixels::U16($values) => $result,
            Pixels::U32($values) => $result,
            Pixels::I8($values) => $result,
            Pixels::I16($values) => $result,
            Pixels::I32($values) => $result,
            Pixels::I64($values) => $result,
            Pixels::F32($values) => $result,
            Pixels::F64($values) => $result,
        }
    };
}
pub(crate) use of_any_type;

/// Other values of the same type, by one expression for every type.
macro_rules! map_pixels {
    ($pixels:expr, $values:ident => $result:expr) => {
        match $pixels {
            Pixels::U8($values) => Pixels::U8($result),
            Pixels::U16($values) => Pixels::U16($result),
            Pixels::U32($values) => Pixels::U32($result),
            Pixels::I8($values) => Pixels::I8($result),
            Pixels::I16($values) => Pixels::I16($result),
            Pixels::I32($values) => Pixels::I32($result),
            Pixels::I64($values) => Pixels::I64($result),
            Pixels::F32($values) => Pixels::F32($result),
            Pixels::F64($values) => Pixels::F64($result),
        }
    };
}
pub(crate) use map_pixels;

impl Pixels {
    pub(crate) fn len(&self) -> usize {
        of_any_type!(self, values => values.len())
    }

    /// The type of the values in NumPy's notation.
    pub(crate) fn descr(&self) -> &'static str {
        match self {
            Self::U8(_) => "|u1",
            Self::U16(_) => "<u2",
            Self::U32(_) => "<u4",
            Self::I8(_) => "|i1",
            Self::I16(_) => "<i2",
            Self::I32(_) => "<i4",
            Self::I64(_) => "<i8",
            Self::F32(_) => "<f4",
            Self::F64(_) => "<f8",
        }
    }

    /// Floats of 16 bits by their bits.
    pub(crate) fn of_halves(halves: &[u16]) -> Self {
        let float = |&half: &u16| {
            let (sign, rest) = (u32::from(half >> 15) << 31, u32::from(half & 0x7fff));
            match rest >> 10 {
                // Zero, and numbers below 2^-14.
                0 => f32::from_bits(sign | (rest as f32 / 16_777_216.0).to_bits()),
                31 => f32::from_bits(sign | 0x7f80_0000 | (rest & 0x3ff) << 13),
                _ => f32::from_bits(sign | ((rest << 13) + (112 << 23))),
            }
        };
        Self::F32(halves.iter().map(float).collect())
    }

    /// Unsigned 64-bit integers as signed ones.
    pub(crate) fn of_u64(values: Vec<u64>) -> Result<Self, Problem> {
        let signed = |value: u64| {
            i64::try_from(value).map_err(|_| format!("its value {value} is larger than 2^63 - 1"))
        };
        Ok(Self::I64(values.into_iter().map(signed).collect::<Result<_, _>>()?))
    }

    /// Whether the values are integers.
    pub(crate) fn are_integers(&self) -> bool {
        !matches!(self, Self::F32(_) | Self::F64(_))
    }

    /// The range of an integer type, `None` for floats.
    pub(crate) fn range(&self) -> Option<NumberRange> {
        let unsigned = |max: f32| Some(NumberRange { min: 0.0, max });
        let signed = |max: f32| Some(NumberRange { min: -max, max });
        match self {
            Self::U8(_) => unsigned(u8::MAX.into()),
            Self::U16(_) => unsigned(u16::MAX.into()),
            Self::U32(_) => unsigned(u32::MAX as f32),
            Self::I8(_) => signed(i8::MAX.into()),
            Self::I16(_) => signed(i16::MAX.into()),
            Self::I32(_) => signed(i32::MAX as f32),
            Self::I64(_) => signed(i64::MAX as f32),
            Self::F32(_) | Self::F64(_) => None,
        }
    }

    /// All values as 32-bit floats, in their order.
    pub(crate) fn to_f32(&self) -> Vec<f32> {
        of_any_type!(self, values => values.iter().map(|&value| value as f32).collect())
    }
}

impl Frame {
    /// A frame of at least one pixel.
    pub(crate) fn new(info: FrameInfo, pixels: Pixels) -> Result<Self, Problem> {
        let FrameInfo { height, width, channels, .. } = info;
        if height == 0 || width == 0 || channels == 0 {
            return Err(format!("it has {height} x {width} pixels of {channels} values"));
        }
        if pixels.len() != height * width * channels {
            return Err(format!(
                "it has {} values for {height} x {width} pixels of {channels}",
                pixels.len()
            ));
        }
        Ok(Self { info, pixels })
    }

    /// An array `(H, W)`, `(C, H, W)` or `(H, W, 1)`, row-major.
    pub(crate) fn of_array(shape: &[usize], pixels: Pixels) -> Result<Self, Problem> {
        let (channels, height, width) = match *shape {
            [height, width] => (1, height, width),
            // A last axis of 1 holds the channel, unless the first one does.
            [height, width, 1] if height > 1 => (1, height, width),
            [channels, height, width] => (channels, height, width),
            _ => {
                return Err(format!(
                    "its shape is {shape:?}, expected (height, width) or (channels, height, width)"
                ));
            }
        };
        let form = Form::Npy { axes: if channels == 1 { 2 } else { 3 } };
        let info = FrameInfo { height, width, channels, form, order: Order::Planar };
        Self::new(info, pixels)
    }

    /// Height and width.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.info.height, self.info.width)
    }
}

impl FrameInfo {
    /// The values of a window, plane by plane: `(C, h, w)`. The window must be inside.
    pub(super) fn window<S: Copy, T>(
        &self,
        values: &[S],
        window: CropBox,
        convert: impl Fn(S) -> T,
    ) -> Vec<T> {
        let mut picked = Vec::with_capacity(self.channels * window.height * window.width);
        for channel in 0..self.channels {
            for row in window.top..window.top + window.height {
                let first = row * self.width + window.left;
                let pixels = first..first + window.width;
                match self.order {
                    Order::Planar => {
                        let plane = &values[channel * self.height * self.width..];
                        picked.extend(plane[pixels].iter().map(|&value| convert(value)));
                    }
                    Order::Interleaved => {
                        let pixels =
                            &values[pixels.start * self.channels..pixels.end * self.channels];
                        let of_channel = pixels.iter().skip(channel).step_by(self.channels);
                        picked.extend(of_channel.map(|&value| convert(value)));
                    }
                }
            }
        }
        picked
    }
}
