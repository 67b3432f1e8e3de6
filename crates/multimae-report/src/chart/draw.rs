//! The SVG of charts: what they share, and the curves of line charts.
//!
//! Text and grid take the colour of the text around them, so that charts suit light and dark pages.

use std::fmt::Write;

use maud::{Markup, html};

use super::axis::{Axis, Tick};
use super::curve::{Point, smooth, stretches, thin_out};
use super::{LineChart, LineStyle, Series};

pub(super) const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const FONT: &str = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif";
pub(super) const FONT_SIZE: f64 = 12.0;

/// Width of an average character. The reader's font is not known here.
const CHARACTER: f64 = 6.6;

/// Okabe and Ito's colours for all kinds of colour vision, without the yellow, which is too pale
/// for lines on white.
const COLORS: [&str; 7] =
    ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C"];

/// Curves with fewer points show them, and are never smoothed.
const FEW_POINTS: usize = 25;

/// Longer curves are thinned out to four points for each run of this length.
const RUNS: usize = 400;

/// The rectangle that curves are drawn in.
pub(super) struct Plot {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    /// The x axis begins so far from the left.
    pub(super) inset: f64,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

/// A line of the legend: where it stands, what it says, how the curve looks.
struct LegendEntry<'a> {
    x: f64,
    y: f64,
    name: &'a str,
    color: &'static str,
    style: LineStyle,
}

pub(super) fn draw(chart: &LineChart) -> Markup {
    let legend = legend(chart);
    let top = legend.last().map_or(34.0, |entry| entry.y + 14.0);
    let plot = line_plot(chart, top);
    let content = html! {
        @for entry in &legend { (draw_legend_entry(entry)) }
        @match plot {
            Some(plot) => (draw_plot(chart, &plot)),
            None => (no_data()),
        }
    };
    figure(&chart.title, HEIGHT, &content)
}

/// The element of a chart under its title.
pub(super) fn figure(title: &str, height: f64, content: &Markup) -> Markup {
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (height) }
            role="img" aria-label=(title) font-family=(FONT) font-size=(FONT_SIZE)
            fill="currentColor" {
            text x=(WIDTH / 2.0) y="19" text-anchor="middle" font-size="15" font-weight="600" {
                (title)
            }
            (content)
        }
    }
}

pub(super) fn no_data() -> Markup {
    html! {
        text x=(WIDTH / 2.0) y=(HEIGHT / 2.0) text-anchor="middle" opacity="0.6" { "no data" }
    }
}

/// `None` if there is nothing to draw.
fn line_plot(chart: &LineChart, top: f64) -> Option<Plot> {
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let x = Axis::over(points().filter(|p| p.1.is_finite()).map(|p| p.0), false, false)?;
    let values = points().filter(|p| p.0.is_finite()).map(|p| p.1);
    Axis::over(values.clone(), chart.log_y, true)?;
    let references = chart.references.iter().map(|line| line.value);
    let zero = chart.from_zero.then_some(0.0);
    let y = Axis::over(values.chain(references).chain(zero), chart.log_y, true)?;
    Some(Plot::new(x, y, top, HEIGHT))
}

impl Plot {
    /// Below `top` in a chart of this height, with room for the labels.
    pub(super) fn new(x: Axis, y: Axis, top: f64, height: f64) -> Self {
        let widest =
            y.ticks(Self::Y_TICKS).iter().map(|t| text_width(&t.label)).fold(0.0, f64::max);
        let left = 34.0 + widest;
        let (right, bottom) = (18.0, 48.0);
        let (width, height) = (WIDTH - right - left, height - bottom - top);
        Self { left, top, width, height, inset: 0.0, x, y }
    }

    const X_TICKS: usize = 7;
    const Y_TICKS: usize = 6;

    pub(super) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(super) fn bottom(&self) -> f64 {
        self.top + self.height
    }

    pub(super) fn place(&self, (x, y): Point) -> Option<Point> {
        Some((self.along(self.x.position(x)?), self.up(self.y.position(y)?)))
    }

    /// Returns the place of a position on the x axis, from 0 to 1.
    pub(super) fn along(&self, position: f64) -> f64 {
        self.left + self.inset + position * (self.width - self.inset)
    }

    /// Returns the place of a position on the y axis, from 0 to 1.
    pub(super) fn up(&self, position: f64) -> f64 {
        self.bottom() - position * self.height
    }
}

fn draw_plot(chart: &LineChart, plot: &Plot) -> Markup {
    html! {
        (draw_axes(plot, &chart.x_label, &chart.y_label))
        @for (index, series) in chart.series.iter().enumerate() {
            (draw_series(series, color(index, series), chart.smoothing, plot))
        }
        @for line in &chart.references {
            @if let Some(y) = plot.y.position(line.value) {
                (draw_reference(&line.label, plot.up(y), false, plot))
            }
        }
    }
}

/// The axes of a plot with ticks and labels.
pub(super) fn draw_axes(plot: &Plot, x_label: &str, y_label: &str) -> Markup {
    let middle_x = plot.left + plot.width / 2.0;
    let middle_y = plot.top + plot.height / 2.0;
    html! {
        @for tick in plot.y.ticks(Plot::Y_TICKS) { (draw_y_tick(&tick, plot)) }
        @for tick in plot.x.ticks(Plot::X_TICKS) { (draw_x_tick(&tick, plot)) }
        path d=(format!("M{0:.1} {1:.1}V{2:.1}H{3:.1}", plot.left, plot.top, plot.bottom(), plot.right()))
            fill="none" stroke="currentColor" opacity="0.55" {}
        text x=(fixed(middle_x)) y=(fixed(plot.bottom() + 40.0)) text-anchor="middle" { (x_label) }
        text transform=(format!("translate(14 {middle_y:.1}) rotate(-90)")) text-anchor="middle" {
            (y_label)
        }
    }
}

fn draw_y_tick(tick: &Tick, plot: &Plot) -> Markup {
    let y = plot.up(tick.position);
    html! {
        line x1=(fixed(plot.left)) x2=(fixed(plot.right())) y1=(fixed(y)) y2=(fixed(y))
            stroke="currentColor" opacity="0.14" {}
        text x=(fixed(plot.left - 7.0)) y=(fixed(y + 4.0)) text-anchor="end" { (tick.label) }
    }
}

pub(super) fn draw_x_tick(tick: &Tick, plot: &Plot) -> Markup {
    let x = plot.along(tick.position);
    html! {
        line x1=(fixed(x)) x2=(fixed(x)) y1=(fixed(plot.top)) y2=(fixed(plot.bottom()))
            stroke="currentColor" opacity="0.07" {}
        line x1=(fixed(x)) x2=(fixed(x)) y1=(fixed(plot.bottom())) y2=(fixed(plot.bottom() + 4.0))
            stroke="currentColor" opacity="0.55" {}
        text x=(fixed(x)) y=(fixed(plot.bottom() + 17.0)) text-anchor="middle" { (tick.label) }
    }
}

/// A horizontal line to compare with, its label at the right end or at the left one.
pub(super) fn draw_reference(label: &str, y: f64, at_left: bool, plot: &Plot) -> Markup {
    let (x, anchor) =
        if at_left { (plot.left + 6.0, "start") } else { (plot.right() - 4.0, "end") };
    // Above the line, or below it where the title is near. The halo keeps it legible on curves.
    let text_y = if y - plot.top < 16.0 { y + 14.0 } else { y - 5.0 };
    html! {
        line x1=(fixed(plot.left)) x2=(fixed(plot.right())) y1=(fixed(y)) y2=(fixed(y))
            stroke="currentColor" stroke-width="1.2" stroke-dasharray="2 4" opacity="0.8" {}
        text x=(fixed(x)) y=(fixed(text_y)) text-anchor=(anchor) font-style="italic"
            style="paint-order: stroke; stroke: var(--page, #fff); stroke-width: 3px" {
            (label)
        }
    }
}

fn draw_series(series: &Series, color: &str, smoothing: f64, plot: &Plot) -> Markup {
    let few = series.points.len() < FEW_POINTS;
    let smoothed = smoothing > 0.0 && smoothing < 1.0 && !few;
    html! {
        @if smoothed {
            g opacity="0.28" { (draw_curve(&series.points, color, "1", LineStyle::Solid, false, plot)) }
            (draw_curve(&smooth(&series.points, smoothing), color, "2", series.style, false, plot))
        } @else {
            (draw_curve(&series.points, color, "1.8", series.style, few, plot))
        }
    }
}

fn draw_curve(
    points: &[Point],
    color: &str,
    stroke_width: &str,
    style: LineStyle,
    dots: bool,
    plot: &Plot,
) -> Markup {
    let stretches = stretches(points.iter().map(|&point| plot.place(point)));
    html! {
        @for stretch in &stretches {
            @if stretch.len() > 1 {
                polyline points=(coordinates(&thin_out(stretch, RUNS))) fill="none" stroke=(color)
                    stroke-width=(stroke_width) stroke-linejoin="round"
                    stroke-dasharray=[dashes(style)] {}
            }
            @if dots || stretch.len() == 1 {
                @for (x, y) in stretch { circle cx=(fixed(*x)) cy=(fixed(*y)) r="2.6" fill=(color) {} }
            }
        }
    }
}

/// The legend in lines of centred entries.
fn legend(chart: &LineChart) -> Vec<LegendEntry<'_>> {
    let (swatch, gap) = (30.0, 18.0);
    let mut lines: Vec<(f64, Vec<LegendEntry<'_>>)> = Vec::new();
    for (index, series) in chart.series.iter().enumerate() {
        let width = swatch + text_width(&series.name) + gap;
        if lines.last().is_none_or(|(used, _)| used + width > WIDTH - 40.0) {
            lines.push((0.0, Vec::new()));
        }
        let y = 25.0 + 17.0 * lines.len() as f64;
        if let Some((used, entries)) = lines.last_mut() {
            let color = color(index, series);
            entries.push(LegendEntry {
                x: *used,
                y,
                name: &series.name,
                color,
                style: series.style,
            });
            *used += width;
        }
    }
    for (used, entries) in &mut lines {
        entries.iter_mut().for_each(|entry| entry.x += (WIDTH - *used + gap) / 2.0);
    }
    lines.into_iter().flat_map(|(_, entries)| entries).collect()
}

fn draw_legend_entry(entry: &LegendEntry<'_>) -> Markup {
    html! {
        line x1=(fixed(entry.x)) x2=(fixed(entry.x + 24.0)) y1=(fixed(entry.y - 4.0))
            y2=(fixed(entry.y - 4.0)) stroke=(entry.color) stroke-width="2.4"
            stroke-dasharray=[dashes(entry.style)] {}
        text x=(fixed(entry.x + 30.0)) y=(fixed(entry.y)) { (entry.name) }
    }
}

fn color(index: usize, series: &Series) -> &'static str {
    nth_color(series.color.unwrap_or(index))
}

/// The n-th colour; they repeat.
pub(super) fn nth_color(n: usize) -> &'static str {
    COLORS[n % COLORS.len()]
}

fn dashes(style: LineStyle) -> Option<&'static str> {
    match style {
        LineStyle::Solid => None,
        LineStyle::Dashed => Some("6 4"),
    }
}

fn coordinates(points: &[Point]) -> String {
    points.iter().fold(String::new(), |mut text, (x, y)| {
        // Writing to a string does not fail.
        let _ = write!(text, "{x:.1},{y:.1} ");
        text
    })
}

pub(super) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

/// A coordinate with one decimal.
pub(super) fn fixed(value: f64) -> String {
    format!("{value:.1}")
}
