//! Rows and axes of the timelines, as SVG.
//!
//! Positions are percentages and heights are pixels, so that a row fills any
//! width and its text keeps its size.

use maud::{Markup, html};

use super::super::format::duration;
use super::super::{Moment, Report};

/// Width of a drawing on a phone, in pixels; wide labels are for desktops.
const PHONE: u64 = 300;
/// Width of a drawing on a desktop.
const DESKTOP: u64 = 880;
/// Width of a character of a label, in tenths of a pixel.
const CHARACTER: u64 = 68;
/// Space to the left and right of a label.
const PADDING: u64 = 12;

/// The stretch of time that a drawing shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    /// Of the recording.
    pub(super) is_whole: bool,
}

impl Frame {
    /// The whole recording.
    pub(super) fn whole(report: &Report) -> Self {
        Self {
            from_ns: 0,
            to_ns: report.recording.ends.after_ns.max(1),
            is_whole: true,
        }
    }

    /// These two moments with a margin, within the recording.
    pub(super) fn around(from: &Moment, to: &Moment, ends: &Moment) -> Self {
        let margin = to.after_ns.saturating_sub(from.after_ns) / 4;
        let from_ns = from.after_ns.saturating_sub(margin);
        let to_ns = to.after_ns.saturating_add(margin).min(ends.after_ns);
        Self {
            from_ns,
            to_ns: to_ns.max(from_ns.saturating_add(1)),
            is_whole: false,
        }
    }

    /// Whether all of this stretch is within.
    pub(super) fn contains(&self, from: &Moment, to: &Moment) -> bool {
        from.after_ns >= self.from_ns && to.after_ns <= self.to_ns
    }

    fn shows(&self, from_ns: u64, to_ns: u64) -> bool {
        to_ns >= self.from_ns && from_ns <= self.to_ns
    }

    /// Ten-thousandths of the width, with a margin of one percent at each side.
    fn position(&self, after_ns: u64) -> u64 {
        let inside = after_ns.clamp(self.from_ns, self.to_ns) - self.from_ns;
        let span = u128::from(self.to_ns - self.from_ns).max(1);
        let scaled = u128::from(inside) * 9_800 / span;
        100 + u64::try_from(scaled).unwrap_or(9_800)
    }
}

/// A stretch on a row.
pub(super) struct Bar<'a> {
    pub(super) from: &'a Moment,
    pub(super) to: &'a Moment,
    /// Its class: `s-` and the state, or `p-` and the phase.
    pub(super) class: String,
    /// In it, where there is room.
    pub(super) label: String,
    /// For the mouse and for screen readers.
    pub(super) title: String,
}

/// Bars at this height of a row.
pub(super) fn bars(bars: &[Bar<'_>], frame: &Frame, y: u64, height: u64) -> Markup {
    html! {
        @for bar in bars {
            @if frame.shows(bar.from.after_ns, bar.to.after_ns) {
                @let x = frame.position(bar.from.after_ns);
                @let width = frame.position(bar.to.after_ns).saturating_sub(x);
                @let drawn = width.max(MIN_WIDTH);
                g.(bar.class) {
                    title { (bar.title) }
                    rect.bar x=(percent(x)) y=(y) width=(percent(drawn)) height=(height) {}
                    @if has_pattern(&bar.class) {
                        rect x=(percent(x)) y=(y) width=(percent(drawn)) height=(height)
                            fill={ "url(#" (pattern_of(&bar.class)) ")" } {}
                    }
                }
            }
        }
    }
}

/// The labels of bars, over everything else: where there is room.
pub(super) fn labels(bars: &[Bar<'_>], frame: &Frame, y: u64, height: u64) -> Markup {
    html! {
        @for bar in bars {
            @let x = frame.position(bar.from.after_ns);
            @let width = frame.position(bar.to.after_ns).saturating_sub(x);
            @if let Some(class) = label_class(&bar.label, width) {
                svg.(bar.class) x=(percent(x)) y=(y) width=(percent(width)) height=(height) {
                    text.label.(class) x="6" y=(height - 6) { (bar.label) }
                }
            }
        }
    }
}

/// A stretch that is too short to be seen is drawn this wide.
const MIN_WIDTH: u64 = 30;

/// Moments on a row; those that would lie on one another are one.
pub(super) fn marks(moments: &[(u64, String)], frame: &Frame, height: u64) -> Markup {
    let mut drawn: Vec<(u64, u64, &str)> = Vec::new();
    for (after_ns, title) in moments {
        if !frame.shows(*after_ns, *after_ns) {
            continue;
        }
        let x = frame.position(*after_ns);
        match drawn.last_mut() {
            Some((last, count, _)) if x.abs_diff(*last) < CLOSE => *count += 1,
            _ => drawn.push((x, 1, title)),
        }
    }
    html! {
        @for (x, count, title) in drawn {
            g {
                title {
                    (title)
                    @if count > 1 { " and " (count - 1) " more" }
                }
                line.halo x1=(percent(x)) x2=(percent(x)) y1="14" y2=(height) {}
                line.fail x1=(percent(x)) x2=(percent(x)) y1="14" y2=(height) {}
                text.fail x=(percent(x)) y="12" text-anchor="middle" { "✕" }
            }
        }
    }
}

/// Marks nearer than this are drawn as one, in ten-thousandths of the width.
const CLOSE: u64 = 150;

/// Lines at the quarters.
pub(super) fn grid(height: u64) -> Markup {
    html! {
        @for quarter in 0..=4_u64 {
            @let x = percent(100 + quarter * 2_450);
            line.grid x1=(x) x2=(x) y1="0" y2=(height) {}
        }
    }
}

/// The time under a group of rows: since the recording began, and of the day.
pub(super) fn axis(frame: &Frame, report: &Report) -> Markup {
    let begins = &report.recording.begins;
    html! {
        svg.axis width="100%" height="34" aria-hidden="true" {
            @for quarter in 0..=4_u64 {
                @let span = frame.to_ns - frame.from_ns;
                @let after_ns = frame.from_ns + span / 4 * quarter;
                @let x = percent(100 + quarter * 2_450);
                @let anchor = match quarter { 0 => "start", 4 => "end", _ => "middle" };
                g.minor[quarter % 2 == 1] {
                    text x=(x) y="13" text-anchor=(anchor) { "+" (since(after_ns, span)) }
                    text.quiet x=(x) y="28" text-anchor=(anchor) { (time_of_day(begins, after_ns, span)) }
                }
            }
        }
    }
}

/// Below this span milliseconds do not tell the ticks of an axis apart.
const SHORT_NS: u64 = 40_000_000;
/// Below this one tenths of a second do not.
const MIDDLE_NS: u64 = 4_000_000_000;

/// Time since the recording began, as finely as the axis needs it.
fn since(after_ns: u64, span_ns: u64) -> String {
    let us = after_ns / 1_000;
    match span_ns {
        0..SHORT_NS => format!("{}.{:06} s", us / 1_000_000, us % 1_000_000),
        SHORT_NS..MIDDLE_NS if us >= 1_000_000 => {
            format!("{}.{:03} s", us / 1_000_000, us / 1_000 % 1_000)
        }
        _ => duration(after_ns),
    }
}

fn time_of_day(begins: &Moment, after_ns: u64, span_ns: u64) -> String {
    let Some(start_ns) = crate::event::rfc3339::parse(&begins.ts) else {
        return String::new();
    };
    let ts = crate::event::rfc3339::format(start_ns.saturating_add(after_ns));
    let digits = if span_ns < SHORT_NS { 11..26 } else { 11..23 };
    ts.get(digits).unwrap_or_default().to_owned()
}

/// `12.34%` of ten-thousandths.
pub(super) fn percent(position: u64) -> String {
    format!("{}.{:02}%", position / 100, position % 100)
}

fn label_class(label: &str, width: u64) -> Option<&'static str> {
    let needed = label.chars().count() as u64 * CHARACTER / 10 + PADDING;
    if label.is_empty() {
        None
    } else if width * PHONE / 10_000 >= needed {
        Some("any")
    } else if width * DESKTOP / 10_000 >= needed {
        Some("wide")
    } else {
        None
    }
}

fn has_pattern(class: &str) -> bool {
    !matches!(
        class,
        "s-listen" | "s-established" | "p-listening" | "p-not_seen"
    )
}

fn pattern_of(class: &str) -> &'static str {
    match class {
        "p-down" => "cross",
        "s-time_wait" => "slant",
        "s-close_wait" => "dots",
        "s-syn_sent" | "s-syn_received" | "s-bound" => "level",
        _ => "upright",
    }
}

/// The patterns, once per page: colour is not all that tells states apart.
pub(super) fn patterns() -> Markup {
    html! {
        svg.patterns width="0" height="0" aria-hidden="true" {
            defs {
                pattern id="slant" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    line.weave x1="0" x2="0" y1="0" y2="7" {}
                }
                pattern id="cross" width="9" height="9" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    line.weave x1="0" x2="0" y1="0" y2="9" {}
                    line.weave x1="0" x2="9" y1="0" y2="0" {}
                }
                pattern id="dots" width="6" height="6" patternUnits="userSpaceOnUse" {
                    circle.dot cx="2" cy="2" r="1.2" {}
                }
                pattern id="level" width="6" height="5" patternUnits="userSpaceOnUse" {
                    line.weave x1="0" x2="6" y1="1" y2="1" {}
                }
                pattern id="upright" width="6" height="6" patternUnits="userSpaceOnUse" {
                    line.weave x1="1" x2="1" y1="0" y2="6" {}
                }
            }
        }
    }
}
