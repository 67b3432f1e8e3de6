//! Looking at what linear layers multiply, for statistics of a model's activations.

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::Tensor;

/// A function of the weight `(outputs, inputs)` and the input rows `(rows, inputs)` of a layer.
pub type Observer = dyn Fn(&Tensor<2>, Tensor<2>);

thread_local! {
    static CURRENT: RefCell<Option<Rc<Observer>>> = const { RefCell::new(None) };
}

/// Runs `work` and shows the observer every linear layer that this thread computes meanwhile, but for
/// those that the observer computes itself.
pub fn scope<R>(observer: Rc<Observer>, work: impl FnOnce() -> R) -> R {
    let _restored = Restored(CURRENT.replace(Some(observer)));
    work()
}

/// Whether there is an observer.
pub(crate) fn is_on() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Shows a layer.
pub(crate) fn see<const D: usize>(weight: &Tensor<2>, x: &Tensor<D>) {
    let Some(observer) = CURRENT.take() else { return };
    let _restored = Restored(Some(Rc::clone(&observer)));
    let [_, inputs] = weight.dims();
    let rows = x.dims().iter().product::<usize>() / inputs.max(1);
    observer(weight, x.clone().reshape([rows, inputs]));
}

/// Sets the thread's observer back when it is dropped.
struct Restored(Option<Rc<Observer>>);

impl Drop for Restored {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use burn::tensor::Device;

    use super::*;
    use crate::ops;

    /// The sizes of a weight and of the rows that it multiplies, and the largest value of these.
    type LayerCall = ([usize; 2], [usize; 2], f32);

    #[test]
    fn every_layer_is_seen_with_its_own_input() {
        let device = Device::default();
        let ones = |dims: [usize; 2]| Tensor::<2>::ones(dims, &device);
        let vector = |len| Tensor::<1>::ones([len], &device);
        let (first, second) = (ones([4, 3]), ones([2, 4]));
        let x = Tensor::<3>::from_data([[[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]]], &device);
        let seen: Rc<RefCell<Vec<LayerCall>>> = Rc::default();
        let observer: Rc<Observer> = {
            let seen = Rc::clone(&seen);
            Rc::new(move |weight, rows| {
                // Its own layers are nothing that it is shown.
                let _ = ops::linear(rows.clone(), weight.clone(), None);
                let largest = rows.clone().abs().max().into_scalar::<f32>();
                seen.borrow_mut().push((weight.dims(), rows.dims(), largest));
            })
        };
        let norm = || (vector(3), vector(3), 1e-6);
        let y = scope(observer, || {
            let _ = ops::linear(x.clone(), first.clone(), None);
            ops::norm_mlp(
                x.clone(),
                norm(),
                (first.clone(), vector(4)),
                (second.clone(), vector(2)),
            )
        });
        let unseen = ops::norm_mlp(x, norm(), (first, vector(4)), (second, vector(2)));
        assert!((y - unseen).abs().max().into_scalar::<f32>() < 1e-5);
        let seen = seen.borrow();
        let sizes: Vec<_> = seen.iter().map(|(weight, rows, _)| (*weight, *rows)).collect();
        assert_eq!(sizes, [([4, 3], [2, 3]), ([4, 3], [2, 3]), ([2, 4], [2, 4])]);
        // The input as it is, behind the norm, and behind the GELU: 1 + 1.2247, and of 4 the GELU.
        let largest: Vec<f32> = seen.iter().map(|(_, _, largest)| *largest).collect();
        assert_eq!(largest[0], 3.0);
        assert!((largest[1] - 2.2247).abs() < 1e-3 && (largest[2] - 4.0).abs() < 1e-3);
    }

    #[test]
    fn it_ends_with_its_scope() {
        let count = Rc::new(Cell::new(0));
        let counted = Rc::clone(&count);
        scope(Rc::new(move |_, _| counted.set(counted.get() + 1)), || assert!(is_on()));
        assert!(!is_on());
        assert_eq!(count.get(), 0);
    }
}
