//! Plots with two logarithmic axes, side by side, as SVG.

use std::fmt::Write;

/// Points that are joined by a line.
#[derive(Debug)]
pub struct Series {
    /// What it is, if there are several in a panel.
    pub name: String,
    /// `(x, y)`, both above 0, x rising.
    pub points: Vec<(f64, f64)>,
}

/// One plot.
#[derive(Debug)]
pub struct Panel {
    /// What the y axis is, with its unit.
    pub title: String,
    /// What is in it.
    pub series: Vec<Series>,
}

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 260.0;
/// Room for labels, to the left of the axes, above and below them.
const LEFT: f64 = 52.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 58.0;
const RIGHT: f64 = 16.0;

/// Told apart by lightness, too.
const COLOURS: [&str; 3] = ["#1b5e9c", "#e08214", "#7a7a7a"];

/// Whole powers of ten around some values, as exponents; at least one decade.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn around(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value.log10().floor()), high.max(value.log10().ceil()))
        });
        if low.is_finite() && high.is_finite() {
            Self { low, high: high.max(low + 1.0) }
        } else {
            Self { low: 0.0, high: 1.0 }
        }
    }

    /// Where a value lies, from 0 to 1.
    fn share(&self, value: f64) -> f64 {
        (value.log10() - self.low) / (self.high - self.low)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|exponent| 10f64.powi(exponent))
    }
}

/// The panels in a row, and a line of text below them.
#[must_use]
pub fn draw(panels: &[Panel], note: &str) -> String {
    let (width, height) = (WIDTH * panels.len() as f64, HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"#222\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (number, panel) in panels.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", number as f64 * WIDTH);
        one(&mut svg, panel);
        svg += "</g>\n";
    }
    text(&mut svg, LEFT, HEIGHT - 8.0, "start", &format!("rows of 256 values; {note}"));
    svg += "</svg>\n";
    svg
}

fn one(svg: &mut String, panel: &Panel) {
    let points = || panel.series.iter().flat_map(|series| series.points.iter().copied());
    let (across, up) =
        (Axis::around(points().map(|point| point.0)), Axis::around(points().map(|point| point.1)));
    let x = |value: f64| LEFT + across.share(value) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - up.share(value) * (HEIGHT - TOP - BOTTOM);
    text(svg, LEFT, TOP - 14.0, "start", &panel.title);
    for value in across.decades() {
        rule(svg, (x(value), TOP), (x(value), HEIGHT - BOTTOM));
        text(svg, x(value), HEIGHT - BOTTOM + 15.0, "middle", &short(value));
    }
    for value in up.decades() {
        rule(svg, (LEFT, y(value)), (WIDTH - RIGHT, y(value)));
        text(svg, LEFT - 5.0, y(value) + 4.0, "end", &short(value));
    }
    for ((number, series), colour) in panel.series.iter().enumerate().zip(COLOURS.iter().cycle()) {
        let line: Vec<String> =
            series.points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for point in &series.points {
            let (x, y) = (x(point.0), y(point.1));
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        if !series.name.is_empty() {
            let top = TOP + 14.0 + 15.0 * number as f64;
            let _ = writeln!(
                svg,
                "<rect x=\"{}\" y=\"{}\" width=\"10\" height=\"4\" fill=\"{colour}\"/>",
                LEFT + 8.0,
                top - 6.0
            );
            text(svg, LEFT + 24.0, top, "start", &series.name);
        }
    }
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

/// A power of ten with few digits: 0.01, 100, 10k, 1M, 1G.
fn short(value: f64) -> String {
    for (unit, letter) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= unit {
            return format!("{:.0}{letter}", value / unit);
        }
    }
    let digits = (-value.log10()).ceil().max(0.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short() {
        let labels = [0.001, 0.1, 1.0, 100.0, 1e4, 1e6, 1e10].map(short);
        assert_eq!(labels, ["0.001", "0.1", "1", "100", "10k", "1M", "10G"]);
    }

    #[test]
    fn axes_hold_what_is_in_them() {
        let axis = Axis::around([30.0, 5000.0].into_iter());
        assert_eq!((axis.low, axis.high), (1.0, 4.0));
        assert!((axis.share(1000.0) - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(axis.decades().collect::<Vec<_>>(), [10.0, 100.0, 1000.0, 10_000.0]);
        // One value on a power of ten, and none at all, have a decade too.
        let one = Axis::around([10.0].into_iter());
        assert_eq!((one.low, one.high), (1.0, 2.0));
        assert_eq!(Axis::around([].into_iter()).share(1.0), 0.0);
    }

    #[test]
    fn text_is_escaped() {
        assert!(draw(&[], "a < b & c").contains("a &lt; b &amp; c"));
    }
}
