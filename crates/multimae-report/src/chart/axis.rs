//! Axes: ranges, ticks and their labels.

/// Values beyond are not drawn: they would leave nothing else to see.
const MAX_SIZE: f64 = 1e100;

/// Part of the range that is left free at both ends.
const PADDING: f64 = 0.04;

/// A range of values on a scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    /// In scale units: the values, or their decimal logarithms.
    min: f64,
    max: f64,
    log: bool,
}

/// A place on an axis and what stands there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// 0 at the start of the axis, 1 at its end.
    pub(super) position: f64,
    pub(super) label: String,
}

impl Axis {
    /// An axis that holds all values that can be drawn; `None` if there are none.
    pub(super) fn over(values: impl Iterator<Item = f64>, log: bool, padded: bool) -> Option<Self> {
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|&value| drawable(value, log)) {
            let value = if log { value.log10() } else { value };
            (min, max) = (min.min(value), max.max(value));
        }
        if min > max {
            return None;
        }
        let size = min.abs().max(max.abs());
        let padding = if max - min <= (1e-9 * size).max(1.0 / MAX_SIZE) {
            // One value only: show it in the middle.
            if size < 1.0 / MAX_SIZE || log { 1.0 } else { size / 2.0 }
        } else if padded {
            PADDING * (max - min)
        } else {
            0.0
        };
        Some(Self { min: min - padding, max: max + padding, log })
    }

    /// The same axis with so large a part of its range more at both ends.
    pub(super) fn widened(self, part: f64) -> Self {
        let more = part * (self.max - self.min);
        Self { min: self.min - more, max: self.max + more, ..self }
    }

    /// 0 at the start of the axis, 1 at its end; `None` for values that cannot be drawn.
    pub(super) fn position(&self, value: f64) -> Option<f64> {
        let value = match (drawable(value, self.log), self.log) {
            (false, _) => return None,
            (true, true) => value.log10(),
            (true, false) => value,
        };
        Some((value - self.min) / (self.max - self.min))
    }

    /// About `count` ticks at round values.
    pub(super) fn ticks(&self, count: usize) -> Vec<Tick> {
        if self.log { self.log_ticks(count) } else { self.linear_ticks(count) }
    }

    fn linear_ticks(&self, count: usize) -> Vec<Tick> {
        let step = round_step((self.max - self.min) / count.max(1) as f64);
        let size = self.min.abs().max(self.max.abs());
        multiples(self.min, self.max, step)
            .map(|value| self.tick(value, linear_label(value, step, size)))
            .collect()
    }

    /// Powers of ten, with 2 and 5 between them where they would be few.
    fn log_ticks(&self, count: usize) -> Vec<Tick> {
        let decades = self.max - self.min;
        if decades < 0.7 {
            return self.narrow_log_ticks(count);
        }
        let digits: &[f64] = if decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let stride = (decades / count.max(1) as f64).ceil().max(1.0);
        multiples(self.min.floor(), self.max, stride)
            .flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powf(power)))
            .filter(|value| (self.min..=self.max).contains(&value.log10()))
            .map(|value| self.tick(value, log_label(value)))
            .collect()
    }

    /// Within less than a decade the ticks of a linear axis serve better.
    fn narrow_log_ticks(&self, count: usize) -> Vec<Tick> {
        let linear = Self { min: 10_f64.powf(self.min), max: 10_f64.powf(self.max), log: false };
        let step = round_step((linear.max - linear.min) / count.max(1) as f64);
        multiples(linear.min, linear.max, step)
            .filter(|&value| value > 0.0)
            .map(|value| self.tick(value, linear_label(value, step, linear.max)))
            .collect()
    }

    fn tick(&self, value: f64, label: String) -> Tick {
        Tick { position: self.position(value).unwrap_or(0.0), label }
    }
}

/// Whether a value has a place on such an axis.
fn drawable(value: f64, log: bool) -> bool {
    value.is_finite() && value.abs() < MAX_SIZE && (!log || value > 1.0 / MAX_SIZE)
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= step * (1.0 - 1e-9));
    digit.unwrap_or(10.0) * power
}

fn multiples(min: f64, max: f64, step: f64) -> impl Iterator<Item = f64> {
    let slack = 1e-6;
    let first = (min / step - slack).ceil();
    let last = (max / step + slack).floor();
    // Adding 0 turns -0 into 0.
    (0..=(last - first).max(0.0) as usize).map(move |i| (first + i as f64) * step + 0.0)
}

/// With as many decimals as tell the ticks apart; large values in thousands or millions.
fn linear_label(value: f64, step: f64, size: f64) -> String {
    let (unit, suffix) = match size {
        size if !(1e-3..1e9).contains(&size) => return scientific(value),
        size if size >= 1e6 => (1e6, "M"),
        size if size >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    if value.abs() < step * 1e-6 {
        return "0".to_owned();
    }
    let decimals = (-(step / unit * (1.0 + 1e-9)).log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{:.decimals$}{suffix}", value / unit)
}

fn log_label(value: f64) -> String {
    if !(0.99e-3..1.01e4).contains(&value) {
        return scientific(value);
    }
    let decimals = (-(value * (1.0 + 1e-9)).log10().floor()).max(0.0) as usize;
    format!("{value:.decimals$}")
}

/// Such as `2e-5`.
fn scientific(value: f64) -> String {
    let text = format!("{value:.2e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    if power == "0" { digits.to_owned() } else { format!("{digits}e{power}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], log: bool) -> Vec<String> {
        let axis = Axis::over(values.iter().copied(), log, false).unwrap();
        axis.ticks(5).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            labels(&[0.0, 1.0], false),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"].map(zero)
        );
        assert_eq!(labels(&[0.0, 52_000.0], false), ["0", "20k", "40k"]);
        assert_eq!(labels(&[-2.1, 2.0], false), ["-2", "-1", "0", "1", "2"]);
        assert_eq!(labels(&[0.0, 3.0e-5], false), ["0", "1e-5", "2e-5", "3e-5"]);
        assert_eq!(labels(&[0.01, 1.0], true), ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
        assert_eq!(labels(&[1e-6, 1.0], true), ["1e-6", "1e-4", "0.01", "1"]);
        assert_eq!(labels(&[2.0, 3.0], true), ["2.0", "2.2", "2.4", "2.6", "2.8", "3.0"]);
    }

    fn zero(label: &str) -> &str {
        if label == "0.0" { "0" } else { label }
    }

    #[test]
    fn one_value_lies_in_the_middle() {
        for (value, log) in [(0.0, false), (7.0, false), (-3.0, false), (2.0, true)] {
            let axis = Axis::over([value].into_iter(), log, true).unwrap();
            assert!((axis.position(value).unwrap() - 0.5).abs() < 1e-9);
            assert!(!axis.ticks(5).is_empty());
        }
    }

    #[test]
    fn values_without_place() {
        let axis = Axis::over([1.0, 100.0, -1.0, f64::NAN].into_iter(), true, false).unwrap();
        assert_eq!(axis.position(10.0), Some(0.5));
        assert_eq!(axis.position(-1.0), None);
        assert_eq!(axis.position(f64::NAN), None);
        assert_eq!(Axis::over([0.0].into_iter(), true, false), None);
    }
}
