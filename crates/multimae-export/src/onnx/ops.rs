//! Operations of ONNX with their extents.

use super::graph::{Attribute, Extent, Graph, Value};
use crate::Result;
use multimae::burn::tensor::TensorData;
use multimae::modality::Size;

/// `Resize.mode` and the rule by which a place of the output is one of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sampling {
    /// Linear between neighbours; centres of pixels lie at halves.
    Bilinear,
    /// Linear between neighbours; the corners' centres coincide.
    BilinearAlignCorners,
    /// The pixel above and left.
    Nearest,
}

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolution {
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) groups: usize,
}

impl Convolution {
    /// Keeps the size of maps, with a kernel of odd side.
    pub(super) fn same(kernel: usize) -> Self {
        Self { stride: 1, padding: kernel / 2, groups: 1 }
    }
}

impl Graph<'_> {
    /// Element by element, with the shape of the first.
    pub(super) fn like_first(&mut self, op: &str, a: &Value, b: &Value) -> Value {
        self.node(op, &[a, b], Vec::new(), a.shape.clone())
    }

    /// `a + b`, with the shape of `a`.
    pub(super) fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.like_first("Add", a, b)
    }

    /// `a * b`, with the shape of `a`.
    pub(super) fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.like_first("Mul", a, b)
    }

    /// `a / b`, with the shape of `a`.
    pub(super) fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.like_first("Div", a, b)
    }

    /// `a * number`.
    pub(super) fn scaled(&mut self, a: &Value, number: f32) -> Result<Value> {
        let number = self.scalar(number)?;
        Ok(self.mul(a, &number))
    }

    /// A function of every element.
    pub(super) fn unary(&mut self, op: &str, x: &Value) -> Value {
        self.node(op, &[x], Vec::new(), x.shape.clone())
    }

    /// `(..., m, k)` times `(..., k, n)` or `(k, n)`.
    pub(super) fn matmul(&mut self, a: &Value, b: &Value) -> Value {
        let mut shape = a.shape.clone();
        if let (Some(last), Some(columns)) = (shape.last_mut(), b.shape.last()) {
            *last = *columns;
        }
        self.node("MatMul", &[a, b], Vec::new(), shape)
    }

    /// Axes in another order.
    pub(super) fn transpose(&mut self, x: &Value, order: &[usize]) -> Value {
        let shape = order.iter().map(|axis| x.shape[*axis]).collect();
        let order = order.iter().map(|axis| *axis as i64).collect();
        self.node("Transpose", &[x], vec![("perm", Attribute::Ints(order))], shape)
    }

    /// The same elements with other extents; an extent that is only named must keep its axis.
    pub(super) fn reshape(&mut self, x: &Value, shape: &[Extent]) -> Result<Value> {
        let target: Vec<i64> = shape
            .iter()
            .map(|extent| match extent {
                Extent::Of(extent) => *extent as i64,
                // Zero stands for the extent of this axis as it is.
                Extent::Named(_) => 0,
            })
            .collect();
        let target = self.integers(&target)?;
        Ok(self.node("Reshape", &[x, &target], Vec::new(), shape.to_vec()))
    }

    /// `count` elements of an axis from `start` on.
    pub(super) fn slice(
        &mut self,
        x: &Value,
        axis: usize,
        start: usize,
        count: usize,
    ) -> Result<Value> {
        if start == 0 && x.shape[axis] == Extent::Of(count) {
            return Ok(x.clone());
        }
        let starts = self.integers(&[start as i64])?;
        let ends = self.integers(&[(start + count) as i64])?;
        let axes = self.integers(&[axis as i64])?;
        let mut shape = x.shape.clone();
        shape[axis] = Extent::Of(count);
        Ok(self.node("Slice", &[x, &starts, &ends, &axes], Vec::new(), shape))
    }

    /// Values one behind the other along an axis.
    pub(super) fn concat(&mut self, parts: &[Value], axis: usize) -> Value {
        if let [only] = parts {
            return only.clone();
        }
        let mut shape = parts.first().map(|part| part.shape.clone()).unwrap_or_default();
        let named = parts.iter().find_map(|part| match part.shape[axis] {
            Extent::Named(name) => Some(name),
            Extent::Of(_) => None,
        });
        shape[axis] = match named {
            // Its length is that of what is named and more: a name of its own.
            Some(_) => Extent::Named("tokens"),
            None => Extent::Of(parts.iter().map(|part| part.extent(axis)).sum()),
        };
        let parts: Vec<&Value> = parts.iter().collect();
        self.node("Concat", &parts, vec![("axis", Attribute::Int(axis as i64))], shape)
    }

    /// One element of the first axis, which goes.
    pub(super) fn element(&mut self, x: &Value, index: usize) -> Result<Value> {
        let name = format!("index/{index}");
        let index = TensorData::new(vec![index as i64], [0_usize; 0]);
        let index = self.named_constant(&name, &index)?;
        let shape = x.shape[1..].to_vec();
        Ok(self.node("Gather", &[x, &index], vec![("axis", Attribute::Int(0))], shape))
    }

    /// Softmax along the last axis.
    pub(super) fn softmax(&mut self, x: &Value) -> Value {
        self.node("Softmax", &[x], vec![("axis", Attribute::Int(-1))], x.shape.clone())
    }

    /// The mean along an axis, which stays with extent 1.
    pub(super) fn mean(&mut self, x: &Value, axis: usize) -> Value {
        self.reduced("ReduceMean", x, axis)
    }

    /// A reduction along an axis, which stays with extent 1; by an operator that has its axes as attribute.
    pub(super) fn reduced(&mut self, op: &str, x: &Value, axis: usize) -> Value {
        let mut shape = x.shape.clone();
        shape[axis] = Extent::Of(1);
        let axes = Attribute::Ints(vec![axis as i64]);
        self.node(op, &[x], vec![("axes", axes), ("keepdims", Attribute::Int(1))], shape)
    }

    /// Values inside a range.
    pub(super) fn clip(&mut self, x: &Value, min: f32, max: f32) -> Result<Value> {
        let (min, max) = (self.scalar(min)?, self.scalar(max)?);
        Ok(self.node("Clip", &[x, &min, &max], Vec::new(), x.shape.clone()))
    }

    /// A convolution of `(B, C, h, w)` with a kernel `(outputs, C / groups, k, k)`.
    pub(super) fn conv_by(
        &mut self,
        x: &Value,
        kernel: &Value,
        bias: Option<&Value>,
        sizes: Convolution,
    ) -> Value {
        let Convolution { stride, padding, groups } = sizes;
        let side = kernel.extent(2);
        let out = |extent: usize| (extent + 2 * padding).saturating_sub(side) / stride + 1;
        let shape = vec![
            x.shape[0],
            kernel.shape[0],
            Extent::Of(out(x.extent(2))),
            Extent::Of(out(x.extent(3))),
        ];
        let attributes = vec![
            ("kernel_shape", Attribute::Ints(vec![side as i64; 2])),
            ("strides", Attribute::Ints(vec![stride as i64; 2])),
            ("pads", Attribute::Ints(vec![padding as i64; 4])),
            ("group", Attribute::Int(groups as i64)),
        ];
        let inputs: Vec<&Value> = [Some(x), Some(kernel), bias].into_iter().flatten().collect();
        self.node("Conv", &inputs, attributes, shape)
    }

    /// A transposed convolution whose stride is the side of its kernel `(C, outputs, k, k)`.
    pub(super) fn upconv_by(&mut self, x: &Value, kernel: &Value, bias: Option<&Value>) -> Value {
        let side = kernel.extent(2);
        let shape = vec![
            x.shape[0],
            kernel.shape[1],
            Extent::Of(x.extent(2) * side),
            Extent::Of(x.extent(3) * side),
        ];
        let attributes = vec![
            ("kernel_shape", Attribute::Ints(vec![side as i64; 2])),
            ("strides", Attribute::Ints(vec![side as i64; 2])),
        ];
        let inputs: Vec<&Value> = [Some(x), Some(kernel), bias].into_iter().flatten().collect();
        self.node("ConvTranspose", &inputs, attributes, shape)
    }

    /// Maps `(B, C, h, w)` at another size.
    pub(super) fn resize(&mut self, maps: &Value, size: Size, rule: Sampling) -> Result<Value> {
        let from = [maps.extent(2), maps.extent(3)];
        let to = [size.height, size.width];
        if from == to {
            return Ok(maps.clone());
        }
        let scales: Vec<f32> = [1.0, 1.0]
            .into_iter()
            .chain(from.iter().zip(to).map(|(f, t)| t as f32 / *f as f32))
            .collect();
        // Readers take the whole part of extent times scale.
        let exact = from.iter().zip(to).zip(&scales[2..]);
        if !exact
            .into_iter()
            .all(|((from, to), scale)| (*from as f32 * scale).floor() as usize == to)
        {
            return Err(crate::Error::Request(format!(
                "a resize from {from:?} to {to:?} pixels has no exact scale; choose another --size"
            )));
        }
        let name = format!("scales/{:?}", &scales[2..]);
        let scales = self.named_constant(&name, &TensorData::new(scales, [4]))?;
        let shape =
            vec![maps.shape[0], maps.shape[1], Extent::Of(size.height), Extent::Of(size.width)];
        let (mode, place) = match rule {
            Sampling::Bilinear => ("linear", "half_pixel"),
            Sampling::BilinearAlignCorners => ("linear", "align_corners"),
            Sampling::Nearest => ("nearest", "asymmetric"),
        };
        let mut attributes = vec![
            ("mode", Attribute::Text(mode)),
            ("coordinate_transformation_mode", Attribute::Text(place)),
        ];
        if rule == Sampling::Nearest {
            attributes.push(("nearest_mode", Attribute::Text("floor")));
        }
        let inputs = vec![maps.name.clone(), String::new(), scales.name];
        Ok(self.node_of("Resize", inputs, attributes, shape))
    }

    /// Tokens `(B, h * w, C)` in row-major order as maps `(B, C, h, w)`.
    pub(super) fn tokens_to_maps(&mut self, tokens: &Value, grid: Size) -> Result<Value> {
        let (batch, channels) = (tokens.shape[0], tokens.shape[2]);
        let maps = self.transpose(tokens, &[0, 2, 1]);
        let sides = [Extent::Of(grid.height), Extent::Of(grid.width)];
        self.reshape(&maps, &[batch, channels, sides[0], sides[1]])
    }

    /// Maps `(B, C, h, w)` as tokens `(B, h * w, C)`.
    pub(super) fn maps_to_tokens(&mut self, maps: &Value) -> Result<Value> {
        let (batch, channels) = (maps.shape[0], maps.shape[1]);
        let area = Extent::Of(maps.extent(2) * maps.extent(3));
        let rows = self.reshape(maps, &[batch, channels, area])?;
        Ok(self.transpose(&rows, &[0, 2, 1]))
    }
}
