//! The content of a checkpoint besides weights, as plain data for display.

use std::fmt;
use std::sync::Arc;

use burn::tensor::DType;

use super::graph::{Graph, Id, Node};
use super::tensor;

/// Deepest nesting that is shown.
const MAX_DEPTH: usize = 32;
/// Most values, and bytes of text, that are shown: values that a file shares are copied here, so a
/// small file could ask for any number.
const MAX_COST: usize = 1 << 18;

/// A value of a checkpoint. Nothing in it was executed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Python's `None`.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A real number.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// This many bytes, among them integers of more than 64 bits.
    Bytes(usize),
    /// A list or a set.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A dict, in its order.
    Dict(Vec<(Value, Value)>),
    /// A tensor whose values were not read.
    Tensor {
        /// Its shape.
        shape: Vec<usize>,
        /// The type of its values.
        dtype: DType,
    },
    /// A class or function, by name.
    Class(Arc<str>),
    /// An instance of a class that is not known here, such as `argparse.Namespace`.
    Object {
        /// The full name of the class, or of the function that would make it.
        class: Arc<str>,
        /// Arguments and items.
        items: Vec<Value>,
        /// Attributes and entries.
        fields: Vec<(Value, Value)>,
    },
    /// Left out: nested too deeply, or too large.
    Omitted,
}

impl Value {
    /// The value of a dict's key or of an object's attribute.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        let (Value::Dict(fields) | Value::Object { fields, .. }) = self else { return None };
        // In Python the last one stays.
        let found = fields.iter().rev().find(|(k, _)| matches!(k, Value::Str(k) if **k == *key));
        found.map(|(_, value)| value)
    }
}

impl fmt::Display for Value {
    /// As Python would write it, more or less.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::None => f.write_str("None"),
            Value::Bool(true) => f.write_str("True"),
            Value::Bool(false) => f.write_str("False"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::Str(text) => write!(f, "{text:?}"),
            Value::Bytes(len) => write!(f, "<{len} bytes>"),
            Value::List(items) => write!(f, "[{}]", Joined(items)),
            Value::Tuple(items) => write!(f, "({})", Joined(items)),
            Value::Dict(entries) => write!(f, "{{{}}}", Fields(entries, ": ")),
            Value::Tensor { shape, dtype } => write!(f, "<tensor {shape:?} {dtype:?}>"),
            Value::Class(name) => write!(f, "<{name}>"),
            Value::Object { class, items, fields } => {
                let comma = if items.is_empty() || fields.is_empty() { "" } else { ", " };
                write!(f, "{class}({}{comma}{})", Joined(items), Fields(fields, "="))
            }
            Value::Omitted => f.write_str("..."),
        }
    }
}

struct Joined<'a>(&'a [Value]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{item}")?;
        }
        Ok(())
    }
}

struct Fields<'a>(&'a [(Value, Value)], &'a str);

impl fmt::Display for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            match key {
                // Attributes are named without quotes.
                Value::Str(key) if self.1 == "=" => write!(f, "{comma}{key}={value}")?,
                key => write!(f, "{comma}{key}{}{value}", self.1)?,
            }
        }
        Ok(())
    }
}

/// Copies values out of a pickle.
pub(super) struct Copier<'a> {
    graph: &'a Graph<'a>,
    left: usize,
}

impl<'a> Copier<'a> {
    pub(super) fn new(graph: &'a Graph<'a>) -> Self {
        Self { graph, left: MAX_COST }
    }

    /// The value with all that is in it.
    pub(super) fn copy(&mut self, id: Id) -> Value {
        self.value(id, MAX_DEPTH)
    }

    /// Counts a value, or tells that there were too many.
    fn pay(&mut self, cost: usize) -> bool {
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    fn value(&mut self, id: Id, depth: usize) -> Value {
        let Some(depth) = depth.checked_sub(1).filter(|_| self.pay(1)) else {
            return Value::Omitted;
        };
        if let Some(tensor) = tensor::find(self.graph, id) {
            return tensor.map_or(Value::Omitted, |tensor| Value::Tensor {
                shape: tensor.shape,
                dtype: tensor.dtype,
            });
        }
        if let Some(entries) = self.graph.dict(id) {
            return Value::Dict(self.pairs(&entries, depth));
        }
        match self.graph.node(id) {
            Node::None => Value::None,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => Value::Int(*value),
            Node::Float(value) => Value::Float(*value),
            Node::BigInt(bytes) | Node::Bytes(bytes) => Value::Bytes(bytes.len()),
            Node::Str(text) => self.text(text).map_or(Value::Omitted, Value::Str),
            Node::Global { .. } => self.class(id).map_or(Value::Omitted, Value::Class),
            Node::Tuple(items) => Value::Tuple(self.list(items, depth)),
            Node::List(items) | Node::Set(items) => Value::List(self.list(items, depth)),
            Node::Object(object) => {
                let Some(class) = self.class(object.class) else { return Value::Omitted };
                let mut items = match self.graph.tuple(object.arguments) {
                    Some(arguments) => self.list(arguments, depth),
                    None => vec![self.value(object.arguments, depth)],
                };
                items.extend(self.list(&object.items, depth));
                let mut fields = Vec::new();
                match object.state.map(|state| (state, self.graph.dict(state))) {
                    Some((_, Some(attributes))) => fields = self.pairs(&attributes, depth),
                    Some((state, None)) => items.push(self.value(state, depth)),
                    None => {}
                }
                fields.extend(self.pairs(&object.entries, depth));
                Value::Object { class, items, fields }
            }
            // Dicts were seen to above; what lies outside of the pickle is no value.
            Node::Dict(_) | Node::Persistent(_) => Value::Omitted,
        }
    }

    fn list(&mut self, ids: &[Id], depth: usize) -> Vec<Value> {
        let mut items = Vec::new();
        for &id in ids {
            items.push(self.value(id, depth));
            if self.left == 0 {
                break;
            }
        }
        items
    }

    fn pairs(&mut self, ids: &[(Id, Id)], depth: usize) -> Vec<(Value, Value)> {
        let mut pairs = Vec::new();
        for &(key, value) in ids {
            pairs.push((self.value(key, depth), self.value(value, depth)));
            if self.left == 0 {
                break;
            }
        }
        pairs
    }

    fn text(&mut self, text: &str) -> Option<Arc<str>> {
        self.pay(text.len()).then(|| text.into())
    }

    fn class(&mut self, id: Id) -> Option<Arc<str>> {
        match self.graph.global(id) {
            Some((module, name)) => self.text(&format!("{module}.{name}")),
            None => Some("?".into()),
        }
    }
}
