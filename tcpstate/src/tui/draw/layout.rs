//! The layout: where each panel lies.

use ratatui::layout::Rect;

/// Fewest columns on which everything has its place.
pub(crate) const MIN_WIDTH: u16 = 72;
/// Fewest rows on which everything has its place.
pub(crate) const MIN_HEIGHT: u16 = 20;
/// From here on, the chart stands beside the table.
const WIDE: u16 = 120;
/// Height of a terminal that nobody has enlarged.
const USUAL: u16 = 24;
/// From here on, there is room for air.
const TALL: u16 = 30;

/// A table of fewer rows says nothing.
const LEAST_ROWS: u16 = 3;
/// Nor does a list of fewer events.
const LEAST_EVENTS: u16 = 3;
/// Rows for table, chart and events from which there is room for the chart.
const CHART_FROM: u16 = 12;

/// Where each panel lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) header: Rect,
    /// A test's restarts.
    pub(crate) rounds: Rect,
    pub(crate) ports: Rect,
    /// The chosen port's last minutes.
    pub(crate) lane: Rect,
    pub(crate) banner: Rect,
    pub(crate) sockets: Rect,
    pub(crate) chart: Rect,
    pub(crate) events: Rect,
    pub(crate) message: Rect,
    pub(crate) status: Rect,
}

/// Lines that are wanted; what has none is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heights {
    /// Gets only what table and events leave.
    pub(crate) rounds: u16,
    pub(crate) banner: u16,
    pub(crate) message: u16,
}

impl Layout {
    /// Divides the area; `None`: it is too small.
    pub(crate) fn of(area: Rect, ports: usize, heights: Heights) -> Option<Self> {
        let Heights {
            rounds,
            banner,
            message,
        } = heights;
        if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
            return None;
        }
        let mut rest = area;
        let header = take_top(&mut rest, 1);
        let status = take_bottom(&mut rest, 1);
        let message = take_bottom(&mut rest, message);
        let air = u16::from(area.height >= TALL);
        take_top(&mut rest, air);
        let lane = lane_lines(area.height, ports);
        let ports = port_lines(area.height, ports);
        let others = ports + lane + banner + LEAST_ROWS + LEAST_EVENTS + 2 * air;
        let spare = rest.height.saturating_sub(others);
        let rounds = take_top(&mut rest, rounds.min(spare));
        let ports = take_top(&mut rest, ports);
        let lane = take_top(&mut rest, lane);
        take_top(&mut rest, air);
        let banner = take_top(&mut rest, banner);
        if area.height >= TALL && banner.height > 0 {
            take_top(&mut rest, 1);
        }
        let (sockets, chart, events) = if area.width >= WIDE {
            // Events are sentences and get the whole width.
            let events_height = (rest.height / 3).max(LEAST_EVENTS);
            let events = take_bottom(&mut rest, events_height);
            if area.height >= TALL && rest.height > LEAST_ROWS {
                take_bottom(&mut rest, 1);
            }
            let left = (rest.width * 5 / 8).max(86);
            let sockets = Rect {
                width: left,
                ..rest
            };
            let chart = Rect {
                x: rest.x + left + 2,
                width: rest.width.saturating_sub(left + 2),
                ..rest
            };
            (sockets, chart, events)
        } else {
            // Where the rest is little, rows and events say more than a chart.
            let chart_height = match rest.height {
                0..CHART_FROM => 0,
                height => (height / 4).clamp(3, 7),
            };
            let events_height = ((rest.height - chart_height) * 2 / 5).max(LEAST_EVENTS);
            let events = take_bottom(&mut rest, events_height);
            let chart = take_bottom(&mut rest, chart_height);
            (rest, chart, events)
        };
        Some(Self {
            header,
            rounds,
            ports,
            lane,
            banner,
            sockets,
            chart,
            events,
            message,
            status,
        })
    }

    /// Ports that are in sight at once.
    pub(crate) fn port_rows(&self, ports: usize) -> usize {
        if ports <= 1 {
            ports
        } else {
            usize::from(self.ports.height)
        }
    }
}

/// One port has two lines, several have one each.
fn port_lines(height: u16, ports: usize) -> u16 {
    match ports {
        0 => 1,
        1 => 2,
        _ => u16::try_from(ports)
            .unwrap_or(u16::MAX)
            .min((height / 6).max(2)),
    }
}

/// The last minutes and the time below them. A low screen with several ports has
/// no room for the time.
fn lane_lines(height: u16, ports: usize) -> u16 {
    match ports {
        0 => 0,
        1 => 2,
        _ if height < USUAL => 1,
        _ => 2,
    }
}

fn take_top(rest: &mut Rect, height: u16) -> Rect {
    let height = height.min(rest.height);
    let taken = Rect { height, ..*rest };
    rest.y += height;
    rest.height -= height;
    taken
}

fn take_bottom(rest: &mut Rect, height: u16) -> Rect {
    let height = height.min(rest.height);
    rest.height -= height;
    Rect {
        y: rest.y + rest.height,
        height,
        ..*rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_lie_within_the_area_and_apart_from_each_other() {
        for width in [72, 80, 119, 120, 200, 500] {
            for height in [20, 24, 29, 30, 40, 100] {
                for ports in [0, 1, 2, 50] {
                    for (banner, message, rounds) in [
                        (0, 0, 0),
                        (0, 2, 4),
                        (5, 1, 9),
                        (height / 3, 2, 0),
                        (height / 3, 2, 9),
                    ] {
                        let area = Rect::new(0, 0, width, height);
                        let heights = Heights {
                            rounds,
                            banner,
                            message,
                        };
                        let layout = Layout::of(area, ports, heights).expect("large enough");
                        let panels = [
                            layout.header,
                            layout.rounds,
                            layout.ports,
                            layout.lane,
                            layout.banner,
                            layout.sockets,
                            layout.chart,
                            layout.events,
                            layout.message,
                            layout.status,
                        ];
                        for (at, panel) in panels.iter().enumerate() {
                            assert_eq!(panel.intersection(area), *panel);
                            for other in &panels[at + 1..] {
                                assert!(
                                    panel.intersection(*other).is_empty(),
                                    "{panel} {other} at {width}×{height}"
                                );
                            }
                        }
                        assert!(
                            layout.sockets.height >= 3,
                            "{width}×{height} {ports} {banner}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_small_area_has_no_layout() {
        let of = |area| Layout::of(area, 1, Heights::default());
        assert_eq!(of(Rect::new(0, 0, 20, 5)), None);
        assert_eq!(of(Rect::new(0, 0, 0, 0)), None);
    }
}
