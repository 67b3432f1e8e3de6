//! The unit of stored depth, judged by the values.
//!
//! A unit gets a score: how well its median, minimum and maximum fit a room (or a street, for the
//! units of driving data), how common it is, and whether the stored values bear its marks: common
//! divisors, a value that stands for unknown depth, or the end of the range. Scores are logarithms
//! of odds; their differences say how sure a proposal is.

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

/// Median over the files of their minimum, median and maximum in a room: metres, and the deviation
/// of their logarithms between data sets.
const ROOM: [(f64, f64); 3] = [(1.0, 0.7), (2.3, 0.5), (4.5, 0.5)];
/// The same on a street.
const STREET: [(f64, f64); 3] = [(4.0, 0.8), (12.0, 0.6), (75.0, 0.4)];
/// Rooms are likelier than streets.
const NO_STREET: f64 = 2.0;
/// For values that bear the marks of a unit.
const MARKED: f64 = 8.0;
/// For a value that stands for unknown depth, as the data sets of a unit have it.
const SATURATED: f64 = 3.0;
/// For a range that ends where the unit's does.
const FULL_RANGE: f64 = 1.0;
/// For a unit that someone said.
const SAID: f64 = 2.0;
/// Above this difference of the scores, a proposal is sure; a smaller one leaves the choice open.
pub(super) const SURE: f64 = 3.0;
/// Units of about the same size are not told apart.
const ALIKE: f64 = 1.25;

/// The stored values of a folder, in stored units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct StoredDepth {
    /// Medians over the files of their least, median and greatest value that is known.
    pub(super) typical: [f64; 3],
    /// All values are whole numbers.
    pub(super) whole: bool,
    /// All values are multiples of 8.
    pub(super) multiples_of_8: bool,
    /// The share of the pixels with the greatest value of the format, if that stands for unknown
    /// depth.
    pub(super) saturated: f64,
    /// Known values reach the end of the format's range.
    pub(super) full_range: bool,
}

/// A unit with its score.
#[derive(Clone, Copy)]
pub(super) struct Proposal {
    pub(super) per_metre: f64,
    name: &'static str,
    pub(super) score: f64,
    median: f64,
    max: f64,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_metre, name, median, max, .. } = self;
        write!(f, "{per_metre} per metre ({name}; median {median:.2} m, maximum {max:.1} m)")
    }
}

impl StoredDepth {
    /// All units in use, the likeliest first.
    pub(super) fn proposals(&self) -> Vec<Proposal> {
        let proposal = |unit: &Unit| Proposal {
            per_metre: unit.per_metre,
            name: unit.name,
            score: self.fit(unit.per_metre, unit.outdoors)
                + unit.prior
                + self.marks(unit.per_metre),
            median: self.typical[1] / unit.per_metre,
            max: self.typical[2] / unit.per_metre,
        };
        let mut proposals: Vec<Proposal> = UNITS.iter().map(proposal).collect();
        proposals.sort_by(|a, b| b.score.total_cmp(&a.score));
        proposals
    }

    /// The score of any unit, said or assumed.
    pub(super) fn score(&self, per_metre: f64, said: bool) -> f64 {
        let known = UNITS.iter().find(|unit| alike(unit.per_metre, per_metre));
        let (prior, outdoors) = known.map_or((-1.0, true), |unit| (unit.prior, unit.outdoors));
        let said = if said { SAID } else { 0.0 };
        self.fit(per_metre, outdoors) + prior + self.marks(per_metre) + said
    }

    /// The units of another size that fit nearly as well as this one, or better; the likeliest
    /// first.
    pub(super) fn rivals(&self, per_metre: f64, said: bool) -> Vec<Proposal> {
        let own = self.score(per_metre, said);
        let rival =
            |other: &Proposal| other.score > own - SURE && !close(other.per_metre, per_metre);
        self.proposals().into_iter().filter(rival).collect()
    }

    fn fit(&self, per_metre: f64, outdoors: bool) -> f64 {
        let of = |scene: &[(f64, f64); 3]| -> f64 {
            let term = |(stored, (centre, deviation)): (&f64, &(f64, f64))| {
                let distance = (stored / per_metre / centre).ln() / deviation;
                -0.5 * distance * distance
            };
            self.typical.iter().zip(scene).map(term).sum()
        };
        let room = of(&ROOM);
        if outdoors { room.max(of(&STREET) - NO_STREET) } else { room }
    }

    /// The marks of a unit in the stored values.
    fn marks(&self, per_metre: f64) -> f64 {
        let is = |unit: f64| alike(unit, per_metre);
        let mut marks = 0.0;
        if is(8000.0) {
            // Other whole numbers are hardly multiples of 8, and shifted ones always are.
            marks += if self.multiples_of_8 { MARKED } else { -MARKED };
        }
        if is(512.0) && self.saturated > 0.0 {
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

    /// The observations that speak for a unit, in words.
    pub(super) fn marks_in_words(&self, per_metre: f64) -> Option<&'static str> {
        let is = |unit: f64| alike(unit, per_metre);
        if is(8000.0) && self.multiples_of_8 {
            Some("all values are multiples of 8")
        } else if is(512.0) && self.saturated > 0.0 {
            Some("65535 stands for unknown depth")
        } else if is(1.0) && !self.whole {
            Some("the values are no whole numbers")
        } else if (is(6553.6) || is(25.5)) && self.full_range {
            Some("the values reach the end of their range")
        } else {
            None
        }
    }
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
            let gap = proposals[0].score - proposals[1].score;
            (proposals[0].per_metre, gap)
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
