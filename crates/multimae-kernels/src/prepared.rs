//! Weights in the form in which kernels read them, made once for a model that does not change.
//!
//! Packing a weight takes about a tenth of the time of a GEMM of few rows, and transforming the kernels
//! of a convolution more. A model that predicts again and again [adds](PreparedWeights::add) its weights
//! and predicts in a [scope](PreparedWeights::scope); each is packed when it is used there for the second
//! time, so that a single prediction takes no memory for it, and kept. In fp32 it takes as much memory as
//! the weight, or four times as much for a 3x3 convolution; in 8 bits a fourth. Results are bit-exact.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use burn::backend::flex::FlexTensor;
use burn::backend::{BackendTensor, DispatchTensorKind};
use burn::tensor::{Bytes, Tensor};

use crate::cpu::conv::{self, ConvShape};
use crate::cpu::linear::{self, LinearShape};
use crate::cpu::matrix::{Form, Operand};
use crate::precision::Precision;

/// The prepared weights of one or several models. A clone is the same.
#[derive(Clone, Default)]
pub struct PreparedWeights {
    known: Arc<Mutex<HashMap<Place, Arc<Known>>>>,
}

/// The place of a tensor's elements: its memory, and the first one in it. Tensors that exist at the same
/// time have the same one if and only if they share their elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    memory: usize,
    first: usize,
}

impl Place {
    /// That of a tensor of the processor.
    #[must_use]
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        on_processor(tensor).as_ref().map(place)
    }
}

/// A weight that does not change.
struct Known {
    memory: Weak<Bytes>,
    shape: Vec<usize>,
    was_used: AtomicBool,
    packed: Mutex<Vec<(Form, Arc<Operand>)>>,
    convolved: Mutex<Vec<(conv::Form, Arc<conv::Prepared>)>>,
}

thread_local! {
    static CURRENT: RefCell<Option<PreparedWeights>> = const { RefCell::new(None) };
}

impl PreparedWeights {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a weight of a linear layer or a convolution, which is prepared when it is used again. Others,
    /// and tensors of other devices, are left as they are.
    pub fn add<const D: usize>(&self, weight: &Tensor<D>) {
        let Some(tensor) = on_processor(weight) else { return };
        if (D == 2 || D == 4) && tensor.is_contiguous() {
            let fresh = || Arc::new(Known::of(&tensor));
            lock(&self.known).entry(place(&tensor)).or_insert_with(fresh);
        }
    }

    /// Runs `work` with these weights for all operations that this thread calls meanwhile. Afterwards
    /// there are those that were there before, after a panic too. Weights that no model has any more are
    /// forgotten first.
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        lock(&self.known).retain(|_, known| known.memory.strong_count() > 0);
        let _restored = Restored(CURRENT.replace(Some(self.clone())));
        work()
    }

    /// Those of the innermost scope that the calling thread is in.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Bytes of what was prepared.
    #[must_use]
    pub fn bytes(&self) -> usize {
        lock(&self.known).values().map(|known| known.bytes()).sum()
    }

    /// A weight that was added and used before.
    fn find(&self, weight: &FlexTensor) -> Option<Arc<Known>> {
        let known = lock(&self.known).get(&place(weight)).cloned()?;
        let same = weight.is_contiguous() && known.shape == weight.layout().shape().to_vec();
        (same && known.was_used.swap(true, Ordering::Relaxed)).then_some(known)
    }
}

impl fmt::Debug for PreparedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (weights, bytes) = (lock(&self.known).len(), self.bytes());
        f.debug_struct("PreparedWeights").field("weights", &weights).field("bytes", &bytes).finish()
    }
}

impl Known {
    fn of(tensor: &FlexTensor) -> Self {
        Self {
            memory: Arc::downgrade(&tensor.data_arc()),
            shape: tensor.layout().shape().to_vec(),
            was_used: AtomicBool::new(false),
            packed: Mutex::default(),
            convolved: Mutex::default(),
        }
    }

    fn bytes(&self) -> usize {
        let packed: usize = lock(&self.packed).iter().map(|(_, operand)| operand.bytes()).sum();
        let convolved =
            lock(&self.convolved).iter().map(|(_, prepared)| prepared.bytes()).sum::<usize>();
        packed + convolved
    }
}

/// The weight of a linear layer, packed for a map of these sizes; `None` if it is not to be prepared, or
/// the map is not computed of packed weights.
pub(crate) fn linear(
    precision: Precision,
    shape: LinearShape,
    weight: &FlexTensor,
) -> Option<Arc<Operand>> {
    let form = linear::form(precision, shape)?;
    let known = PreparedWeights::current()?.find(weight)?;
    let values = weight.as_slice::<f32>()?;
    Some(kept(&known.packed, form, || linear::pack(form, shape, values)))
}

/// The weight of a convolution, prepared for one of these sizes; `None` if it is not to be prepared, or
/// the convolution is not computed of prepared weights.
pub(crate) fn conv(
    precision: Precision,
    shape: ConvShape,
    weight: &FlexTensor,
) -> Option<Arc<conv::Prepared>> {
    let form = conv::Form::of(precision, shape)?;
    let known = PreparedWeights::current()?.find(weight)?;
    let values = weight.as_slice::<f32>()?;
    Some(kept(&known.convolved, form, || conv::Prepared::new(form, shape, values)))
}

/// The part that is kept in a form; it is made if it was not before.
fn kept<F: PartialEq, T>(
    kept: &Mutex<Vec<(F, Arc<T>)>>,
    form: F,
    make: impl FnOnce() -> T,
) -> Arc<T> {
    let find = |kept: &[(F, Arc<T>)]| {
        kept.iter().find(|(known, _)| *known == form).map(|(_, prepared)| Arc::clone(prepared))
    };
    if let Some(prepared) = find(&lock(kept)) {
        return prepared;
    }
    // Not under the lock: other threads help, and one of them may come here. The first one's is kept.
    let prepared = Arc::new(make());
    let mut kept = lock(kept);
    find(&kept).unwrap_or_else(|| {
        kept.push((form, Arc::clone(&prepared)));
        prepared
    })
}

fn on_processor<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    match tensor.clone().into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    }
}

/// Memory whose weights are known keeps its address after it was freed, so that no other has it.
fn place(tensor: &FlexTensor) -> Place {
    let memory = Arc::as_ptr(&tensor.data_arc()) as usize;
    Place { memory, first: tensor.layout().start_offset() }
}

/// The content, which is whole after a panic as well: values are put in when they are made.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the thread's weights back when it is dropped.
struct Restored(Option<PreparedWeights>);

impl Drop for Restored {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::cpu::testing::values;
    use crate::ops;

    fn tensor<const D: usize>(seed: u64, dims: [usize; D]) -> Tensor<D> {
        let data = TensorData::new(values(seed, dims.iter().product()), dims);
        Tensor::from_data(data, &Device::default())
    }

    fn bits<const D: usize>(x: Tensor<D>) -> Vec<u32> {
        x.into_data().iter::<f32>().map(f32::to_bits).collect()
    }

    #[test]
    fn results_are_the_same_bit_for_bit() {
        let [first, second] = [tensor(1, [130, 70]), tensor(2, [40, 130])];
        let kernels = tensor(3, [24, 17, 3, 3]);
        let [b1, b2, scale, shift] = [130, 40, 70, 70].map(|len| tensor(4, [len]));
        let norm = || (scale.clone(), shift.clone(), 1e-6);
        let (l1, l2) = (|| (first.clone(), b1.clone()), || (second.clone(), b2.clone()));
        let all = |rows: usize, side: usize| {
            let x = tensor(5, [rows, 70]);
            let maps = tensor(6, [2, 17, side, side]);
            [
                bits(ops::linear(x.clone(), first.clone(), Some(b1.clone()))),
                bits(ops::linear(x.clone(), first.clone(), None)),
                bits(ops::norm_linear(x.clone(), norm(), first.clone(), b1.clone())),
                bits(ops::norm_mlp(x, norm(), l1(), l2())),
                bits(ops::gelu_linear(tensor(7, [rows, 130]), second.clone(), b2.clone())),
                bits(ops::conv2d(maps.clone(), kernels.clone(), None, false)),
            ]
        };
        let prepared = PreparedWeights::new();
        [&first, &second].iter().for_each(|weight| prepared.add(*weight));
        prepared.add(&kernels);
        for (rows, side) in [(1, 1), (5, 9), (33, 20), (300, 21), (1500, 8)] {
            let expected = all(rows, side);
            for _ in 0..2 {
                assert_eq!(prepared.scope(|| all(rows, side)), expected, "{rows} rows");
            }
        }
        assert!(ops::enabled() == (prepared.bytes() > 0));
    }

    #[test]
    fn only_what_was_added_is_prepared_and_what_is_gone_is_forgotten() {
        let (x, prepared) = (tensor(1, [64, 64]), PreparedWeights::new());
        let other = tensor(2, [64, 64]);
        for _ in 0..2 {
            prepared.scope(|| ops::linear(x.clone(), other.clone(), None));
        }
        assert_eq!(prepared.bytes(), 0);
        let weight = tensor(3, [64, 64]);
        prepared.add(&weight);
        // A part, and the same memory in another shape, are not what was added.
        let part = weight.clone().narrow(0, 1, 63);
        let wide = weight.clone().reshape([32, 128]);
        for _ in 0..2 {
            prepared.scope(|| ops::linear(x.clone(), part.clone(), None));
            prepared.scope(|| ops::linear(tensor(4, [64, 128]), wide.clone(), None));
        }
        assert_eq!(prepared.bytes(), 0);
        prepared.scope(|| ops::linear(x.clone(), weight.clone(), None));
        assert_eq!(prepared.bytes(), 0, "a single use needs no packed weight");
        prepared.scope(|| ops::linear(x.clone(), weight.clone(), None));
        assert!(ops::enabled() == (prepared.bytes() > 0));
        drop([weight, part, wide]);
        prepared.scope(|| ());
        assert_eq!(prepared.bytes(), 0);
    }

    #[test]
    fn scopes_nest_and_end() {
        let (outer, inner) = (PreparedWeights::new(), PreparedWeights::new());
        let is = |expected: &PreparedWeights| {
            let current = PreparedWeights::current();
            current.is_some_and(|current| Arc::ptr_eq(&current.known, &expected.known))
        };
        outer.scope(|| {
            assert!(is(&outer));
            inner.scope(|| assert!(is(&inner)));
            assert!(is(&outer));
        });
        assert!(PreparedWeights::current().is_none());
    }
}
