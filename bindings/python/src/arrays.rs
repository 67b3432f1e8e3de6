//! NumPy arrays as samples, and vectors as NumPy arrays.

use multimae_data::{ArrayValues, DataModality, Encoding, ModalityArray, RawSample};
use numpy::ndarray::{ArrayD, IxDyn};
use numpy::{
    Element, IntoPyArray, PyArrayDescrMethods, PyArrayDyn, PyArrayMethods, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::error::{PyContext, error};

/// The arrays of one call, sample by sample.
pub(crate) struct Frames {
    /// Whether the arrays had a leading batch axis.
    pub(crate) batched: bool,
    /// The samples, decoded as those of files.
    pub(crate) samples: Vec<RawSample>,
}

/// The arrays of one modality: one entry per sample.
pub(crate) struct ModalityArrays {
    /// Whether there is a leading batch axis; `None` if the shape allows either.
    pub(crate) batched: Option<bool>,
    /// Height, width and values.
    pub(crate) samples: Vec<(usize, usize, ArrayValues)>,
}

/// Moves values into an array of a shape; nothing is copied.
///
/// # Errors
/// If the values do not fill the shape.
pub(crate) fn array<'py, T: Element>(
    py: Python<'py>,
    values: Vec<T>,
    shape: &[usize],
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let array = ArrayD::from_shape_vec(IxDyn(shape), values);
    let array = array.map_err(|problem| error(format!("{shape:?}: {problem}")))?;
    Ok(array.into_pyarray(py))
}

/// Anything that NumPy makes an array of, such as a tensor in host memory.
///
/// # Errors
/// If NumPy does not.
pub(crate) fn as_array<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let array = value.py().import("numpy")?.call_method1("asarray", (value,))?;
    array.cast_into::<PyUntypedArray>().map_err(Into::into)
}

/// The values of an array of this type, row-major.
///
/// # Errors
/// If it has another type, or is being written to.
pub(crate) fn values<T: Element + Copy>(array: &Bound<'_, PyUntypedArray>) -> PyResult<Vec<T>> {
    let array = array.cast::<PyArrayDyn<T>>()?.try_readonly().map_err(|e| error(e.to_string()))?;
    // A slice of Fortran's order would be in that order.
    let slice = array.as_slice().ok().filter(|_| array.is_c_contiguous());
    Ok(slice.map_or_else(|| array.as_array().iter().copied().collect(), <[T]>::to_vec))
}

/// The values of an array after a conversion to this type.
fn converted<T: Element + Copy>(array: &Bound<'_, PyUntypedArray>) -> PyResult<Vec<T>> {
    let descr = numpy::dtype::<T>(array.py());
    values(&as_array(&array.call_method1("astype", (descr,))?)?)
}

/// The samples of a dictionary of arrays by modality, or of a list of such dictionaries.
///
/// # Errors
/// If a name is not known, or an array does not fit its modality or the others.
pub(crate) fn frames(inputs: &Bound<'_, PyAny>, known: &[&DataModality]) -> PyResult<Frames> {
    if inputs.is_instance_of::<PyList>() || inputs.is_instance_of::<PyTuple>() {
        let mut samples = Vec::new();
        for (number, frame) in inputs.try_iter()?.enumerate() {
            let frame = of_dict(&frame?, known, number)?;
            if frame.batched {
                return Err(error(format!(
                    "frame {number} of the list has a batch axis; give a list of single frames, or \
                     one dictionary of arrays with a batch axis"
                )));
            }
            samples.extend(frame.samples);
        }
        return Ok(Frames { batched: false, samples });
    }
    of_dict(inputs, known, 0)
}

fn of_dict(frame: &Bound<'_, PyAny>, known: &[&DataModality], first: usize) -> PyResult<Frames> {
    let frame = frame.cast::<PyDict>().map_err(|_| {
        error("inputs are a dictionary of arrays by modality, or a list of such dictionaries")
    })?;
    let names = || known.iter().map(|modality| modality.name.as_str()).collect::<Vec<_>>();
    let mut given = Vec::new();
    for (name, value) in frame.iter() {
        let name: String = name.extract()?;
        let modality = known.iter().find(|modality| modality.name == name).ok_or_else(|| {
            error(format!("the model has no input `{name}`; it has {}", names().join(", ")))
        })?;
        given.push((*modality, modality_arrays(&name, &modality.encoding, &value)?));
    }
    let Some((one, arrays)) = given.first() else {
        return Err(error(format!("no input is given; the model has {}", names().join(", "))));
    };
    let (one, count) = (one.name.clone(), arrays.samples.len());
    let says = |batched: bool| given.iter().any(|(_, arrays)| arrays.batched == Some(batched));
    if says(true) && says(false) {
        return Err(error(
            "some arrays have a batch axis and others do not; give it to all or none",
        ));
    }
    let batched = says(true);
    let mut samples: Vec<Vec<ModalityArray<'_>>> = (0..count).map(|_| Vec::new()).collect();
    for (modality, arrays) in given {
        if arrays.samples.len() != count {
            return Err(error(format!(
                "`{}` has {} samples and `{one}` has {count}",
                modality.name,
                arrays.samples.len()
            )));
        }
        for (sample, (height, width, values)) in samples.iter_mut().zip(arrays.samples) {
            sample.push(ModalityArray { modality, height, width, values });
        }
    }
    let decode = |(number, arrays): (usize, Vec<ModalityArray<'_>>)| {
        RawSample::from_arrays(&(first + number).to_string(), arrays)
    };
    let samples: multimae_data::Result<Vec<RawSample>> =
        frame.py().detach(|| samples.into_iter().enumerate().map(decode).collect());
    Ok(Frames { batched, samples: samples.py()? })
}

/// The arrays of one modality from a NumPy array with or without a batch axis. Colours are uint8
/// `(H, W, 3)` or floats `(3, H, W)` from 0 to 1, numbers are floats `(C, H, W)`, for one channel also
/// `(H, W)`, labels are integers `(H, W)`.
///
/// # Errors
/// If type or shape are of another kind.
pub(crate) fn modality_arrays(
    name: &str,
    encoding: &Encoding,
    value: &Bound<'_, PyAny>,
) -> PyResult<ModalityArrays> {
    let array = as_array(value)?;
    let (shape, dtype) = (array.shape().to_vec(), array.dtype());
    let kind = dtype.kind();
    let wrong = |expected: &str| {
        error(format!(
            "input `{name}`: it is an array of {dtype} of shape {shape:?}, expected {expected}, each with \
             or without a batch axis in front"
        ))
    };
    match encoding {
        Encoding::Color { .. } => {
            const EXPECTED: &str = "uint8 (H, W, 3), or float32 (3, H, W) from 0 to 1";
            let byte = dtype.is_equiv_to(&numpy::dtype::<u8>(array.py()));
            let (batched, [height, width]) = match (byte, kind, shape.as_slice()) {
                (true, _, &[height, width, 3]) | (_, b'f', &[3, height, width]) => {
                    (false, [height, width])
                }
                (true, _, &[_, height, width, 3]) | (_, b'f', &[_, 3, height, width]) => {
                    (true, [height, width])
                }
                _ => return Err(wrong(EXPECTED)),
            };
            let rgb: Vec<u8> = if byte {
                values(&array)?
            } else {
                bytes(name, &converted(&array)?, height * width)?
            };
            Ok(split(Some(batched), [height, width], 3, rgb, ArrayValues::Color))
        }
        Encoding::Continuous { channels, divisor, .. } => {
            if kind != b'f' {
                return Err(wrong(&format!(
                    "float32 ({channels}, H, W) in the modality's unit (stored numbers divided by \
                     {divisor})"
                )));
            }
            let (batched, [height, width]) = match *shape.as_slice() {
                [height, width] if *channels == 1 => (Some(false), [height, width]),
                [1, height, width] if *channels == 1 => (None, [height, width]),
                [_, height, width] if *channels == 1 => (Some(true), [height, width]),
                [c, height, width] if c == *channels => (Some(false), [height, width]),
                [_, c, height, width] if c == *channels => (Some(true), [height, width]),
                _ => return Err(wrong(&format!("float32 ({channels}, H, W)"))),
            };
            let data: Vec<f32> = converted(&array)?;
            Ok(split(batched, [height, width], *channels, data, ArrayValues::Continuous))
        }
        Encoding::Labels { .. } => {
            let (batched, [height, width]) = match (kind, shape.as_slice()) {
                (b'i' | b'u' | b'b', &[height, width]) => (false, [height, width]),
                (b'i' | b'u' | b'b', &[_, height, width]) => (true, [height, width]),
                _ => return Err(wrong("integers (H, W)")),
            };
            let labels: Vec<i64> = converted(&array)?;
            Ok(split(Some(batched), [height, width], 1, labels, ArrayValues::Labels))
        }
    }
}

/// Cuts the values of a batch into samples.
fn split<T: Copy>(
    batched: Option<bool>,
    [height, width]: [usize; 2],
    channels: usize,
    values: Vec<T>,
    of: fn(Vec<T>) -> ArrayValues,
) -> ModalityArrays {
    let samples = if batched == Some(true) {
        let one = (channels * height * width).max(1);
        values.chunks(one).map(|sample| (height, width, of(sample.to_vec()))).collect()
    } else {
        vec![(height, width, of(values))]
    };
    ModalityArrays { batched, samples }
}

/// Colours from 0 to 1 in planes as 8-bit pixels, as image files hold them.
///
/// # Shapes
/// `(B, 3, H, W)` to `(B, H, W, 3)`, flat, with `pixels = H * W`.
///
/// # Errors
/// If a colour is not from 0 to 1.
fn bytes(name: &str, planes: &[f32], pixels: usize) -> PyResult<Vec<u8>> {
    if let Some(outside) = planes.iter().find(|value| !(0.0..=1.0).contains(*value)) {
        return Err(error(format!(
            "input `{name}`: colours in floats are from 0 to 1, and there is {outside}; divide by 255, \
             and leave the normalisation to the model"
        )));
    }
    let mut rgb = Vec::with_capacity(planes.len());
    for sample in planes.chunks_exact((3 * pixels).max(1)) {
        for pixel in 0..pixels {
            let channel = |channel: usize| (255.0 * sample[channel * pixels + pixel]).round() as u8;
            rgb.extend([channel(0), channel(1), channel(2)]);
        }
    }
    Ok(rgb)
}
