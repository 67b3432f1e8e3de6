//! Line charts and scatter charts as SVG.

mod axis;
mod curve;
mod draw;
mod labels;
mod scatter;

use std::fmt;

pub use scatter::{Point, ScatterChart};

/// A chart of curves over a common x axis, such as losses over steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LineChart {
    /// Stands above the chart.
    pub title: String,
    /// The meaning of x, with its unit.
    pub x_label: String,
    /// The meaning of y, with its unit.
    pub y_label: String,
    /// Logarithmic y axis; values that are not positive are then gaps.
    pub log_y: bool,
    /// The y axis begins at zero, as lengths that are compared should.
    pub from_zero: bool,
    /// The curves.
    pub series: Vec<Series>,
    /// Horizontal lines to compare with.
    pub references: Vec<ReferenceLine>,
    /// Weight of the past in an exponential moving average, 0 (none) to below 1. The values
    /// themselves stay visible behind it. Curves of few points are left as they are.
    pub smoothing: f64,
}

/// A curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Shown in the legend.
    pub name: String,
    /// `(x, y)` with rising x. Values that are not finite are gaps.
    pub points: Vec<(f64, f64)>,
    /// Solid or dashed.
    pub style: LineStyle,
    /// The number of the chart's colour; by its place among the series if not given. Curves that
    /// belong together, such as training and validation, share a colour and differ in style.
    pub color: Option<usize>,
}

/// The style of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineStyle {
    /// Without gaps.
    #[default]
    Solid,
    /// With gaps.
    Dashed,
}

/// A labelled horizontal line, such as the error of predicting the mean.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceLine {
    /// Stands at the line.
    pub label: String,
    /// Its y.
    pub value: f64,
}

/// A finished chart: an `<svg>` element that stands alone or goes into a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Svg(String);

impl LineChart {
    /// An empty chart.
    #[must_use]
    pub fn new(
        title: impl Into<String>,
        x_label: impl Into<String>,
        y_label: impl Into<String>,
    ) -> Self {
        Self {
            title: title.into(),
            x_label: x_label.into(),
            y_label: y_label.into(),
            ..Self::default()
        }
    }

    /// Adds a curve.
    pub fn push(&mut self, series: Series) -> &mut Self {
        self.series.push(series);
        self
    }

    /// Adds a horizontal line to compare with.
    pub fn reference(&mut self, label: impl Into<String>, value: f64) -> &mut Self {
        self.references.push(ReferenceLine { label: label.into(), value });
        self
    }

    /// Draws the chart.
    #[must_use]
    pub fn svg(&self) -> Svg {
        Svg(draw::draw(self).into_string())
    }
}

impl Series {
    /// A solid curve.
    #[must_use]
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, style: LineStyle::Solid, color: None }
    }

    /// The same curve, dashed.
    #[must_use]
    pub fn dashed(mut self) -> Self {
        self.style = LineStyle::Dashed;
        self
    }

    /// The same curve in the chart's n-th colour.
    #[must_use]
    pub fn color(mut self, n: usize) -> Self {
        self.color = Some(n);
        self
    }
}

impl Svg {
    /// The element.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Svg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        let mut chart = LineChart::new("a <b> & c", "step", "loss");
        chart.push(Series::new("train", points));
        chart
    }

    fn svg(points: Vec<(f64, f64)>) -> String {
        chart(points).svg().to_string()
    }

    #[test]
    fn odd_series_are_drawn() {
        assert!(LineChart::default().svg().as_str().contains("no data"));
        assert!(svg(vec![]).contains("no data"));
        assert!(svg(vec![(0.0, f64::NAN), (f64::INFINITY, 1.0)]).contains("no data"));
        for points in [
            vec![(3.0, 0.5)],
            vec![(0.0, 0.0), (1.0, 0.0)],
            vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, f64::INFINITY), (3.0, 2.0)],
            vec![(0.0, -1e300), (1.0, 1e300), (2.0, 1.0)],
            vec![(0.0, 1e15), (1.0, 1e15 + 1.0)],
            vec![(0.0, 0.0), (1.0, 1e-320)],
            vec![(0.0, -1e99), (1.0, 1e99)],
        ] {
            for log_y in [false, true] {
                let mut chart = chart(points.clone());
                chart.log_y = log_y;
                chart.smoothing = 0.9;
                let svg = chart.svg().to_string();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
        assert!(svg(vec![(3.0, 0.5)]).contains("<circle"));
    }

    #[test]
    fn gaps_split_the_curve() {
        let whole = svg((0..40).map(|i| (f64::from(i), 1.0)).collect());
        let gap = |i| if i == 20 { f64::NAN } else { 1.0 };
        let split = svg((0..40).map(|i| (f64::from(i), gap(i))).collect());
        assert_eq!(whole.matches("<polyline").count() + 1, split.matches("<polyline").count());
    }

    #[test]
    fn text_is_escaped() {
        let svg = svg(vec![(0.0, 1.0)]);
        assert!(svg.contains("a &lt;b&gt; &amp; c") && !svg.contains("<b>"));
    }

    #[test]
    fn legends_name_the_series_and_references_are_labelled() {
        let mut chart = chart(vec![(0.0, 1.0), (1.0, 2.0)]);
        chart.push(Series::new("validation", vec![(0.0, 2.0)]).dashed().color(0));
        chart.reference("predicting the mean", 3.0);
        let svg = chart.svg().to_string();
        for text in ["train", "validation", "predicting the mean", "stroke-dasharray"] {
            assert!(svg.contains(text), "{text}");
        }
    }
}
