//! A pickle machine that executes nothing.
//!
//! Python's pickle format is a program for a small stack machine, one of whose instructions calls
//! any function of any installed package. Here a call is only noted: it becomes an [`Object`] with
//! the name of the function and its arguments. The few known ones are interpreted afterwards, in
//! `super::tensor`. Source: the documentation of Python's `pickletools`.
//!
//! Values live in one flat list and refer to each other by index, so that values that the file
//! shares stay shared, cycles are harmless, and nothing here is recursive.

use std::collections::HashMap;

use super::Problem;
use super::graph::{Graph, Id, Node, Object};

/// Longest pickle that is read. Those of large training runs have a few MiB: the values of tensors
/// are not in them.
const MAX_LEN: usize = 64 << 20;
/// Most values, and most entries of the stack and of the memo.
const MAX_VALUES: usize = 1 << 20;

impl<'a> Graph<'a> {
    /// Reads a pickle of protocol 2 to 5.
    ///
    /// # Errors
    /// If it is damaged, too large, or uses an instruction that PyTorch does not.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Problem> {
        if bytes.len() > MAX_LEN {
            return Err(format!("its pickle has {} bytes, more than {MAX_LEN}", bytes.len()));
        }
        Self::parse_first(bytes).map(|(graph, _)| graph)
    }

    /// Reads the pickle that other bytes may follow, and gives its length.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(super) fn parse_first(bytes: &'a [u8]) -> Result<(Self, usize), Problem> {
        let bytes = &bytes[..bytes.len().min(MAX_LEN)];
        let mut machine = Machine {
            bytes,
            at: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        let root = machine.run().map_err(|problem| {
            format!("its pickle is damaged or not supported: {problem} at byte {}", machine.at)
        })?;
        Ok((Self { nodes: machine.nodes, root }, machine.at))
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

type Step<T = ()> = Result<T, Problem>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Step<Id> {
        loop {
            let [opcode] = self.array()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Step {
        match opcode {
            0x80 => self.protocol(),
            0x95 => self.array::<8>().map(drop),
            b'(' => self.mark(),
            b'0' => self.pop_or_unmark(),
            b'1' => self.pop_mark().map(drop),
            b'2' => self.top().and_then(|top| self.push_id(top)),
            b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | b'G' | 0x8a | 0x8b => self.number(opcode),
            b'X' | 0x8c | 0x8d | b'U' | b'T' | b'B' | b'C' | 0x8e | 0x96 => self.text(opcode),
            b')' => self.push(Node::Tuple(Vec::new())),
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x8f => self.push(Node::Set(Vec::new())),
            0x85..=0x87 => self.short_tuple(usize::from(opcode - 0x84)),
            b't' => self.collect(Node::Tuple),
            b'l' => self.collect(Node::List),
            0x91 => self.collect(Node::Set),
            b'd' => self.collect_dict(),
            b'a' => self.append(),
            b'e' | 0x90 => self.pop_mark().and_then(|items| self.extend(&items)),
            b's' => self.set_item(),
            b'u' => self.pop_mark().and_then(|items| self.set_items(&items)),
            b'c' | 0x93 => self.global(opcode),
            b'Q' => self.pop().and_then(|id| self.push(Node::Persistent(id))),
            b'R' | 0x81 | 0x92 => self.object(opcode),
            b'b' => self.build(),
            b'q' | b'r' | 0x94 => self.put(opcode),
            b'h' | b'j' => self.get(opcode),
            other => Err(format!("instruction 0x{other:02x}")),
        }
    }

    // Reading.

    fn take(&mut self, len: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or("it ends too early")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "it ends too early".to_owned())
    }

    /// A length of 1, 4 or 8 bytes.
    fn len(&mut self, width: usize) -> Step<usize> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| "a length is too large".to_owned())
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&byte| byte == b'\n').ok_or("it ends too early")?;
        let line = self.take(len + 1)?;
        std::str::from_utf8(&line[..len]).map_err(|_| "a name is not UTF-8".to_owned())
    }

    fn protocol(&mut self) -> Step {
        let [version] = self.array()?;
        if (2..=5).contains(&version) { Ok(()) } else { Err(format!("protocol {version}")) }
    }

    // The stack.

    fn push(&mut self, node: Node<'a>) -> Step {
        let id = self.add(node)?;
        self.push_id(id)
    }

    fn add(&mut self, node: Node<'a>) -> Step<Id> {
        if self.nodes.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as Id)
    }

    fn push_id(&mut self, id: Id) -> Step {
        if self.stack.len() >= MAX_VALUES {
            return Err(format!("a stack of more than {MAX_VALUES} values"));
        }
        self.stack.push(id);
        Ok(())
    }

    fn mark(&mut self) -> Step {
        if self.marks.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} marks"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// The part of the stack that can be reached: values below a mark cannot.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Step<Id> {
        if self.stack.len() <= self.floor() {
            return Err("the stack is empty".to_owned());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".to_owned())
    }

    fn top(&self) -> Step<Id> {
        let reachable = self.stack.get(self.floor()..).and_then(<[Id]>::last);
        reachable.copied().ok_or_else(|| "the stack is empty".to_owned())
    }

    fn pop_or_unmark(&mut self) -> Step {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    // Plain values.

    fn number(&mut self, opcode: u8) -> Step {
        let node = match opcode {
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'K' => Node::Int(u8::from_le_bytes(self.array()?).into()),
            b'M' => Node::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Node::Int(i32::from_le_bytes(self.array()?).into()),
            b'G' => Node::Float(f64::from_be_bytes(self.array()?)),
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            _ => Node::None,
        };
        self.push(node)
    }

    fn long(&mut self, width: usize) -> Step<Node<'a>> {
        let len = self.len(width)?;
        let digits = self.take(len)?;
        if digits.len() > 8 {
            return Ok(Node::BigInt(digits));
        }
        let negative = digits.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut bytes = [if negative { 0xff } else { 0 }; 8];
        bytes[..digits.len()].copy_from_slice(digits);
        Ok(Node::Int(i64::from_le_bytes(bytes)))
    }

    fn text(&mut self, opcode: u8) -> Step {
        let width = match opcode {
            0x8c | b'U' | b'C' => 1,
            0x8d | 0x8e | 0x96 => 8,
            _ => 4,
        };
        let len = self.len(width)?;
        let bytes = self.take(len)?;
        let is_text = matches!(opcode, b'X' | 0x8c | 0x8d | b'U' | b'T');
        let node = match std::str::from_utf8(bytes) {
            Ok(text) if is_text => Node::Str(text),
            // Strings of Python 2, and lone surrogates.
            _ => Node::Bytes(bytes),
        };
        self.push(node)
    }

    // Containers.

    fn short_tuple(&mut self, len: usize) -> Step {
        let mut items = (0..len).map(|_| self.pop()).collect::<Step<Vec<Id>>>()?;
        items.reverse();
        self.push(Node::Tuple(items))
    }

    fn collect(&mut self, node: fn(Vec<Id>) -> Node<'a>) -> Step {
        let items = self.pop_mark()?;
        self.push(node(items))
    }

    fn collect_dict(&mut self) -> Step {
        let items = self.pop_mark()?;
        self.push(Node::Dict(Vec::new()))?;
        self.set_items(&items)
    }

    fn append(&mut self) -> Step {
        let item = self.pop()?;
        self.extend(&[item])
    }

    fn extend(&mut self, new: &[Id]) -> Step {
        let top = self.top()?;
        match self.nodes.get_mut(top as usize) {
            Some(Node::List(items) | Node::Set(items)) => items.extend(new),
            Some(Node::Object(object)) => object.items.extend(new),
            _ => return Err("items for what is no list".to_owned()),
        }
        Ok(())
    }

    fn set_item(&mut self) -> Step {
        let value = self.pop()?;
        let key = self.pop()?;
        self.set_items(&[key, value])
    }

    fn set_items(&mut self, new: &[Id]) -> Step {
        let top = self.top()?;
        let (pairs, rest) = new.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("a key without a value".to_owned());
        }
        let pairs = pairs.iter().map(|&[key, value]| (key, value));
        match self.nodes.get_mut(top as usize) {
            Some(Node::Dict(entries)) => entries.extend(pairs),
            Some(Node::Object(object)) => object.entries.extend(pairs),
            _ => return Err("entries for what is no dict".to_owned()),
        }
        Ok(())
    }

    // Names and what would be made with them.

    fn global(&mut self, opcode: u8) -> Step {
        let (module, name);
        if opcode == b'c' {
            module = self.line()?;
            name = self.line()?;
        } else {
            name = self.pop_str("the name of a class")?;
            module = self.pop_str("the name of a module")?;
        }
        self.push(Node::Global { module, name })
    }

    fn pop_str(&mut self, what: &str) -> Step<&'a str> {
        let id = self.pop()?;
        match self.nodes.get(id as usize) {
            Some(Node::Str(text)) => Ok(text),
            _ => Err(format!("{what} is no text")),
        }
    }

    fn object(&mut self, opcode: u8) -> Step {
        let keywords = if opcode == 0x92 { vec![self.pop()?] } else { Vec::new() };
        let arguments = self.pop()?;
        let class = self.pop()?;
        let object = Object { class, arguments, state: None, items: keywords, entries: Vec::new() };
        self.push(Node::Object(Box::new(object)))
    }

    /// Sets an object's state. Attributes of containers are dropped: PyTorch gives its state dicts
    /// a `_metadata`.
    fn build(&mut self) -> Step {
        let state = self.pop()?;
        let top = self.top()?;
        if let Some(Node::Object(object)) = self.nodes.get_mut(top as usize) {
            object.state = Some(state);
        }
        Ok(())
    }

    // The memo.

    fn put(&mut self, opcode: u8) -> Step {
        let key = match opcode {
            0x94 => self.memo.len() as u32,
            _ => self.memo_key(opcode == b'q')?,
        };
        let top = self.top()?;
        if self.memo.len() >= MAX_VALUES {
            return Err(format!("a memo of more than {MAX_VALUES} values"));
        }
        self.memo.insert(key, top);
        Ok(())
    }

    fn get(&mut self, opcode: u8) -> Step {
        let key = self.memo_key(opcode == b'h')?;
        let id = self.memo.get(&key).copied();
        self.push_id(id.ok_or_else(|| format!("memo {key} is not set"))?)
    }

    fn memo_key(&mut self, short: bool) -> Step<u32> {
        if short {
            Ok(u8::from_le_bytes(self.array()?).into())
        } else {
            self.array().map(u32::from_le_bytes)
        }
    }
}
