//! Work shared among the threads of the current pool.

use std::mem::MaybeUninit;

use rayon::prelude::*;

/// Elements below which a second thread costs more than it saves.
const WORTH_SHARING: usize = 1 << 15;

/// Whether work over this number of elements is shared among threads.
pub(crate) fn worth_sharing(elements: usize) -> bool {
    elements >= WORTH_SHARING && rayon::current_num_threads() > 1
}

/// Rows of a part, such that a part is worth a thread. Depends on the width alone and not on the
/// threads: the order of sums over parts hangs on it.
pub(crate) fn rows_per_part(width: usize) -> usize {
    (WORTH_SHARING / 4 / width.max(1)).max(1)
}

/// `work` of every part, here or among the threads; results in the order of the parts.
pub(crate) fn map<T: Send, R: Send>(
    elements: usize,
    parts: impl Iterator<Item = T>,
    work: impl Fn(T) -> R + Sync + Send,
) -> Vec<R> {
    if worth_sharing(elements) {
        parts.collect::<Vec<T>>().into_par_iter().map(work).collect()
    } else {
        parts.map(work).collect()
    }
}

/// [`map`] over parts of an output that is written in place.
pub(crate) fn for_each<T: Send>(
    elements: usize,
    parts: impl Iterator<Item = T>,
    work: impl Fn(T) + Sync + Send,
) {
    if worth_sharing(elements) {
        parts.collect::<Vec<T>>().into_par_iter().for_each(work);
    } else {
        parts.for_each(work);
    }
}

/// New memory that is written by parts, one behind the other: `work` gets a part's place, which holds
/// zeros, and what belongs to it. Parts are given with their lengths. Memory is cleared by the thread
/// that writes it, part by part, so that it is near the processor then.
pub(crate) fn produce<T: Send, R: Send>(
    elements: usize,
    parts: impl Iterator<Item = (usize, T)>,
    work: impl Fn(T, &mut [f32]) -> R + Sync + Send,
) -> (Vec<f32>, Vec<R>) {
    let parts: Vec<(usize, T)> = parts.collect();
    let len = parts.iter().map(|(len, _)| len).sum();
    let mut produced: Vec<f32> = Vec::with_capacity(len);
    let mut rest = &mut produced.spare_capacity_mut()[..len];
    let mut places = Vec::with_capacity(parts.len());
    for (len, part) in parts {
        let (place, behind) = rest.split_at_mut(len);
        places.push((place, part));
        rest = behind;
    }
    let results = map(elements, places.into_iter(), |(place, part)| work(part, with_zeros(place)));
    // SAFETY: the capacity is at least `len`, and the parts, which make up `len` places, were all
    // filled.
    #[allow(unsafe_code)]
    unsafe {
        produced.set_len(len);
    }
    (produced, results)
}

/// [`produce`] of parts of `part` elements, each with the index of its first.
pub(crate) fn produce_evenly(
    len: usize,
    part: usize,
    work: impl Fn(usize, &mut [f32]) + Sync + Send,
) -> Vec<f32> {
    let part = part.max(1);
    let parts = (0..len).step_by(part).map(|first| (part.min(len - first), first));
    produce(len, parts, work).0
}

/// New memory of `count` runs of `len` elements, each one number.
pub(crate) fn runs(
    count: usize,
    len: usize,
    number: impl Fn(usize) -> f32 + Sync + Send,
) -> Vec<f32> {
    let mut filled: Vec<f32> = Vec::with_capacity(count * len);
    let at_once = rows_per_part(len);
    let places = filled.spare_capacity_mut()[..count * len].chunks_mut(at_once * len.max(1));
    for_each(count * len, places.enumerate(), |(part, places)| {
        for (index, place) in places.chunks_exact_mut(len.max(1)).enumerate() {
            place.fill(MaybeUninit::new(number(part * at_once + index)));
        }
    });
    // SAFETY: the capacity is at least as many, and every run was filled.
    #[allow(unsafe_code)]
    unsafe {
        filled.set_len(count * len);
    }
    filled
}

fn with_zeros(place: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    place.fill(MaybeUninit::new(0.0));
    // SAFETY: every place was just filled, and a filled place is laid out as its value.
    #[allow(unsafe_code)]
    unsafe {
        &mut *(std::ptr::from_mut(place) as *mut [f32])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_one_behind_the_other() {
        for lens in [vec![], vec![0], vec![3, 0, 2], vec![40_000, 1, 7]] {
            let elements = lens.iter().sum();
            let parts = lens.iter().copied().enumerate().map(|(at, len)| (len, at));
            let (values, sums) = produce(elements, parts, |at, place| {
                assert!(place.iter().all(|&value| value == 0.0));
                place.iter_mut().for_each(|value| *value += at as f32);
                place.len()
            });
            let expected: Vec<f32> =
                lens.iter().enumerate().flat_map(|(at, &len)| vec![at as f32; len]).collect();
            assert_eq!(values, expected);
            assert_eq!(sums, lens);
        }
    }

    #[test]
    fn runs_are_of_one_number() {
        for (count, len) in [(0, 3), (3, 0), (3, 2), (5, 20_000)] {
            let values = runs(count, len, |index| index as f32);
            assert_eq!(values.len(), count * len);
            assert!(values.iter().enumerate().all(|(at, &value)| value == (at / len) as f32));
        }
    }

    #[test]
    fn even_parts_know_their_first_element() {
        for (len, part) in [(0, 4), (3, 4), (8, 4), (9, 4), (100_000, 999), (2, 0)] {
            let values = produce_evenly(len, part, |first, place| {
                place.iter_mut().enumerate().for_each(|(at, value)| *value = (first + at) as f32);
            });
            assert!(values.iter().enumerate().all(|(at, &value)| value == at as f32));
            assert_eq!(values.len(), len);
        }
    }
}
