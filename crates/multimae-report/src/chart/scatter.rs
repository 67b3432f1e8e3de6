//! Labelled points over two quantities, such as quality over cost.

use maud::{Markup, html};

use super::axis::{Axis, Tick};
use super::draw::{
    FONT_SIZE, Plot, WIDTH, draw_axes, draw_reference, draw_x_tick, figure, fixed, no_data,
    nth_color, text_width,
};
use super::labels::{Area, place};
use super::{ReferenceLine, Svg};

const HEIGHT: f64 = 400.0;
/// Above the plot, below the title.
const TOP: f64 = 34.0;
const RADIUS: f64 = 4.5;
/// Part of the range that is left free for labels at both ends.
const MARGIN: f64 = 0.1;
/// Room for points at 0 on a logarithmic axis, which has no 0.
const ZERO: f64 = 64.0;
/// Labels further from their point than this get a line to it.
const FAR: f64 = 9.0;
/// Room beside a label: the reader's font may be wider.
const PADDING: f64 = 6.0;

/// A chart of labelled points.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScatterChart {
    /// Stands above the chart.
    pub title: String,
    /// The meaning of x, with its unit.
    pub x_label: String,
    /// The meaning of y, with its unit.
    pub y_label: String,
    /// Logarithmic x axis; points at 0 then stand apart at its left.
    pub log_x: bool,
    /// The points.
    pub points: Vec<Point>,
    /// Horizontal lines to compare with.
    pub references: Vec<ReferenceLine>,
    /// Whether the Pareto front is marked: the points of which none with less x has as much y.
    pub front: bool,
}

/// A labelled point.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Stands beside the point.
    pub label: String,
    /// Points with an x or y that is not finite are left out, and negative x on a logarithmic axis.
    pub x: f64,
    /// As x.
    pub y: f64,
    /// Half the length of the bar through the point, such as a standard deviation of y.
    pub spread: Option<f64>,
    /// The number of the chart's colour; by its place among the points if not given.
    pub color: Option<usize>,
}

impl Point {
    /// A point without a bar.
    #[must_use]
    pub fn new(label: impl Into<String>, x: f64, y: f64) -> Self {
        Self { label: label.into(), x, y, spread: None, color: None }
    }
}

impl ScatterChart {
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

    /// Adds a point.
    pub fn push(&mut self, point: Point) -> &mut Self {
        self.points.push(point);
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
        let content = match Drawing::of(self) {
            Some(drawing) => drawing.draw(self),
            None => no_data(),
        };
        Svg(figure(&self.title, HEIGHT, &content).into_string())
    }
}

/// A point in the coordinates of the chart.
struct Placed<'a> {
    label: &'a str,
    at: (f64, f64),
    /// Top and bottom of the bar.
    bar: Option<(f64, f64)>,
    color: &'static str,
}

/// The places of all elements.
struct Drawing<'a> {
    plot: Plot,
    /// The x of points at 0 left of a logarithmic axis, if there are some.
    zero: Option<f64>,
    points: Vec<Placed<'a>>,
    references: Vec<PlacedReference<'a>>,
    labels: Vec<Area>,
}

/// A horizontal line in the coordinates of the chart.
struct PlacedReference<'a> {
    label: &'a str,
    y: f64,
    /// Whether the label stands at the left end, not the right one.
    at_left: bool,
    /// The area of the label.
    area: Area,
}

impl<'a> Drawing<'a> {
    /// `None` if there is nothing to draw.
    fn of(chart: &'a ScatterChart) -> Option<Self> {
        let shown = |point: &&Point| {
            let has_place = !chart.log_x || point.x >= 0.0;
            point.x.is_finite() && point.y.is_finite() && has_place
        };
        let points: Vec<(usize, &Point)> =
            chart.points.iter().enumerate().filter(|(_, point)| shown(point)).collect();
        let at_zero = chart.log_x && points.iter().any(|(_, point)| point.x == 0.0);
        let bars = points.iter().flat_map(|(_, point)| {
            let spread = point.spread.filter(|spread| spread.is_finite()).unwrap_or(0.0);
            [point.y - spread, point.y + spread]
        });
        let references = chart.references.iter().map(|line| line.value);
        let along = points.iter().map(|(_, point)| point.x);
        // Points at 0 alone need no axis but must have one.
        let x = with_margin(along, chart.log_x)
            .or_else(|| at_zero.then(|| Axis::over([1.0].into_iter(), true, true)).flatten())?;
        let y = with_margin(bars.chain(references), false)?;
        let mut plot = Plot::new(x, y, TOP, HEIGHT);
        let zero = at_zero.then_some(plot.left + ZERO / 2.0);
        plot.inset = if at_zero { ZERO } else { 0.0 };
        let points: Vec<Placed<'a>> = points
            .into_iter()
            .filter_map(|(index, point)| placed(index, point, &plot, zero))
            .collect();
        let frame = Area {
            left: plot.left + 2.0,
            top: plot.top,
            right: WIDTH - 4.0,
            bottom: plot.bottom() - 2.0,
        };
        let references = place_references(&points, &chart.references, &plot);
        let labels = place_labels(&points, &references, &plot, frame);
        Some(Self { plot, zero, points, references, labels })
    }

    fn draw(&self, chart: &ScatterChart) -> Markup {
        html! {
            (draw_axes(&self.plot, &chart.x_label, &chart.y_label))
            @if let Some(x) = self.zero { (self.draw_zero(x)) }
            @for line in &self.references {
                (draw_reference(line.label, line.y, line.at_left, &self.plot))
            }
            @if chart.front { (draw_front(&front(&self.points))) }
            @for (point, label) in self.points.iter().zip(&self.labels) {
                (draw_point(point, label))
            }
        }
    }

    /// The part of the axis for points at 0.
    fn draw_zero(&self, x: f64) -> Markup {
        let plot = &self.plot;
        // In the axis' own coordinates.
        let position = (x - plot.along(0.0)) / (plot.along(1.0) - plot.along(0.0));
        let tick = Tick { position, label: "0".to_owned() };
        let border = plot.along(0.0);
        html! {
            line x1=(fixed(border)) x2=(fixed(border)) y1=(fixed(plot.top))
                y2=(fixed(plot.bottom())) stroke="currentColor" stroke-dasharray="5 5"
                opacity="0.35" {}
            (draw_x_tick(&tick, plot))
        }
    }
}

fn with_margin(values: impl Iterator<Item = f64>, log: bool) -> Option<Axis> {
    Axis::over(values, log, false).map(|axis| axis.widened(MARGIN))
}

fn placed<'a>(
    index: usize,
    point: &'a Point,
    plot: &Plot,
    zero: Option<f64>,
) -> Option<Placed<'a>> {
    let height = |value: f64| Some(plot.up(plot.y.position(value)?));
    let x = match zero {
        Some(zero) if point.x == 0.0 => zero,
        _ => plot.along(plot.x.position(point.x)?),
    };
    let spread = point.spread.filter(|spread| spread.is_finite() && *spread > 0.0);
    let bar = spread.and_then(|s| Some((height(point.y + s)?, height(point.y - s)?)));
    let color = nth_color(point.color.unwrap_or(index));
    Some(Placed { label: &point.label, at: (x, height(point.y)?), bar, color })
}

/// The areas of points and their bars.
fn covered(points: &[Placed<'_>]) -> Vec<Area> {
    let mut areas: Vec<Area> =
        points.iter().map(|point| Area::around(point.at, 2.0 * RADIUS, 2.0 * RADIUS)).collect();
    for (point, (top, bottom)) in points.iter().filter_map(|p| Some((p, p.bar?))) {
        let x = point.at.0;
        areas.push(Area { left: x - 4.0, top, right: x + 4.0, bottom });
    }
    areas
}

/// Lines whose labels stand at the end where they cover less.
fn place_references<'a>(
    points: &[Placed<'_>],
    references: &'a [ReferenceLine],
    plot: &Plot,
) -> Vec<PlacedReference<'a>> {
    let covered = covered(points);
    references
        .iter()
        .filter_map(|line| {
            let y = plot.up(plot.y.position(line.value)?);
            let half = text_width(&line.label) / 2.0;
            let area = |x: f64| Area::around((x, y - 9.0), 2.0 * half, FONT_SIZE);
            let right = area(plot.right() - 4.0 - half);
            let left = area(plot.left + 6.0 + half);
            let cost = |area: &Area| covered.iter().map(|other| area.overlap(other)).sum::<f64>();
            let at_left = cost(&left) < cost(&right);
            let area = if at_left { left } else { right };
            Some(PlacedReference { label: &line.label, y, at_left, area })
        })
        .collect()
}

fn place_labels(
    points: &[Placed<'_>],
    references: &[PlacedReference<'_>],
    plot: &Plot,
    frame: Area,
) -> Vec<Area> {
    let mut taken = covered(points);
    for line in references {
        let y = line.y;
        taken.push(Area { left: plot.left, top: y - 1.0, right: plot.right(), bottom: y + 1.0 });
        taken.push(line.area);
    }
    let at: Vec<(f64, f64)> = points.iter().map(|point| point.at).collect();
    let sizes: Vec<(f64, f64)> =
        points.iter().map(|point| (text_width(point.label) + PADDING, FONT_SIZE + 1.0)).collect();
    place(&at, &sizes, RADIUS, &taken, frame)
}

/// The places of the points that no other is left of and as high as, from left to right.
fn front(points: &[Placed<'_>]) -> Vec<(f64, f64)> {
    let mut places: Vec<(f64, f64)> = points.iter().map(|point| point.at).collect();
    // Higher points have less y in a picture.
    places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut highest = f64::INFINITY;
    places.retain(|&(_, y)| {
        let further = y < highest;
        highest = highest.min(y);
        further
    });
    places
}

/// A ring around each point of a front, and the stairs that join them.
fn draw_front(front: &[(f64, f64)]) -> Markup {
    let mut stairs = String::new();
    for (index, (x, y)) in front.iter().enumerate() {
        let step = if index == 0 { format!("M{x:.1} {y:.1}") } else { format!("H{x:.1}V{y:.1}") };
        stairs.push_str(&step);
    }
    html! {
        path class="front" d=(stairs) fill="none" stroke="currentColor" stroke-dasharray="4 4"
            opacity="0.5" {}
        @for (x, y) in front {
            circle cx=(fixed(*x)) cy=(fixed(*y)) r=(RADIUS + 3.0) fill="none" stroke="currentColor" {}
        }
    }
}

fn draw_point(point: &Placed<'_>, label: &Area) -> Markup {
    let (x, y) = point.at;
    let (label_x, label_y) = label.center();
    let nearest = (x.clamp(label.left, label.right), y.clamp(label.top, label.bottom));
    let far = (nearest.0 - x).hypot(nearest.1 - y) > RADIUS + FAR;
    html! {
        @if far {
            line x1=(fixed(x)) y1=(fixed(y)) x2=(fixed(nearest.0)) y2=(fixed(nearest.1))
                stroke="currentColor" opacity="0.4" {}
        }
        @if let Some((top, bottom)) = point.bar {
            path d=(format!("M{x:.1} {top:.1}V{bottom:.1}M{0:.1} {top:.1}h8M{0:.1} {bottom:.1}h8", x - 4.0))
                fill="none" stroke=(point.color) stroke-width="1.4" {}
        }
        circle cx=(fixed(x)) cy=(fixed(y)) r=(RADIUS) fill=(point.color) {}
        text x=(fixed(label_x)) y=(fixed(label_y + 4.0)) text-anchor="middle"
            style="paint-order: stroke; stroke: var(--page, #fff); stroke-width: 3px" {
            (point.label)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg(points: &[(f64, f64)], log_x: bool) -> String {
        let mut chart = ScatterChart::new("quality <over> cost", "share %", "delta");
        chart.log_x = log_x;
        for &(x, y) in points {
            chart.push(Point { spread: Some(0.5), ..Point::new("a & b", x, y) });
        }
        chart.reference("full", 0.0);
        chart.svg().to_string()
    }

    #[test]
    fn odd_points_are_drawn_or_left_out() {
        for (points, shown, shown_log) in [
            (vec![], 0, 0),
            (vec![(f64::NAN, 1.0), (1.0, f64::INFINITY)], 0, 0),
            (vec![(0.0, 1.0)], 1, 1),
            (vec![(-1.0, 1.0), (2.0, 1.0)], 2, 1),
            (vec![(0.0, -3.0), (0.05, -2.0), (100.0, 0.0)], 3, 3),
        ] {
            for (log, count) in [(false, shown), (true, shown_log)] {
                let svg = svg(&points, log);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                assert_eq!(svg.matches("<circle").count(), count, "{points:?} {log}");
                assert_eq!(svg.contains("no data"), count == 0, "{points:?} {log}");
                assert!(svg.contains("quality &lt;over&gt; cost"));
                assert_eq!(svg.matches("a &amp; b").count(), count);
            }
        }
    }

    #[test]
    fn a_front_is_of_points_that_none_is_cheaper_and_better_than() {
        let mut chart = ScatterChart::new("t", "x", "y");
        for (x, y) in [(3.0, 2.0), (1.0, 0.0), (2.0, 2.0), (2.0, 1.0), (4.0, 1.5), (5.0, 3.0)] {
            chart.push(Point::new("a", x, y));
        }
        assert!(!chart.svg().to_string().contains("class=\"front\""));
        let drawing = Drawing::of(&chart).unwrap();
        let places: Vec<(f64, f64)> = drawing.points.iter().map(|point| point.at).collect();
        assert_eq!(front(&drawing.points), [places[1], places[2], places[5]]);
        chart.front = true;
        let svg = chart.svg().to_string();
        assert_eq!(svg.matches("<circle").count(), 6 + 3, "{svg}");
        assert!(svg.contains("class=\"front\""));
    }

    #[test]
    fn zero_stands_left_of_a_logarithmic_axis() {
        let svg = svg(&[(0.0, -3.0), (0.1, -2.0), (100.0, 0.0)], true);
        assert!(svg.contains(">0</text>") && svg.contains(">10</text>"), "{svg}");
        let x = |n: usize| -> f64 {
            let circle = svg.split("<circle cx=\"").nth(n + 1).unwrap();
            circle.split('"').next().unwrap().parse().unwrap()
        };
        assert!(x(0) + 30.0 < x(1) && x(1) < x(2));
    }

    #[test]
    fn the_label_of_a_line_avoids_points() {
        let anchor = |x: f64| {
            let mut chart = ScatterChart::new("t", "x", "y");
            for (x, y) in [(0.0, 5.0), (100.0, -5.0), (x, 0.0)] {
                chart.push(Point { spread: Some(1.0), ..Point::new("a", x, y) });
            }
            chart.reference("a line with a name", 0.0);
            let svg = chart.svg().to_string();
            let before = svg.split("font-style=\"italic\"").next().unwrap();
            before.rsplit("text-anchor=\"").next().unwrap().split('"').next().unwrap().to_owned()
        };
        assert_eq!((anchor(50.0), anchor(99.0)), ("end".to_owned(), "start".to_owned()));
    }
}
