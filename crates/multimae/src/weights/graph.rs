//! The values of a pickle: one flat list, in which they refer to each other by index.

/// The index of a value.
pub(super) type Id = u32;

/// A call that was not made, or an instance that was not built.
#[derive(Debug, Clone)]
pub(super) struct Object {
    /// The called object, as a rule a [`Node::Global`].
    pub(super) class: Id,
    /// Its arguments.
    pub(super) arguments: Id,
    /// The argument of `__setstate__`, or the attributes.
    pub(super) state: Option<Id>,
    /// The values that `append` adds.
    pub(super) items: Vec<Id>,
    /// The values that are set by key.
    pub(super) entries: Vec<(Id, Id)>,
}

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, little-endian, two's complement.
    BigInt(&'a [u8]),
    Float(f64),
    Str(&'a str),
    Bytes(&'a [u8]),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function by name.
    Global {
        module: &'a str,
        name: &'a str,
    },
    /// Something outside of the pickle, such as a tensor's storage.
    Persistent(Id),
    Object(Box<Object>),
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) root: Id,
}

impl<'a> Graph<'a> {
    /// The value that was pickled.
    pub(super) fn root(&self) -> Id {
        self.root
    }

    /// A value.
    pub(super) fn node(&self, id: Id) -> &Node<'a> {
        // Ids come from this graph only.
        self.nodes.get(id as usize).unwrap_or(&Node::None)
    }

    /// The tuples that name what is outside of the pickle.
    pub(super) fn persistent_ids(&self) -> impl Iterator<Item = &[Id]> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Persistent(id) => self.tuple(*id),
            _ => None,
        })
    }

    /// Module and name of a global.
    pub(super) fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match self.node(id) {
            Node::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    pub(super) fn str(&self, id: Id) -> Option<&'a str> {
        match self.node(id) {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// A number that counts or indexes something.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        match self.node(id) {
            Node::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The entries of a dict or of an ordered dict.
    pub(super) fn dict(&self, id: Id) -> Option<Vec<(Id, Id)>> {
        match self.node(id) {
            Node::Dict(entries) => Some(entries.clone()),
            Node::Object(object)
                if self.global(object.class) == Some(("collections", "OrderedDict")) =>
            {
                let mut entries = self.pairs(object.arguments)?;
                entries.extend(&object.entries);
                Some(entries)
            }
            _ => None,
        }
    }

    /// The entries in the arguments of an ordered dict: none, or one list of pairs.
    fn pairs(&self, arguments: Id) -> Option<Vec<(Id, Id)>> {
        let [list] = self.tuple(arguments)? else { return Some(Vec::new()) };
        let Node::List(pairs) = self.node(*list) else { return None };
        let pair = |&pair: &Id| match self.node(pair) {
            Node::Tuple(items) | Node::List(items) => match items[..] {
                [key, value] => Some((key, value)),
                _ => None,
            },
            _ => None,
        };
        pairs.iter().map(pair).collect()
    }
}
