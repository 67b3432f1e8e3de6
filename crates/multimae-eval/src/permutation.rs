//! NumPy's legacy permutation, by which the published evaluation picks its images.

use rand_mt::Mt;

/// `numpy.random.RandomState(seed).permutation(n)`: Fisher-Yates from the end, with draws of a
/// Mersenne Twister that are masked to the next power of two and rejected above the bound.
#[must_use]
pub fn numpy_permutation(seed: u32, n: usize) -> Vec<usize> {
    let mut twister = Mt::new(seed);
    let mut permutation: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        let mask = (last + 1).next_power_of_two() - 1;
        let mut draw = || twister.next_u32() as usize & mask;
        let mut chosen = draw();
        while chosen > last {
            chosen = draw();
        }
        permutation.swap(last, chosen);
    }
    permutation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_numpys() {
        // `numpy.random.RandomState(0).permutation(10)`.
        assert_eq!(numpy_permutation(0, 10), [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]);
        assert_eq!(numpy_permutation(0, 1), [0]);
        assert!(numpy_permutation(0, 0).is_empty());
        let mut sorted = numpy_permutation(0, 654);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..654).collect::<Vec<_>>());
    }
}
