//! Modules by name, in a fixed order.

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::Device;

/// An ordered map from names to modules; a name is one component of its parameters' paths.
#[derive(Debug, Clone)]
pub struct ModuleMap<M> {
    entries: Vec<(String, M)>,
}

impl<M> Default for ModuleMap<M> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<M> ModuleMap<M> {
    /// The module of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&M> {
        self.iter().find(|(key, _)| *key == name).map(|(_, module)| module)
    }

    /// Names and modules in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &M)> {
        self.entries.iter().map(|(name, module)| (name.as_str(), module))
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    fn map_modules(self, mut f: impl FnMut(&str, M) -> M) -> Self {
        let apply = |(name, module): (String, M)| {
            let module = f(&name, module);
            (name, module)
        };
        Self { entries: self.entries.into_iter().map(apply).collect() }
    }
}

impl<M> IntoIterator for ModuleMap<M> {
    type Item = (String, M);
    type IntoIter = std::vec::IntoIter<(String, M)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<M> FromIterator<(String, M)> for ModuleMap<M> {
    fn from_iter<T: IntoIterator<Item = (String, M)>>(iter: T) -> Self {
        Self { entries: iter.into_iter().collect() }
    }
}

impl<M: Module> Module for ModuleMap<M> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.iter().fold(devices, |devices, (_, module)| module.collect_devices(devices))
    }

    fn fork(self, device: &Device) -> Self {
        self.map_modules(|_, module| module.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.map_modules(|_, module| module.to_device(device))
    }

    fn train(self) -> Self {
        self.map_modules(|_, module| module.train())
    }

    fn valid(&self) -> Self {
        self.iter().map(|(name, module)| (name.to_owned(), module.valid())).collect()
    }

    fn materialize(self) -> Self {
        self.map_modules(|_, module| module.materialize())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (name, module) in self.iter() {
            visitor.enter_module(name, "ModuleMap");
            module.visit(visitor);
            visitor.exit_module(name, "ModuleMap");
        }
    }

    fn map<T: ModuleMapper>(self, mapper: &mut T) -> Self {
        self.map_modules(|name, module| {
            mapper.enter_module(name, "ModuleMap");
            let module = module.map(mapper);
            mapper.exit_module(name, "ModuleMap");
            module
        })
    }
}

impl<M: ModuleDisplay> ModuleDisplayDefault for ModuleMap<M> {
    fn content(&self, content: Content) -> Option<Content> {
        self.iter().fold(content, |content, (name, module)| content.add(name, module)).optional()
    }
}

impl<M: ModuleDisplay> ModuleDisplay for ModuleMap<M> {}
