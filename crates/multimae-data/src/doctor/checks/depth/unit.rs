//! The unit of stored depth, judged by the values.
//!
//! A unit gets a score: how well the median and the 1 % and 99 % quantiles fit a room (or a street,
//! for the units of driving data), how common it is, and whether the stored values bear its marks:
//! common divisors, a value that stands for unknown depth, or the end of the range. Scores are
//! logarithms of odds; their differences say how sure a proposal is.

use std::fmt;

/// A unit in use.
pub(super) struct Unit {
    pub(super) per_metre: f64,
    name: &'static str,
    /// The logarithm of its odds before any value is seen.
    prior: f64,
    /// Whether driving data use it.
    outdoors: bool,
}

const fn unit(per_metre: f64, name: &'static str, prior: f64, outdoors: bool) -> Unit {
    Unit { per_metre, name, prior, outdoors }
}

/// Units in use, and who uses them.
const UNITS: [Unit; 11] = [
    unit(1000.0, "millimetres", 1.5, true),
    unit(8000.0, "millimetres shifted left by three bits, as SUN RGB-D has", -1.0, false),
    unit(6553.6, "1/6553.6 m, as MultiMAE's preparation of NYUv2 writes", 0.0, false),
    unit(5000.0, "1/5000 m, as TUM RGB-D has", 0.0, false),
    unit(4000.0, "1/4000 m, as RealSense L515 has", -0.5, false),
    unit(512.0, "1/512 m, as Taskonomy and Omnidata have", 0.0, false),
    unit(256.0, "1/256 m, as KITTI has", 0.0, true),
    unit(100.0, "centimetres", 0.0, true),
    unit(25.5, "10 m in 8 bits, as DenseDepth's training frames have", 0.0, false),
    unit(10000.0, "1/10000 m", -1.0, false),
    unit(1.0, "metres", 0.0, true),
];

/// Median over the files of their 1 % quantile, median and 99 % quantile in a room: metres, and the
/// deviation of their logarithms between data sets.
const ROOM: [(f64, f64); 3] = [(1.0, 0.7), (2.3, 0.5), (4.5, 0.5)];
/// The same on a street.
const STREET: [(f64, f64); 3] = [(4.0, 0.8), (12.0, 0.6), (75.0, 0.4)];
/// Rooms are likelier than streets.
const NO_STREET: f64 = 2.0;
/// Deviations above which a figure counts no further: noise may be at any distance.
const FAR: f64 = 3.0;
/// The least median depth that a scene may have, and the largest of rooms and outdoors: metres.
const NEAREST: f64 = 0.3;
const ROOM_MEDIAN: f64 = 12.0;
const OUTDOOR_MEDIAN: f64 = 100.0;
/// For values that bear the marks of a unit.
const MARKED: f64 = 8.0;
/// For a value that stands for unknown depth, as the data sets of a unit have it.
const SATURATED: f64 = 3.0;
/// For a range that ends where the unit's does.
const FULL_RANGE: f64 = 1.0;
/// For a unit that is given.
const SAID: f64 = 2.0;
/// Above this difference of the scores, a proposal is sure; a smaller one leaves the choice open.
pub(super) const SURE: f64 = 3.0;
/// Units of about the same size are not told apart.
const ALIKE: f64 = 1.25;

/// The stored values of a folder, in stored units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct StoredDepth {
    /// Medians over the files of the 1 % quantile, the median and the 99 % quantile of their valid
    /// pixels.
    pub(super) typical: [f64; 3],
    /// All values are whole numbers.
    pub(super) whole: bool,
    /// Nearly all values are multiples of 8.
    pub(super) multiples_of_8: bool,
    /// The share of the pixels with the largest value of the type, if that is far above all others
    /// and stands for unknown depth.
    pub(super) saturated: f64,
    /// Valid pixels come close to the largest value of the type.
    pub(super) full_range: bool,
}

/// A unit with its score.
#[derive(Clone, Copy)]
pub(super) struct Proposal {
    pub(super) per_metre: f64,
    name: &'static str,
    pub(super) score: f64,
    median: f64,
    far: f64,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_metre, name, median, far, .. } = self;
        write!(f, "{per_metre} per metre ({name}; median {median:.2} m, 99 % quantile {far:.1} m)")
    }
}

impl StoredDepth {
    /// The units in use in which the depth is plausible, the likeliest first.
    pub(super) fn proposals(&self) -> Vec<Proposal> {
        let proposal = |unit: &Unit| Proposal {
            per_metre: unit.per_metre,
            name: unit.name,
            score: self.score(unit.per_metre, false),
            median: self.typical[1] / unit.per_metre,
            far: self.typical[2] / unit.per_metre,
        };
        let plausible = UNITS.iter().filter(|unit| self.is_plausible(unit.per_metre));
        let mut proposals: Vec<Proposal> = plausible.map(proposal).collect();
        proposals.sort_by(|a, b| b.score.total_cmp(&a.score));
        proposals
    }

    /// Whether a room, or outdoors if the unit is used there, may have such a median.
    pub(super) fn is_plausible(&self, per_metre: f64) -> bool {
        is_plausible(self.typical[1] / per_metre, is_outdoors(per_metre))
    }

    /// The score of any unit, said or assumed.
    pub(super) fn score(&self, per_metre: f64, said: bool) -> f64 {
        let prior = known(per_metre).map_or(-1.0, |unit| unit.prior);
        let said = if said { SAID } else { 0.0 };
        let (room, street) = self.fit(per_metre);
        room.max(street) + prior + self.marks(per_metre) + said
    }

    /// The units of another size that fit nearly as well as this one, or better; the likeliest
    /// first.
    pub(super) fn rivals(&self, per_metre: f64, said: bool) -> Vec<Proposal> {
        let own = self.score(per_metre, said);
        let rival =
            |other: &Proposal| other.score > own - SURE && !close(other.per_metre, per_metre);
        self.proposals().into_iter().filter(rival).collect()
    }

    /// The scores of a room and of a street; higher is better.
    fn fit(&self, per_metre: f64) -> (f64, f64) {
        let of = |scene: &[(f64, f64); 3]| -> f64 {
            let term = |(stored, (centre, deviation)): (&f64, &(f64, f64))| {
                let depth = (stored / per_metre).max(f64::MIN_POSITIVE);
                let distance = ((depth / centre).ln().abs() / deviation).min(FAR);
                -0.5 * distance * distance
            };
            self.typical.iter().zip(scene).map(term).sum()
        };
        let street = if is_outdoors(per_metre) { of(&STREET) - NO_STREET } else { f64::MIN };
        (of(&ROOM), street)
    }

    /// The marks of a unit in the stored values.
    fn marks(&self, per_metre: f64) -> f64 {
        let is = |unit: f64| alike(unit, per_metre);
        let mut marks = 0.0;
        if is(8000.0) {
            // Other whole numbers are hardly multiples of 8, and shifted ones always are.
            marks += if self.multiples_of_8 { MARKED } else { -MARKED };
        }
        if self.has_unknown_of(per_metre) {
            marks += SATURATED;
        }
        if is(1.0) {
            marks += if self.whole { -SATURATED } else { SATURATED };
        }
        if (is(6553.6) || is(25.5)) && self.full_range {
            marks += FULL_RANGE;
        }
        marks
    }

    /// Whether a value stands for unknown depth as data sets of this unit have it: Omnidata's, and
    /// streets, whose sky has no depth.
    fn has_unknown_of(&self, per_metre: f64) -> bool {
        let is = |unit: f64| alike(unit, per_metre);
        let (room, street) = self.fit(per_metre);
        self.saturated > 0.0 && (is(512.0) || (is(256.0) || is(100.0)) && street > room)
    }

    /// The observations that speak for a unit, in words.
    pub(super) fn marks_in_words(&self, per_metre: f64) -> Option<&'static str> {
        let is = |unit: f64| alike(unit, per_metre);
        if is(8000.0) && self.multiples_of_8 {
            Some("all values are multiples of 8")
        } else if self.has_unknown_of(per_metre) {
            Some("the largest value of the type stands for unknown depth")
        } else if is(1.0) && !self.whole {
            Some("the values are no whole numbers")
        } else if (is(6553.6) || is(25.5)) && self.full_range {
            Some("the values reach the end of their range")
        } else {
            None
        }
    }
}

/// The unit in use that this is.
fn known(per_metre: f64) -> Option<&'static Unit> {
    UNITS.iter().find(|unit| alike(unit.per_metre, per_metre))
}

/// Whether a unit is used outdoors. Units without a known use may be.
fn is_outdoors(per_metre: f64) -> bool {
    known(per_metre).is_none_or(|unit| unit.outdoors)
}

/// Whether a room, or a scene outdoors, may have this median depth in metres.
fn is_plausible(median: f64, outdoors: bool) -> bool {
    (NEAREST..=if outdoors { OUTDOOR_MEDIAN } else { ROOM_MEDIAN }).contains(&median)
}

/// Whether a file of a set whose median is `typical` may have this one, in metres.
pub(super) fn is_plausible_beside(median: f64, typical: f64) -> bool {
    is_plausible(median, typical > ROOM_MEDIAN)
}

/// Whether two units are the same, up to the ways of writing them (6553.6 and 6553.5).
pub(super) fn alike(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 1e-3
}

/// Whether depth would look about the same in both units.
pub(super) fn close(a: f64, b: f64) -> bool {
    (ALIKE.recip()..=ALIKE).contains(&(a / b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(metres: [f64; 3], per_metre: f64) -> StoredDepth {
        StoredDepth {
            typical: metres.map(|metres| metres * per_metre),
            whole: true,
            multiples_of_8: false,
            saturated: 0.0,
            full_range: false,
        }
    }

    /// The scenes of a living room and of a desk.
    const ROOMS: [[f64; 3]; 2] = [[0.9, 2.4, 5.0], [0.6, 1.2, 2.2]];

    #[test]
    fn units_with_marks_are_recognised() {
        let best = |stored: StoredDepth| {
            let proposals = stored.proposals();
            let next = proposals.get(1).map_or(f64::NEG_INFINITY, |next| next.score);
            (proposals[0].per_metre, proposals[0].score - next)
        };
        for room in ROOMS {
            let shifted = StoredDepth { multiples_of_8: true, ..stored(room, 8000.0) };
            assert_eq!(best(shifted).0, 8000.0);
            let float = StoredDepth { whole: false, ..stored(room, 1.0) };
            assert!(best(float).0 == 1.0 && best(float).1 > SURE, "{:?}", best(float));
            let omnidata = StoredDepth { saturated: 0.05, ..stored(room, 512.0) };
            assert_eq!(best(omnidata).0, 512.0);
        }
        assert!(best(stored(ROOMS[0], 1000.0)).1 > SURE);
        assert_eq!(best(stored(ROOMS[0], 1000.0)).0, 1000.0);
        assert_eq!(best(stored([3.0, 13.0, 78.0], 256.0)).0, 256.0);
        let full = StoredDepth { full_range: true, ..stored([0.9, 2.7, 7.0], 6553.6) };
        assert_eq!(best(full).0, 6553.6);
        let full = StoredDepth { full_range: true, ..stored([0.9, 2.7, 7.0], 25.5) };
        assert_eq!(best(full).0, 25.5);
        assert_eq!(best(stored(ROOMS[0], 100.0)).0, 100.0);
    }

    #[test]
    fn one_figure_far_off_decides_nothing() {
        for typical in [[20.0, 2400.0, 5000.0], [1.0, 2400.0, 5000.0], [900.0, 2400.0, 65534.0]] {
            let noisy = StoredDepth { typical, ..stored(ROOMS[0], 1000.0) };
            assert_eq!(noisy.proposals()[0].per_metre, 1000.0, "{typical:?}");
            let behind = noisy.proposals()[0].score - noisy.score(1000.0, false);
            assert!(behind < SURE && noisy.score(1000.0, false).is_finite());
        }
        let none = StoredDepth { typical: [-1.0, 0.0, 0.0], ..stored(ROOMS[0], 1.0) };
        assert!(none.proposals().is_empty() && none.score(1.0, false).is_finite());
    }

    #[test]
    fn streets_fit_the_units_in_which_they_are_stored() {
        let street = [4.0, 14.0, 78.0];
        for unit in UNITS.iter().filter(|unit| unit.outdoors) {
            let whole = unit.per_metre != 1.0;
            let plain = StoredDepth { whole, ..stored(street, unit.per_metre) };
            let best = plain.proposals()[0].score;
            assert!(plain.is_plausible(unit.per_metre));
            assert!(best - plain.score(unit.per_metre, false) < SURE, "{}", unit.per_metre);
            // The sky of 256 and 100 per metre is 65535.
            let sky = StoredDepth { saturated: 0.2, ..plain };
            if [256.0, 100.0].contains(&unit.per_metre) {
                assert_eq!(sky.proposals()[0].per_metre, unit.per_metre);
            }
        }
    }

    #[test]
    fn no_unit_off_by_8_or_a_half_goes_unnoticed() {
        let hall = [1.2, 3.5, 7.5];
        for unit in &UNITS {
            for room in ROOMS.into_iter().chain([hall]) {
                let mut stored = stored(room, unit.per_metre);
                stored.whole = unit.per_metre != 1.0;
                stored.multiples_of_8 = unit.per_metre == 8000.0;
                // Depth that looks 8 times, or half, as far as it is.
                for factor in [0.125, 2.0] {
                    let said = unit.per_metre * factor;
                    let doubted = !stored.rivals(said, true).is_empty();
                    assert!(doubted, "{} read as {said}", unit.per_metre);
                }
            }
        }
    }
}
