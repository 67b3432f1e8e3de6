//! Dynamic quantisation of numbers in 8 bits (Dettmers, 2016; Dettmers et al., 2022).
//!
//! The leading zeros of a code are the negative power of ten of its number, the first 1 ends them, and
//! the bits behind it are a fraction of equal steps between 0.1 and 1. A signed code begins with the
//! sign, so that it covers 1e-6 to 1; an unsigned one has another bit for the fraction and covers 1e-7
//! to 1. The code 0 is the number 0, and the largest one is 1.
//!
//! Between neighbours the place of a number among the codes is linear, and its slope falls from decade
//! to decade: the place is the least of one line per decade, without a search.

/// The sign of a signed code.
const SIGN: u8 = 0x80;
/// The most decades of a code.
const DECADES: usize = 8;

/// The numbers of signed codes.
pub(super) static SIGNED: [f32; 256] = signed_numbers();
/// The numbers of unsigned codes.
pub(super) static UNSIGNED: [f32; 256] = unsigned_numbers();

/// The line of every decade of the magnitudes of signed codes.
const SIGNED_LINES: [Line; DECADES] = lines(7);
/// The line of every decade of unsigned codes.
const UNSIGNED_LINES: [Line; DECADES] = lines(8);

/// A place among the codes as a function of the number.
#[derive(Clone, Copy)]
struct Line {
    offset: f32,
    slope: f32,
}

/// The code of a number from -1 to 1: of the neighbours of the number the upper one in magnitude with
/// the probability that makes the mean the number itself, for `fraction` uniform between 0 and 1.
#[inline(always)]
pub(super) fn signed(number: f32, fraction: f32) -> u8 {
    let code = floor(place(&SIGNED_LINES, number.abs()) + fraction, 0.0, 127.0);
    let sign = if number < 0.0 { SIGN } else { 0 };
    if code > 0 { code | sign } else { 0 }
}

/// The code of a number from 0 to 1, as [`signed`], but that no number above 0 becomes 0: a mean
/// square of 0 beside a mean of the gradient that is not would make a step of the mean over `eps`.
#[inline(always)]
pub(super) fn unsigned(number: f32, fraction: f32) -> u8 {
    let least = if number > 0.0 { 1.0 } else { 0.0 };
    floor(place(&UNSIGNED_LINES, number) + fraction, least, 255.0)
}

/// The whole part of a place between two bounds. A cast would do, but is none of vectors: it must be
/// defined for NaN and for numbers that are too large.
#[inline(always)]
fn floor(place: f32, least: f32, most: f32) -> u8 {
    // Numbers of this size are whole, and their last bits count them.
    const WHOLE: f32 = 12_582_912.0;
    let place = place - 0.5;
    let place = if place < least { least } else { place };
    let place = if place > most { most } else { place };
    (place + WHOLE).to_bits() as u8
}

/// The place of a number among the codes, 0 or more.
#[inline(always)]
fn place(lines: &[Line; DECADES], number: f32) -> f32 {
    let mut least = f32::INFINITY;
    for line in lines {
        let place = line.offset + line.slope * number;
        least = if place < least { place } else { least };
    }
    least
}

/// The number of a code without sign of `bits` bits.
const fn number(code: u32, bits: u32) -> f64 {
    if code == 0 {
        return 0.0;
    }
    let places = 31 - code.leading_zeros();
    let steps = 1 << places;
    let fraction = (code - steps + 1) as f64 / steps as f64;
    (0.1 + 0.9 * fraction) / power_of_ten(bits - 1 - places)
}

const fn power_of_ten(exponent: u32) -> f64 {
    let (mut power, mut count) = (1.0, 0);
    while count < exponent {
        power *= 10.0;
        count += 1;
    }
    power
}

const fn signed_numbers() -> [f32; 256] {
    let (mut numbers, mut code) = ([0.0; 256], 1);
    while code < 128 {
        numbers[code] = number(code as u32, 7) as f32;
        numbers[code + 128] = -numbers[code];
        code += 1;
    }
    numbers
}

const fn unsigned_numbers() -> [f32; 256] {
    let (mut numbers, mut code) = ([0.0; 256], 0);
    while code < 256 {
        numbers[code] = number(code as u32, 8) as f32;
        code += 1;
    }
    numbers
}

/// The lines of codes without sign of `bits` bits; what is left of the decades has the first line, too.
const fn lines(bits: u32) -> [Line; DECADES] {
    // From 0 to the code 1, which is a decade of its own.
    let first = Line { offset: 0.0, slope: power_of_ten(bits - 1) as f32 };
    let (mut lines, mut places) = ([first; DECADES], 1);
    while places < bits {
        let steps = (1 << places) as f64;
        // The decade begins at the code `steps - 1`, which is a tenth of its end.
        let slope = power_of_ten(bits - 1 - places) * steps / 0.9;
        let offset = steps - 1.0 - steps / 9.0;
        lines[places as usize] = Line { offset: offset as f32, slope: slope as f32 };
        places += 1;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::testing::values;

    #[test]
    fn codes_are_those_of_the_paper() {
        // Sign, leading zeros, indicator, fraction.
        for (code, expected) in [
            (0b0_0000000u8, 0.0),
            (0b0_1111111, 1.0),
            (0b1_1111111, -1.0),
            (0b0_1000000, 0.1 + 0.9 / 64.0),
            (0b0_0111111, 0.1),
            (0b0_0010111, 0.01 * (0.1 + 0.9 * 8.0 / 16.0)),
            (0b1_0000001, -1e-6),
        ] {
            let number = f64::from(SIGNED[usize::from(code)]);
            assert!((number - expected).abs() <= 1e-7 * expected.abs(), "{code:#b}: {number}");
        }
        for (code, expected) in
            [(0u8, 0.0), (255, 1.0), (127, 0.1), (128, 0.1 + 0.9 / 128.0), (1, 1e-7), (2, 5.5e-7)]
        {
            let number = f64::from(UNSIGNED[usize::from(code)]);
            assert!((number - expected).abs() <= 1e-7 * expected.abs(), "{code}: {number}");
        }
        assert!(UNSIGNED.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(SIGNED[..128].windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn the_numbers_of_codes_keep_their_codes() {
        for code in 0..=255u8 {
            let (plain, with_sign) = (UNSIGNED[usize::from(code)], SIGNED[usize::from(code)]);
            assert_eq!(unsigned(plain, 0.5), code);
            // There is one 0.
            assert_eq!(signed(with_sign, 0.5), if code == SIGN { 0 } else { code });
        }
    }

    /// The codes on both sides of a number, by search.
    fn neighbours(numbers: &[f32], number: f32) -> (usize, usize) {
        let above = numbers.partition_point(|&known| known < number).min(numbers.len() - 1);
        (above.saturating_sub(1), above)
    }

    /// The mean of all roundings of a number.
    fn mean(code: impl Fn(f32) -> u8, numbers: &[f32]) -> f64 {
        let fractions = (0..4096).map(|part| (part as f32 + 0.5) / 4096.0);
        fractions.map(|fraction| f64::from(numbers[usize::from(code(fraction))])).sum::<f64>()
            / 4096.0
    }

    #[test]
    fn rounding_is_to_a_neighbour_and_right_on_average() {
        for (index, number) in values(5, 400).into_iter().enumerate() {
            let number = number * 10f32.powi(-(index as i32 % 7));
            let (below, above) = neighbours(&SIGNED[..128], number.abs());
            let gap = f64::from(SIGNED[above] - SIGNED[below]);
            for fraction in [1e-6, 0.3, 0.7, 0.999_99] {
                let code = usize::from(signed(number, fraction) & !SIGN);
                // Next to a code, 16 bits may choose the one behind it.
                assert!((below.saturating_sub(1)..=above + 1).contains(&code), "{number}: {code}");
            }
            let off =
                (mean(|fraction| signed(number, fraction), &SIGNED) - f64::from(number)).abs();
            assert!(off < 1e-3 * gap, "{number}: {off} of {gap}");

            let number = number.abs().max(2e-7);
            let (below, above) = neighbours(&UNSIGNED, number);
            let gap = f64::from(UNSIGNED[above] - UNSIGNED[below]);
            let off = mean(|fraction| unsigned(number, fraction), &UNSIGNED) - f64::from(number);
            assert!(off.abs() < 1e-3 * gap, "{number}: {off} of {gap}");
        }
    }

    #[test]
    fn only_zero_is_zero_without_sign() {
        for number in [f32::MIN_POSITIVE, 1e-20, 1e-9] {
            assert_eq!(unsigned(number, 1e-6), 1);
            assert_eq!(signed(number, 1e-6), 0);
        }
        assert_eq!(unsigned(0.0, 0.999_99), 0);
        assert_eq!(signed(-0.0, 0.999_99), 0);
    }
}
