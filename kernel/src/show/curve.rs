//! Loss over steps as an SVG picture and as a line of characters.

use std::fmt::Write;

use hotplate_client::words;

use super::html::{ACCENT, SECOND};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 24.0;
/// More points than pixels help nobody, and each update carries all of them.
const MAX_POINTS: usize = 320;

/// Losses by step, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Curve {
    train: Vec<(f64, f64)>,
    heldout: Vec<(f64, f64)>,
}

impl Curve {
    pub(super) fn add_train(&mut self, step: usize, loss: f64) {
        push(&mut self.train, step, loss);
    }

    pub(super) fn add_heldout(&mut self, step: usize, loss: f64) {
        push(&mut self.heldout, step, loss);
    }

    pub(super) fn last_train(&self) -> Option<f64> {
        self.train.last().map(|(_, loss)| *loss)
    }

    pub(super) fn first_heldout(&self) -> Option<f64> {
        self.heldout.first().map(|(_, loss)| *loss)
    }

    pub(super) fn best_heldout(&self) -> Option<f64> {
        self.heldout.iter().map(|(_, loss)| *loss).min_by(f64::total_cmp)
    }

    /// Empty before there are two points to join.
    pub(super) fn train_line(&self, width: usize) -> String {
        line(&self.train, width)
    }

    pub(super) fn heldout_line(&self, width: usize) -> String {
        line(&self.heldout, width)
    }

    /// Both curves, with their scales. Empty before there is something to see.
    pub(super) fn svg(&self, steps: usize) -> String {
        let points = || self.train.iter().chain(&self.heldout);
        if self.train.len().max(self.heldout.len()) < 2 {
            return String::new();
        }
        let lowest = points().map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min);
        let highest = points().map(|(_, loss)| *loss).fold(f64::NEG_INFINITY, f64::max);
        let last_step = points().map(|(step, _)| *step).fold(steps as f64, f64::max).max(1.0);
        // A flat curve lies in the middle.
        let (bottom, top) =
            if highest - lowest > 1e-9 { (lowest, highest) } else { (lowest - 0.5, highest + 0.5) };
        let x = |step: f64| LEFT + (WIDTH - LEFT - RIGHT) * step / last_step;
        let y = |loss: f64| TOP + (HEIGHT - TOP - BOTTOM) * (top - loss) / (top - bottom);
        let place = |points: &[(f64, f64)]| {
            let mut text = String::new();
            for (step, loss) in points {
                let _ = write!(text, "{:.1},{:.1} ", x(*step), y(*loss));
            }
            text.trim_end().to_owned()
        };

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"Loss over steps\" style=\"width:100%;max-width:{WIDTH}px;height:auto;color:inherit\" \
             font-size=\"11\" fill=\"none\">"
        );
        for loss in [top, f64::midpoint(top, bottom), bottom] {
            let _ = write!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" opacity=\".15\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"currentColor\" opacity=\".7\">{loss:.2}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y(loss) + 4.0,
                y = y(loss),
            );
        }
        for (step, anchor) in [(0.0, "start"), (last_step, "end")] {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\" fill=\"currentColor\" opacity=\".7\">step {step:.0}</text>",
                x(step),
                HEIGHT - 7.0,
            );
        }
        let _ = write!(
            svg,
            "<polyline points=\"{}\" style=\"stroke:{ACCENT}\" stroke-width=\"1.5\" stroke-linejoin=\"round\" opacity=\".8\"/>",
            place(&thinned(&self.train))
        );
        let heldout = thinned(&self.heldout);
        let _ = write!(
            svg,
            "<polyline points=\"{}\" style=\"stroke:{SECOND}\" stroke-width=\"2\" stroke-dasharray=\"5 3\"/>",
            place(&heldout)
        );
        for (step, loss) in &heldout {
            let _ = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" style=\"fill:{SECOND}\"/>",
                x(*step),
                y(*loss)
            );
        }
        let _ = write!(
            svg,
            "<text x=\"{LEFT}\" y=\"12\" fill=\"currentColor\"><tspan style=\"fill:{ACCENT}\">— </tspan>loss on what it learns</text>\
             <text x=\"{}\" y=\"12\" fill=\"currentColor\"><tspan style=\"fill:{SECOND}\">- - </tspan>loss on texts it has not seen</text></svg>",
            LEFT + 170.0
        );
        svg
    }
}

/// A loss that is no number has no place in a picture; steps only ever grow.
fn push(points: &mut Vec<(f64, f64)>, step: usize, loss: f64) {
    let step = step as f64;
    if loss.is_finite() && points.last().is_none_or(|(last, _)| *last <= step) {
        points.push((step, loss));
    }
}

fn line(points: &[(f64, f64)], width: usize) -> String {
    if points.len() < 2 {
        return String::new();
    }
    let losses: Vec<f64> = points.iter().map(|(_, loss)| *loss).collect();
    words::sparkline(&losses, width)
}

/// Means of neighbours where there are too many points.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let per_point = points.len().div_ceil(MAX_POINTS).max(1);
    points
        .chunks(per_point)
        .map(|chunk| {
            let count = chunk.len() as f64;
            let sum = chunk.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
            (sum.0 / count, sum.1 / count)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_loss() {
        let mut curve = Curve::default();
        assert!(curve.svg(10).is_empty());
        curve.add_heldout(0, 5.0);
        curve.add_train(1, 4.0);
        assert!(curve.svg(10).is_empty());
        curve.add_train(10, 2.0);
        curve.add_heldout(10, 3.0);
        let svg = curve.svg(10);
        // The first held-out loss is the highest point, the last training loss the lowest.
        assert!(svg.contains("<circle cx=\"44.0\" cy=\"22.0\""), "{svg}");
        assert!(svg.contains("628.0,156.0"), "{svg}");
        assert!(svg.contains(">5.00</text>") && svg.contains(">2.00</text>"));
        assert_eq!(curve.best_heldout(), Some(3.0));
        assert_eq!(curve.first_heldout(), Some(5.0));
        assert_eq!(curve.train_line(10), "█▁");
    }

    #[test]
    fn odd_figures_do_not_break_the_picture() {
        let mut curve = Curve::default();
        for step in 0..5000 {
            curve.add_train(step, if step % 3 == 0 { f64::NAN } else { 1.0 });
        }
        curve.add_train(2, 0.0);
        let svg = curve.svg(0);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(svg.len() < 16_000, "{}", svg.len());
        assert!(svg.contains(">1.50</text>"));
    }
}
