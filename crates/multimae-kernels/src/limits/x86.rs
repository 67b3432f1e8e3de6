//! Loops of the vector instructions of x86.

use std::arch::x86_64::{
    __m512bh, __m512i, _mm256_add_epi32, _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_storeu_ps, _mm256_storeu_si256, _mm512_add_epi32, _mm512_add_ps,
    _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_reduce_add_epi32,
    _mm512_reduce_add_ps, _mm512_set1_epi32, _mm512_set1_ps,
};
use std::hint::black_box;

use super::Loop;
use crate::cpu::bf16;
use crate::precision::Precision;

/// Independent sums: more than two units with a latency of four or five can begin meanwhile, and as
/// many as there are registers for.
const OF_512: usize = 24;
const OF_256: usize = 12;

/// The loop of the widest vectors, if the processor multiplies so in this precision.
pub(super) fn busy_loop(precision: Precision) -> Option<Loop> {
    match precision {
        Precision::Bf16 => {
            let run = |turns| {
                assert!(bf16::supported(), "a processor without products in bfloat16");
                // SAFETY: the processor has the instructions.
                #[allow(unsafe_code)]
                unsafe {
                    dots_of_512(turns)
                }
            };
            bf16::supported().then_some(Loop { run, operations: OF_512 * 2 * 32 })
        }
        Precision::Int8 if has_vnni() => {
            let run = |turns| {
                assert!(has_vnni(), "a processor without products of 8 bits");
                // SAFETY: the processor has the instructions.
                #[allow(unsafe_code)]
                unsafe {
                    dots_of_8_bits(turns)
                }
            };
            Some(Loop { run, operations: OF_512 * 2 * 64 })
        }
        Precision::Int8 => {
            let run = |turns| {
                assert!(is_x86_feature_detected!("avx2"), "a processor without AVX2");
                // SAFETY: the processor has the instructions.
                #[allow(unsafe_code)]
                unsafe {
                    dots_of_16_bits(turns)
                }
            };
            let is_supported = is_x86_feature_detected!("avx2");
            is_supported.then_some(Loop { run, operations: OF_256 * 2 * 16 })
        }
        Precision::Fp32 if is_x86_feature_detected!("avx512f") => {
            let run = |turns| {
                assert!(is_x86_feature_detected!("avx512f"), "a processor without AVX-512");
                // SAFETY: the processor has the instructions.
                #[allow(unsafe_code)]
                unsafe {
                    multiply_adds_of_512(turns)
                }
            };
            Some(Loop { run, operations: OF_512 * 2 * 16 })
        }
        Precision::Fp32 => {
            let supported = || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let run = |turns| {
                assert!(
                    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
                    "a processor without AVX2"
                );
                // SAFETY: the processor has the instructions.
                #[allow(unsafe_code)]
                unsafe {
                    multiply_adds_of_256(turns)
                }
            };
            supported().then_some(Loop { run, operations: OF_256 * 2 * 8 })
        }
    }
}

#[target_feature(enable = "avx512f")]
fn multiply_adds_of_512(turns: usize) -> f32 {
    let [factor, summand] = black_box([0.999, 1e-3]).map(|value| _mm512_set1_ps(value));
    let mut sums = [_mm512_set1_ps(0.5); OF_512];
    for _ in 0..turns {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, factor, summand);
        }
    }
    let all = sums.into_iter().reduce(|a, b| _mm512_add_ps(a, b));
    all.map_or(0.0, |all| _mm512_reduce_add_ps(all))
}

#[target_feature(enable = "avx2,fma")]
fn multiply_adds_of_256(turns: usize) -> f32 {
    let [factor, summand] = black_box([0.999, 1e-3]).map(|value| _mm256_set1_ps(value));
    let mut sums = [_mm256_set1_ps(0.5); OF_256];
    for _ in 0..turns {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, summand);
        }
    }
    let (mut lanes, mut total) = ([0.0; 8], 0.0);
    for sum in sums {
        // SAFETY: there is room for the eight lanes.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_storeu_ps(lanes.as_mut_ptr(), sum);
        }
        total += lanes.iter().sum::<f32>();
    }
    total
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn dots_of_512(turns: usize) -> f32 {
    // Two values of bfloat16 each: 2^-10, and 1.
    let [a, b] = black_box([0x3a80_3a80, 0x3f80_3f80]).map(|words| _mm512_set1_epi32(words));
    let (a, b) = (halves(a), halves(b));
    let mut sums = [_mm512_set1_ps(0.5); OF_512];
    for _ in 0..turns {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, a, b);
        }
    }
    let all = sums.into_iter().reduce(|a, b| _mm512_add_ps(a, b));
    all.map_or(0.0, |all| _mm512_reduce_add_ps(all))
}

fn has_vnni() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn dots_of_8_bits(turns: usize) -> f32 {
    // Four numbers without sign, and four with.
    let [a, b] = black_box([0x0302_0100, 0x0101_0101]).map(|bytes| _mm512_set1_epi32(bytes));
    let mut sums = [_mm512_set1_epi32(0); OF_512];
    for _ in 0..turns {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, a, b);
        }
    }
    let all = sums.into_iter().reduce(|a, b| _mm512_add_epi32(a, b));
    all.map_or(0, |all| _mm512_reduce_add_epi32(all)) as f32
}

/// Whole numbers of 16 bits, which products of 8 bits are without instructions of their own.
#[target_feature(enable = "avx2")]
fn dots_of_16_bits(turns: usize) -> f32 {
    // Of two neighbours the first, and what is added to it.
    let [first, summand] = black_box([1, 1]).map(|value| _mm256_set1_epi32(value));
    let mut sums = [_mm256_set1_epi32(0); OF_256];
    for _ in 0..turns {
        for sum in &mut sums {
            *sum = _mm256_add_epi32(_mm256_madd_epi16(*sum, first), summand);
        }
    }
    let (mut lanes, mut total) = ([0i32; 8], 0);
    for sum in sums {
        // SAFETY: there is room for the eight lanes.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum);
        }
        total += lanes.iter().sum::<i32>();
    }
    total as f32
}

/// The same bits as 32 values of bfloat16.
#[target_feature(enable = "avx512f")]
fn halves(words: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits, of which every pattern is a value.
    #[allow(unsafe_code)]
    unsafe {
        std::mem::transmute::<__m512i, __m512bh>(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_counted() {
        if let Some(busy) = busy_loop(Precision::Int8).filter(|_| has_vnni()) {
            // Four products each, of which a turn adds 0 + 1 + 2 + 3.
            assert_eq!((busy.run)(10), (busy.operations / 8 * 6 * 10) as f32);
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the instructions.
            #[allow(unsafe_code)]
            let counted = unsafe { dots_of_16_bits(10) };
            assert_eq!(counted, (OF_256 * 8 * 10) as f32);
        }
    }
}
