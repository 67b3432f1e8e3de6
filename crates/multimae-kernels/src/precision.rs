//! The precision of GEMMs, which belongs to a call.
//!
//! The caller of a model enters a [scope](Precision::scope). Every operation of [`ops`](crate::ops)
//! reads the precision of the calling thread's scope once, when it is called, and hands it on as an
//! argument: to the threads that it works on, and to its backward pass, which therefore has the
//! precision of its forward pass wherever and whenever it runs. Models of different precision do not
//! meet, in turn or at the same time.

use std::cell::Cell;

/// The precision of the operands of GEMMs. Everything else, sums included, is fp32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// 32 bits. Where the processor has tile registers, large GEMMs sum those of the operands'
    /// parts in bfloat16, three of each, whose sum is the operand.
    #[default]
    Fp32,
    /// 16 bits with the exponent of 32: operands are rounded to 8 significant bits.
    Bf16,
    /// Whole numbers of 8 bits, for [large layers](crate::int8) of a forward pass: weights with a scale
    /// per output channel, the rows that they multiply with one each, the maps of a convolution with one
    /// per image. All else is as in fp32, the
    /// backward pass too, and everything on processors and devices without a kernel for it.
    Int8,
}

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::Fp32) };
}

impl Precision {
    /// Runs `work` with this precision for all operations that this thread calls meanwhile, but for
    /// those in an inner scope. Afterwards the precision is what it was before, after a panic too.
    ///
    /// Other threads are not in the scope: [`task_parallel`](crate::task_parallel) takes it along;
    /// code that starts threads itself enters [`current`](Self::current) again in them.
    ///
    /// An operation panics if it is asked for a precision that its device has not; see
    /// [`check`](Self::check).
    pub fn scope<R>(self, work: impl FnOnce() -> R) -> R {
        let _restored = Restored(CURRENT.replace(self));
        work()
    }

    /// The precision of the backward pass.
    pub(crate) fn of_gradients(self) -> Self {
        if self == Self::Int8 { Self::Fp32 } else { self }
    }

    /// The precision of layers that read pixels, whose inputs 8 bits would round too far.
    #[must_use]
    pub fn of_pixels(self) -> Self {
        if self == Self::Int8 { Self::Fp32 } else { self }
    }

    /// The precision of the innermost scope that the calling thread is in; 32 bits outside of any.
    #[must_use]
    pub fn current() -> Self {
        CURRENT.get()
    }
}

/// Sets the thread's precision back when it is dropped.
struct Restored(Precision);

impl Drop for Restored {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::Precision::{self, Bf16, Fp32};

    #[test]
    fn scopes_nest_and_end() {
        assert_eq!(Precision::current(), Fp32);
        let inner = Bf16.scope(|| {
            let inner = Fp32.scope(|| (Precision::current(), Bf16.scope(Precision::current)));
            assert_eq!(Precision::current(), Bf16);
            inner
        });
        assert_eq!(inner, (Fp32, Bf16));
        assert_eq!(Precision::current(), Fp32);
    }

    #[test]
    fn a_panic_ends_a_scope_and_no_more() {
        Bf16.scope(|| {
            let work = || Fp32.scope(|| std::panic::resume_unwind(Box::new(())));
            let panicked: Result<(), _> = catch_unwind(AssertUnwindSafe(work));
            assert!(panicked.is_err());
            assert_eq!(Precision::current(), Bf16);
        });
        assert_eq!(Precision::current(), Fp32);
    }

    #[test]
    fn a_scope_is_of_one_thread() {
        Bf16.scope(|| {
            let of_another = std::thread::spawn(Precision::current).join().unwrap();
            assert_eq!((Precision::current(), of_another), (Bf16, Fp32));
        });
    }
}
