//! The moments of one parameter, as they are stored in memory and in checkpoints.

use std::sync::Arc;

use multimae::burn::tensor::{Bytes, DType, Device, Tensor, TensorData};
use multimae::state::StateDict;
use multimae_config::OptimiserStateChoice;
use multimae_kernels::cpu::adamw::AdamWStep;
use multimae_kernels::cpu::adamw::bf16::Bf16Moments;
use multimae_kernels::cpu::adamw::blockwise::{BlockwiseMoments, QuantizedBlocks};
use multimae_kernels::ops;

use crate::{Error, Result};

/// Values from which on a parameter's moments are quantised (Dettmers et al., 2022). Norms, biases and
/// tokens have fewer; they take no memory worth saving.
const LEAST_QUANTIZED: usize = 4096;

/// The mean of the gradient and that of the squared gradient, `(n)` each. Copies share their memory
/// until one of them is changed.
#[derive(Debug, Clone)]
pub(super) enum Moments {
    Fp32(Box<[Tensor<1>; 2]>),
    Bf16(Arc<Bf16Moments>),
    EightBit(Arc<BlockwiseMoments>),
}

/// The storage of the moments of a parameter of `len` values.
fn storage_of(choice: OptimiserStateChoice, len: usize) -> OptimiserStateChoice {
    match choice {
        OptimiserStateChoice::EightBit if len < LEAST_QUANTIZED => OptimiserStateChoice::Fp32,
        choice => choice,
    }
}

impl Moments {
    /// Those of a parameter with this gradient before its first step.
    pub(super) fn zeros(choice: OptimiserStateChoice, gradient: &Tensor<1>) -> Self {
        let [len] = gradient.dims();
        match storage_of(choice, len) {
            OptimiserStateChoice::Fp32 => {
                Self::Fp32(Box::new([gradient.zeros_like(), gradient.zeros_like()]))
            }
            OptimiserStateChoice::Bf16 => Self::Bf16(Arc::new(Bf16Moments::zeros(len))),
            OptimiserStateChoice::EightBit => {
                Self::EightBit(Arc::new(BlockwiseMoments::zeros(len)))
            }
        }
    }

    /// The parameter's new value and moments. `key` names the random bits of their rounding, if they
    /// are rounded.
    ///
    /// # Shapes
    /// `value` and `gradient (n)` to `(n)`.
    pub(super) fn step(
        self,
        step: AdamWStep,
        key: impl FnOnce() -> u64,
        value: Tensor<1>,
        gradient: Tensor<1>,
    ) -> (Tensor<1>, Self) {
        match self {
            Self::Fp32(moments) => {
                let [mean, square] = *moments;
                let (value, mean, square) = ops::adamw(step, value, gradient, mean, square);
                (value, Self::Fp32(Box::new([mean, square])))
            }
            Self::Bf16(mut moments) => {
                let own = Arc::make_mut(&mut moments);
                (ops::adamw_bf16(step, key(), value, gradient, own), Self::Bf16(moments))
            }
            Self::EightBit(mut moments) => {
                let own = Arc::make_mut(&mut moments);
                (ops::adamw_8bit(step, key(), value, gradient, own), Self::EightBit(moments))
            }
        }
    }

    /// Adds `<parameter>.mean` and `.square`; in 8 bits also `.mean_absmax` and `.square_absmax`, one
    /// number per block.
    pub(super) fn write(&self, parameter: &str, state: &mut StateDict) {
        let mut add = |part: &str, data| {
            state.insert(format!("{parameter}.{part}"), data);
        };
        match self {
            Self::Fp32(moments) => {
                let [mean, square] = &**moments;
                add("mean", mean.to_data());
                add("square", square.to_data());
            }
            Self::Bf16(moments) => {
                add("mean", bf16(moments.mean()));
                add("square", bf16(moments.square()));
            }
            Self::EightBit(moments) => {
                for (part, blocks) in [("mean", moments.mean()), ("square", moments.square())] {
                    let (codes, absmax) = (blocks.codes().to_vec(), blocks.absmax().to_vec());
                    let (values, count) = (codes.len(), absmax.len());
                    add(part, TensorData::new(codes, [values]));
                    add(&format!("{part}_absmax"), TensorData::new(absmax, [count]));
                }
            }
        }
    }

    /// The moments that [`Self::write`] wrote.
    ///
    /// # Errors
    /// If a part is missing, has another length, or is not stored as `choice` says.
    pub(super) fn read(
        choice: OptimiserStateChoice,
        parameter: &str,
        state: &StateDict,
        device: &Device,
    ) -> Result<Self> {
        let parts = Parts { parameter, state };
        let (mean, square) = (parts.get("mean")?, parts.get("square")?);
        let len = mean.num_elements();
        let storage = storage_of(choice, len);
        for data in [mean, square] {
            parts.check_type(data, storage, choice)?;
        }
        let moments = match storage {
            OptimiserStateChoice::Fp32 => {
                let tensor = |data: &TensorData| Tensor::from_data(data.clone(), device);
                let moments = || Self::Fp32(Box::new([tensor(mean), tensor(square)]));
                (square.num_elements() == len).then(moments)
            }
            OptimiserStateChoice::Bf16 => {
                let moments = Bf16Moments::from_bits(bits(mean), bits(square));
                moments.map(|moments| Self::Bf16(Arc::new(moments)))
            }
            OptimiserStateChoice::EightBit => {
                let (mean, square) = (parts.blocks("mean", mean)?, parts.blocks("square", square)?);
                let moments = BlockwiseMoments::from_blocks(mean, square);
                moments.map(|moments| Self::EightBit(Arc::new(moments)))
            }
        };
        moments.ok_or_else(|| parts.error("`mean` and `square` differ in length".to_owned()))
    }
}

/// The parts of the state of one parameter.
struct Parts<'a> {
    parameter: &'a str,
    state: &'a StateDict,
}

impl<'a> Parts<'a> {
    fn error(&self, problem: String) -> Error {
        Error::OptimiserState { parameter: self.parameter.to_owned(), problem }
    }

    fn get(&self, part: &str) -> Result<&'a TensorData> {
        let data = self.state.get(&format!("{}.{part}", self.parameter));
        data.ok_or_else(|| self.error(format!("`{part}` is missing")))
    }

    fn check_type(
        &self,
        data: &TensorData,
        storage: OptimiserStateChoice,
        choice: OptimiserStateChoice,
    ) -> Result<()> {
        if data.dtype() == dtype(storage) {
            return Ok(());
        }
        Err(self.error(match stored_in(self.state) {
            Some(stored) if stored != choice => format!(
                "it is stored as {stored}, and `optimizer_state` is {choice}. Resume with \
                 `optimizer_state: {stored}`, or start a new run in another folder",
                stored = stored.word(),
                choice = choice.word(),
            ),
            _ => format!("it is stored as {:?}, not as {:?}", data.dtype(), dtype(storage)),
        }))
    }

    fn blocks(&self, part: &str, codes: &TensorData) -> Result<QuantizedBlocks> {
        let part = format!("{part}_absmax");
        let absmax = self.get(&part)?;
        let numbers = absmax.as_slice::<f32>().ok();
        numbers
            .and_then(|numbers| QuantizedBlocks::new(codes.as_bytes().to_vec(), numbers.to_vec()))
            .ok_or_else(|| self.error(format!("`{part}` does not hold one fp32 number per block")))
    }
}

/// The type of the moments' values.
fn dtype(storage: OptimiserStateChoice) -> DType {
    match storage {
        OptimiserStateChoice::Fp32 => DType::F32,
        OptimiserStateChoice::Bf16 => DType::BF16,
        OptimiserStateChoice::EightBit => DType::U8,
    }
}

/// The choice by which a state was stored: that of its largest parameters.
fn stored_in(state: &StateDict) -> Option<OptimiserStateChoice> {
    let choices =
        [OptimiserStateChoice::EightBit, OptimiserStateChoice::Bf16, OptimiserStateChoice::Fp32];
    let holds = |dtype: DType| {
        state.iter().any(|(key, data)| key.ends_with(".square") && data.dtype() == dtype)
    };
    choices.into_iter().find(|&choice| holds(dtype(choice)))
}

fn bf16(bits: &[u16]) -> TensorData {
    TensorData::from_bytes(Bytes::from_elems(bits.to_vec()), [bits.len()], DType::BF16)
}

fn bits(data: &TensorData) -> Vec<u16> {
    let pairs = data.as_bytes().as_chunks().0.iter();
    pairs.map(|&pair| u16::from_ne_bytes(pair)).collect()
}
