//! Parameters by name: listing, reading, loading, updating.
//!
//! A parameter's name is its path through the modules, which is its key in the published
//! checkpoints, e.g. `encoder.0.attn.qkv.weight`.

use std::collections::{HashMap, VecDeque};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use indexmap::IndexMap;
use multimae_kernels::prepared::{Place, PreparedWeights};

use crate::nn::parameter;
use crate::{Error, Result};

/// Tensors by name, on the host.
pub type StateDict = IndexMap<String, TensorData>;

/// One parameter of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterInfo {
    /// Its path.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether training changes it. Known for models on a device with autodiff.
    pub trainable: bool,
}

/// The field of a model inside another one, which keeps the names of its parameters.
const INNER_MODEL: &str = "vit";

/// The path of the module being visited; enum variants and inner models are no part of it.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        if Self::names(name, container) {
            self.0.push(name.to_owned());
        }
    }

    fn exit(&mut self, name: &str, container: &str) {
        if Self::names(name, container) {
            self.0.pop();
        }
    }

    fn names(name: &str, container: &str) -> bool {
        !container.starts_with("Enum:") && name != INNER_MODEL
    }

    fn name(&self) -> String {
        self.0.join(".")
    }
}

struct Visitor<F> {
    path: Path,
    visit: F,
}

/// The function of a visitor for a parameter of any rank.
trait VisitParameter {
    fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>);
}

impl<F: VisitParameter> ModuleVisitor for Visitor<F> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.path.exit(name, container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.visit.visit(self.path.name(), param);
    }
}

fn visit<V: VisitParameter>(module: &impl Module, visit: V) -> V {
    let mut visitor = Visitor { path: Path::default(), visit };
    module.visit(&mut visitor);
    visitor.visit
}

/// All parameters in the order of the modules.
#[must_use]
pub fn parameters(module: &impl Module) -> Vec<ParameterInfo> {
    struct List(Vec<ParameterInfo>);
    impl VisitParameter for List {
        fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>) {
            self.0.push(ParameterInfo {
                name,
                shape: param.dims().to_vec(),
                trainable: param.is_require_grad(),
            });
        }
    }
    visit(module, List(Vec::new())).0
}

/// Adds all weights to those that are prepared once, for a model that does not change.
pub fn prepare(module: &impl Module, weights: &PreparedWeights) {
    struct Add<'a>(&'a PreparedWeights);
    impl VisitParameter for Add<'_> {
        fn visit<const D: usize>(&mut self, _: String, param: &Param<Tensor<D>>) {
            self.0.add(&param.val());
        }
    }
    visit(module, Add(weights));
}

/// The names and shapes of parameters by the places of their elements.
#[must_use]
pub fn places(module: &impl Module) -> HashMap<Place, (String, Vec<usize>)> {
    struct List(HashMap<Place, (String, Vec<usize>)>);
    impl VisitParameter for List {
        fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>) {
            if let Some(place) = Place::of(&param.val()) {
                self.0.insert(place, (name, param.dims().to_vec()));
            }
        }
    }
    visit(module, List(HashMap::new())).0
}

/// Number of values in all parameters that training changes. Known for models on a device with
/// autodiff.
#[must_use]
pub fn trained_values(module: &impl Module) -> usize {
    let trained = parameters(module).into_iter().filter(|p| p.trainable);
    trained.map(|p| p.shape.iter().product::<usize>()).sum()
}

/// All parameters' values, copied to the host.
#[must_use]
pub fn state_dict(module: &impl Module) -> StateDict {
    struct Read(StateDict);
    impl VisitParameter for Read {
        fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>) {
            self.0.insert(name, param.val().inner().into_data());
        }
    }
    visit(module, Read(StateDict::new())).0
}

/// The gradients of the trainable parameters that the loss depends on, taken out of `gradients`
/// and flattened.
#[must_use]
pub fn take_gradients(
    module: &impl Module,
    gradients: &mut Gradients,
) -> IndexMap<String, Tensor<1>> {
    struct Take<'a>(&'a mut Gradients, IndexMap<String, Tensor<1>>);
    impl VisitParameter for Take<'_> {
        fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad_remove(self.0) {
                let len = gradient.shape().num_elements();
                self.1.insert(name, gradient.reshape([len]));
            }
        }
    }
    visit(module, Take(gradients, IndexMap::new())).1
}

/// The sum of all products of a parameter's values and its gradient, taken out of `gradients` as
/// [`take_gradients`] leaves them: a number whose gradients those are. `None` if no parameter has one.
#[must_use]
pub fn product_with_gradients(
    module: &impl Module,
    gradients: IndexMap<String, Tensor<1>>,
) -> Option<Tensor<1>> {
    struct Sum(IndexMap<String, Tensor<1>>, Option<Tensor<1>>);
    impl VisitParameter for Sum {
        fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>) {
            let Some(gradient) = self.0.swap_remove(&name) else { return };
            let [len] = gradient.dims();
            let product = (param.val().reshape([len]) * Tensor::from_inner(gradient)).sum();
            self.1 = Some(match self.1.take() {
                Some(sum) => sum + product,
                None => product,
            });
        }
    }
    visit(module, Sum(gradients, None)).1
}

/// Replaces the values of parameters: `update` gets a name and the flattened value and returns the
/// new flattened value, or `None` to leave the parameter alone.
///
/// Whether a parameter is trained does not change; its history in the gradient tape ends.
#[must_use]
pub fn update<M: Module>(
    module: M,
    mut update: impl FnMut(&str, Tensor<1>) -> Option<Tensor<1>>,
) -> M {
    replace(module, |name, _, current| update(name, current()))
}

/// Applies [`update`] to all parameters in place: their memory has no other owner when they are
/// changed, so that it need not be copied.
pub fn update_in_place<M: Module>(
    module: &mut M,
    mut update: impl FnMut(&str, Tensor<1>) -> Tensor<1>,
) {
    let mut taken = TakeValues(VecDeque::new());
    // The old module, which shares the values, is gone with the assignment.
    *module = module.clone().map(&mut taken);
    let TakeValues(mut values) = taken;
    // Both maps meet the parameters in one order.
    *module = replace(module.clone(), |name, _, _| Some(update(name, values.pop_front()?)));
}

/// Leaves zeros that take no memory in place of every parameter, and has the flattened values.
struct TakeValues(VecDeque<Tensor<1>>);

impl ModuleMapper for TakeValues {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper): (ParamId, Tensor<D>, _) = param.consume();
        let (autodiff, trainable) = (value.is_autodiff(), value.is_require_grad());
        let value = value.inner();
        let dims = value.dims();
        let zeros = parameter(dims, &value.device()).val();
        self.0.push_back(value.reshape([dims.iter().product::<usize>()]));
        let zeros = if autodiff { zeros.autodiff().set_require_grad(trainable) } else { zeros };
        Param::from_mapped_value(id, zeros, mapper)
    }
}

/// [`update`] with the device, and with the current value only if it is asked for: one that is nothing
/// but zeros so far takes no memory.
fn replace<M: Module>(
    module: M,
    update: impl FnMut(&str, &Device, &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>>,
) -> M {
    struct Update<F> {
        path: Path,
        update: F,
    }
    impl<F> ModuleMapper for Update<F>
    where
        F: FnMut(&str, &Device, &dyn Fn() -> Tensor<1>) -> Option<Tensor<1>>,
    {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }

        fn exit_module(&mut self, name: &str, container_type: &str) {
            self.path.exit(name, container_type);
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, value, mapper): (ParamId, Tensor<D>, _) = param.consume();
            let (autodiff, trainable) = (value.is_autodiff(), value.is_require_grad());
            let value = value.inner();
            let dims = value.dims();
            let len = dims.iter().product::<usize>();
            let flat = || value.clone().reshape([len]);
            let value = match (self.update)(&self.path.name(), &value.device(), &flat) {
                Some(new) => new.reshape(dims),
                None => value,
            };
            let value = if autodiff { value.autodiff().set_require_grad(trainable) } else { value };
            Param::from_mapped_value(id, value, mapper)
        }
    }
    module.map(&mut Update { path: Path::default(), update })
}

/// Chooses which parameters training changes: `choose` gets a name and whether it is trained now.
/// Without effect on a device without autodiff.
#[must_use]
pub fn with_trained<M: Module>(module: M, choose: impl FnMut(&str, bool) -> bool) -> M {
    struct Choose<F> {
        path: Path,
        choose: F,
    }
    impl<F: FnMut(&str, bool) -> bool> ModuleMapper for Choose<F> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }

        fn exit_module(&mut self, name: &str, container_type: &str) {
            self.path.exit(name, container_type);
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, value, mapper): (ParamId, Tensor<D>, _) = param.consume();
            let autodiff = value.is_autodiff();
            let trained = (self.choose)(&self.path.name(), value.is_require_grad());
            let value = value.inner();
            let value = if autodiff { value.autodiff().set_require_grad(trained) } else { value };
            Param::from_mapped_value(id, value, mapper)
        }
    }
    module.map(&mut Choose { path: Path::default(), choose })
}

/// The missing and unexpected keys that loading allows, by prefix of the name. Empty lists allow
/// none.
#[derive(Debug, Clone, Default)]
pub struct AllowedKeys {
    /// Parameters of the model that the weights need not have.
    pub missing: Vec<String>,
    /// Tensors of the weights that the model need not have.
    pub unexpected: Vec<String>,
}

/// Loads a state dict; tensors of `f32` stay where they are in memory. Strict: nothing may be missing,
/// unexpected or of another shape, unless it is allowed by name.
///
/// # Errors
/// Lists all names that do not fit; the model is not changed then.
pub fn load<M: Module>(module: M, mut weights: StateDict, allowed: &AllowedKeys) -> Result<M> {
    let wanted: IndexMap<String, Vec<usize>> =
        parameters(&module).into_iter().map(|p| (p.name, p.shape)).collect();
    let covered = |list: &[String], name: &str| list.iter().any(|prefix| name.starts_with(prefix));
    let mut problems = Vec::new();
    for (name, shape) in &wanted {
        match weights.get(name) {
            None if covered(&allowed.missing, name) => {}
            None => problems.push(format!("missing `{name}` {shape:?}")),
            Some(data) if data.shape().as_slice() != shape.as_slice() => problems.push(format!(
                "`{name}` has shape {:?}, the model needs {shape:?}",
                data.shape().as_slice()
            )),
            Some(data) if !data.dtype().is_float() => {
                problems.push(format!("`{name}` holds {:?}, which are no weights", data.dtype()))
            }
            Some(_) => {}
        }
    }
    for name in weights.keys() {
        if !wanted.contains_key(name) && !covered(&allowed.unexpected, name) {
            problems.push(format!("unexpected `{name}`"));
        }
    }
    if !problems.is_empty() {
        return Err(Error::Weights(format!(
            "{} tensors do not fit the model:\n  {}",
            problems.len(),
            problems.join("\n  ")
        )));
    }
    Ok(replace(module, |name, device, _| {
        let data = weights.swap_remove(name)?.convert::<f32>();
        let len = data.num_elements();
        let (bytes, _, dtype) = data.into_parts();
        let flat = TensorData::from_bytes(bytes, [len], dtype);
        Some(Tensor::from_data(flat, device))
    }))
}
