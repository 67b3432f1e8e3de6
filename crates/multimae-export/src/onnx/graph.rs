//! A graph under construction: nodes, constants, and the extents of every value.

use indexmap::{IndexMap, IndexSet};
use multimae::burn::tensor::{DType, TensorData};
use multimae::state::StateDict;

use super::proto::{
    AttributeProto, DimensionProto, GraphProto, NodeProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto, attribute_type, data_type, dimension,
};
use super::tensors::{Storage, tensor};
use crate::{Error, Result};

/// An extent of a value: known, or named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Known when the graph is written.
    Of(usize),
    /// Known when it runs.
    Named(&'static str),
}

/// A value of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    /// The name.
    pub(crate) name: String,
    /// The extents.
    pub(crate) shape: Vec<Extent>,
}

impl Value {
    /// A known extent.
    ///
    /// # Panics
    /// Never: where the writer of a graph asks for an extent that is only named, it gets 0, which no reader
    /// accepts.
    pub(crate) fn extent(&self, axis: usize) -> usize {
        match self.shape.get(axis) {
            Some(Extent::Of(extent)) => *extent,
            _ => 0,
        }
    }
}

/// An attribute of a node.
#[derive(Debug, Clone)]
pub(crate) enum Attribute {
    /// A real number.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// A text.
    Text(&'static str),
    /// Whole numbers.
    Ints(Vec<i64>),
}

/// Nodes and constants so far.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    weights: &'a StateDict,
    storage: Storage<'a>,
    nodes: Vec<NodeProto>,
    constants: IndexMap<String, super::proto::TensorProto>,
    names: IndexSet<String>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    prefix: String,
    batch: Extent,
    batch_shape: Option<Value>,
}

impl<'a> Graph<'a> {
    /// An empty graph over these weights for batches of a fixed number of samples, or any.
    pub(crate) fn new(weights: &'a StateDict, storage: Storage<'a>, batch: Option<usize>) -> Self {
        Self {
            weights,
            storage,
            nodes: Vec::new(),
            constants: IndexMap::new(),
            names: IndexSet::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            prefix: String::new(),
            batch: batch.map_or(Extent::Named("batch"), Extent::Of),
            batch_shape: None,
        }
    }

    /// The number of samples.
    pub(crate) fn batch(&self) -> Extent {
        self.batch
    }

    /// The beginning of the names of nodes that follow.
    pub(crate) fn at(&mut self, prefix: &str) -> &mut Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// An input of this element type.
    pub(crate) fn input(
        &mut self,
        name: &str,
        shape: Vec<Extent>,
        elem_type: i32,
        about: &str,
    ) -> Result<Value> {
        if !self.names.insert(name.to_owned()) {
            return Err(Error::Request(format!("two inputs or outputs are named `{name}`")));
        }
        self.inputs.push(info(name, &shape, elem_type, about));
        Ok(Value { name: name.to_owned(), shape })
    }

    /// Makes a value an output of this name.
    pub(crate) fn output(
        &mut self,
        name: &str,
        value: &Value,
        elem_type: i32,
        about: &str,
    ) -> Result<()> {
        if !self.names.insert(name.to_owned()) {
            return Err(Error::Request(format!("two inputs or outputs are named `{name}`")));
        }
        self.nodes.push(NodeProto {
            input: vec![value.name.clone()],
            output: vec![name.to_owned()],
            name: format!("output/{name}"),
            op_type: "Identity".to_owned(),
            attribute: Vec::new(),
        });
        self.outputs.push(info(name, &value.shape, elem_type, about));
        Ok(())
    }

    /// Whether there is a weight of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.weights.contains_key(name)
    }

    /// A weight by the name of its parameter.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn weight(&mut self, name: &str) -> Result<Value> {
        let data = self.weights.get(name).ok_or_else(|| {
            Error::Request(format!("the model has no weight `{name}`; its file is damaged"))
        })?;
        let shape = data.shape().to_vec();
        self.names.insert(name.to_owned());
        if !self.constants.contains_key(name) {
            let stored = self.storage.weight(name, data)?;
            self.constants.insert(name.to_owned(), stored);
        }
        let value = Value { name: name.to_owned(), shape: known(&shape) };
        Ok(if self.storage.is_half() { self.widened(value) } else { value })
    }

    /// The 32-bit numbers of a 16-bit constant.
    fn widened(&mut self, value: Value) -> Value {
        let name = format!("{}/float", value.name);
        if self.names.insert(name.clone()) {
            self.nodes.push(NodeProto {
                input: vec![value.name],
                output: vec![name.clone()],
                name: name.clone(),
                op_type: "Cast".to_owned(),
                attribute: vec![attribute("to", Attribute::Int(data_type::FLOAT.into()))],
            });
        }
        Value { name, shape: value.shape }
    }

    /// The shape and the values of a weight, for constants that are made of it.
    ///
    /// # Errors
    /// If there is none of this name.
    pub(crate) fn data(&self, name: &str) -> Result<&'a TensorData> {
        self.weights.get(name).ok_or_else(|| {
            Error::Request(format!("the model has no weight `{name}`; its file is damaged"))
        })
    }

    /// The indices of the largest values along the last axis; of equal ones, the first.
    pub(crate) fn top_indices(&mut self, x: &Value, count: &Value, shape: Vec<Extent>) -> Value {
        let values = self.node("TopK", &[x, count], vec![("axis", Attribute::Int(-1))], shape);
        let indices = self.fresh(&format!("{}/indices", self.prefix));
        if let Some(node) = self.nodes.last_mut() {
            node.output.push(indices.clone());
        }
        Value { name: indices, shape: values.shape }
    }

    /// Whether there is a constant of this name.
    pub(crate) fn is_known(&self, name: &str) -> bool {
        self.constants.contains_key(name)
    }

    /// A constant of real or 64-bit whole numbers at the current place.
    pub(crate) fn constant(&mut self, hint: &str, data: &TensorData) -> Result<Value> {
        let hint = format!("{}/{hint}", self.prefix);
        self.constant_named(&hint, data)
    }

    /// A constant that is shared by its name.
    pub(crate) fn named_constant(&mut self, name: &str, data: &TensorData) -> Result<Value> {
        if self.is_known(name) {
            return Ok(Value { name: name.to_owned(), shape: known(data.shape()) });
        }
        self.constant_named(name, data)
    }

    fn constant_named(&mut self, hint: &str, data: &TensorData) -> Result<Value> {
        let name = self.fresh(hint);
        let shape = data.shape().to_vec();
        self.constants.insert(name.clone(), tensor(&name, data)?);
        Ok(Value { name, shape: known(&shape) })
    }

    /// A constant of whole numbers in a row; the same ones share a name.
    pub(crate) fn integers(&mut self, values: &[i64]) -> Result<Value> {
        let words: Vec<String> = values.iter().map(ToString::to_string).collect();
        let name = format!("integers/{}", words.join("_"));
        if self.names.insert(name.clone()) {
            let data = TensorData::new(values.to_vec(), [values.len()]);
            self.constants.insert(name.clone(), tensor(&name, &data)?);
        }
        Ok(Value { name, shape: vec![Extent::Of(values.len())] })
    }

    /// A constant number.
    pub(crate) fn scalar(&mut self, value: f32) -> Result<Value> {
        let name = format!("number/{value}");
        if self.names.insert(name.clone()) {
            let data = TensorData::new(vec![value], [0_usize; 0]);
            self.constants.insert(name.clone(), tensor(&name, &data)?);
        }
        Ok(Value { name, shape: Vec::new() })
    }

    /// Adds a node with one output of this shape.
    pub(crate) fn node(
        &mut self,
        op_type: &str,
        inputs: &[&Value],
        attributes: Vec<(&str, Attribute)>,
        shape: Vec<Extent>,
    ) -> Value {
        let names = inputs.iter().map(|value| value.name.clone()).collect();
        self.node_of(op_type, names, attributes, shape)
    }

    /// As [`Self::node`], with names of inputs; an empty one is left out.
    pub(crate) fn node_of(
        &mut self,
        op_type: &str,
        input: Vec<String>,
        attributes: Vec<(&str, Attribute)>,
        shape: Vec<Extent>,
    ) -> Value {
        let hint = format!("{}/{op_type}", self.prefix);
        let name = self.fresh(&hint);
        let attribute =
            attributes.into_iter().map(|(name, value)| attribute(name, value)).collect();
        self.nodes.push(NodeProto {
            input,
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op_type.to_owned(),
            attribute,
        });
        Value { name, shape }
    }

    /// A constant of one sample, `(1, ...)`, for every sample of the batch.
    pub(crate) fn for_each_sample(&mut self, one: &Value) -> Result<Value> {
        let batch = self.batch_shape()?;
        let rest: Vec<i64> = (1..one.shape.len()).map(|axis| one.extent(axis) as i64).collect();
        let rest = self.integers(&rest)?;
        let count = Extent::Of(one.shape.len());
        let shape =
            self.node("Concat", &[&batch, &rest], vec![("axis", Attribute::Int(0))], vec![count]);
        let mut extents = one.shape.clone();
        extents[0] = self.batch;
        Ok(self.node("Expand", &[one, &shape], Vec::new(), extents))
    }

    /// The number of samples as a value `(1)`.
    fn batch_shape(&mut self) -> Result<Value> {
        if let Some(known) = &self.batch_shape {
            return Ok(known.clone());
        }
        let value = match (self.batch, self.inputs.first()) {
            (Extent::Named(_), Some(input)) => {
                let first = input.name.clone();
                let one = vec![Extent::Of(1)];
                let rank = vec![Extent::Of(4)];
                let shape = self.node_of("Shape", vec![first], Vec::new(), rank);
                let (start, end) = (self.integers(&[0])?, self.integers(&[1])?);
                self.node("Slice", &[&shape, &start, &end, &start], Vec::new(), one)
            }
            (Extent::Of(batch), _) => self.integers(&[batch as i64])?,
            (Extent::Named(_), None) => {
                return Err(Error::Request("the graph has no input".to_owned()));
            }
        };
        self.batch_shape = Some(value.clone());
        Ok(value)
    }

    /// A name that is not in use.
    fn fresh(&mut self, hint: &str) -> String {
        let mut name = hint.to_owned();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            name = format!("{hint}_{number}");
            number += 1;
        }
        name
    }

    /// The finished graph.
    pub(crate) fn finish(self, name: &str) -> GraphProto {
        GraphProto {
            node: self.nodes,
            name: name.to_owned(),
            initializer: self.constants.into_values().collect(),
            input: self.inputs,
            output: self.outputs,
        }
    }
}

/// Extents that are known.
pub(crate) fn known(shape: &[usize]) -> Vec<Extent> {
    shape.iter().map(|extent| Extent::Of(*extent)).collect()
}

fn attribute(name: &str, value: Attribute) -> AttributeProto {
    let mut proto = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    match value {
        Attribute::Float(number) => (proto.f, proto.r#type) = (Some(number), attribute_type::FLOAT),
        Attribute::Int(number) => (proto.i, proto.r#type) = (Some(number), attribute_type::INT),
        Attribute::Ints(numbers) => (proto.ints, proto.r#type) = (numbers, attribute_type::INTS),
        Attribute::Text(text) => {
            (proto.s, proto.r#type) = (Some(text.into()), attribute_type::STRING);
        }
    }
    proto
}

fn info(name: &str, shape: &[Extent], elem_type: i32, about: &str) -> ValueInfoProto {
    let dim = shape.iter().map(|extent| DimensionProto {
        value: Some(match extent {
            Extent::Of(extent) => dimension::Value::DimValue(*extent as i64),
            Extent::Named(name) => dimension::Value::DimParam((*name).to_owned()),
        }),
    });
    let shape = TensorShapeProto { dim: dim.collect() };
    let tensor = TensorTypeProto { elem_type, shape: Some(shape) };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { tensor_type: Some(tensor) }),
        doc_string: about.to_owned(),
    }
}

/// The element type of data, if a graph can hold it.
pub(crate) fn elem_type(data: &TensorData) -> Option<i32> {
    match data.dtype() {
        DType::F32 => Some(data_type::FLOAT),
        DType::F16 => Some(data_type::FLOAT16),
        DType::I64 => Some(data_type::INT64),
        DType::U8 => Some(data_type::UINT8),
        _ => None,
    }
}
