//! Sockets per state over time: one small drawing for each state, each to its
//! own scale.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::super::Report;
use super::super::format::duration;
use super::calls::state;
use super::draw::{Frame, axis, grid};

const HEIGHT: u32 = 36;

/// The drawings.
pub(super) fn section(report: &Report) -> Markup {
    let drawn = &report.states;
    if drawn.states.is_empty() {
        return html! {};
    }
    let frame = Frame::whole(report);
    html! {
        section {
            h2 { "Sockets per state" }
            p.quiet {
                "Each to its own scale; every " (duration(drawn.step_ns))
                " shows the highest count within it."
            }
            div.card {
                @for (at, each) in drawn.states.iter().enumerate() {
                    @let counts = column(&drawn.samples, at);
                    @let most = counts.iter().copied().max().unwrap_or(0);
                    @let last = counts.last().copied().unwrap_or(0);
                    div.row {
                        p.name { (state(*each)) " " span.quiet { "at most " (most) ", at the end " (last) } }
                        svg width="100%" height=(HEIGHT) role="img" {
                            title { "Sockets in " (each.name()) " over time" }
                            desc { "at most " (most) ", at the end " (last) }
                            (grid(u64::from(HEIGHT)))
                            svg x="1%" y="0" width="98%" height=(HEIGHT)
                                viewBox={ "0 0 " (width(report)) " " (HEIGHT) } preserveAspectRatio="none" {
                                path.area.{ "s-" (each.name()) } d=(area(&counts, most, width(report))) {}
                            }
                        }
                    }
                }
                (axis(&frame, report))
            }
        }
    }
}

/// Width of the drawing: a thousand units per sample, up to the recording's end.
fn width(report: &Report) -> u64 {
    let step = u128::from(report.states.step_ns.max(1));
    let wide = u128::from(report.recording.ends.after_ns) * SAMPLE / step;
    u64::try_from(wide).unwrap_or(u64::MAX).max(1)
}

const SAMPLE: u128 = 1_000;

fn column(samples: &[Vec<u32>], at: usize) -> Vec<u32> {
    samples
        .iter()
        .map(|sample| sample.get(at).copied().unwrap_or(0))
        .collect()
}

/// The outline of the counts, as steps.
fn area(counts: &[u32], most: u32, width: u64) -> String {
    let mut path = format!("M0 {HEIGHT}");
    let scale = u64::from(HEIGHT - 3);
    for (at, count) in counts.iter().enumerate() {
        let y = u64::from(HEIGHT) - u64::from(*count) * scale / u64::from(most.max(1));
        let from = at as u64 * 1_000;
        let to = (from + 1_000).min(width);
        if from < width {
            // Writing to a String cannot fail.
            let _ = write!(path, "L{from} {y}L{to} {y}");
        }
    }
    let _ = write!(path, "L{width} {HEIGHT}Z");
    path
}
