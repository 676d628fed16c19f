//! Reads a screen as a person would: which row is chosen, what is open.

/// The line with the mark of the chosen row.
pub(super) fn row(screen: &str) -> Option<usize> {
    screen.lines().position(|line| line.starts_with('▸'))
}

/// State and addresses of the chosen row: what does not change by itself.
pub(super) fn chosen(screen: &str) -> Vec<&str> {
    let line = screen.lines().find(|line| line.starts_with('▸'));
    line.unwrap_or_default()
        .split_whitespace()
        .take(3)
        .collect()
}

/// Line of the heads of the columns.
fn heads(screen: &str) -> (usize, &str) {
    let is_heads = |line: &&str| line.contains('▲') || (line.contains('▼') && line.contains("AGE"));
    let mut lines = screen.lines().enumerate();
    lines
        .find(|(_, line)| line.starts_with(" STATE") && is_heads(line))
        .unwrap_or((usize::MAX, ""))
}

/// `LOCAL▲`: by which column the table is sorted.
pub(super) fn order(screen: &str) -> &str {
    let words = heads(screen).1.split_whitespace();
    let mut sorted = words.filter(|word| word.ends_with(['▲', '▼']));
    sorted.next().unwrap_or_default()
}

/// Whether the first row of the table is chosen.
pub(super) fn is_first(screen: &str) -> bool {
    row(screen).is_some_and(|row| row == heads(screen).0 + 1)
}

/// The panel that the keys go to, by its heavy title.
pub(super) fn panel(screen: &str) -> &str {
    let title = screen.lines().find_map(|line| line.strip_prefix("━ "));
    title
        .and_then(|title| title.split([' ', '·']).next())
        .unwrap_or_default()
}

/// Title of what lies over the dashboard; empty: nothing does.
pub(super) fn open(screen: &str) -> &str {
    let frame = screen.split_once("╭─ ").map(|(_, title)| title);
    frame
        .and_then(|title| title.split('─').next())
        .unwrap_or_default()
        .trim()
}

/// Events up to here, of a replay.
pub(super) fn event(screen: &str) -> Option<u64> {
    let bar = screen.lines().rev().find(|line| line.contains(" of "))?;
    let (before, _) = bar.rsplit_once(" of ")?;
    before
        .split_whitespace()
        .last()?
        .replace(',', "")
        .parse()
        .ok()
}

/// What is being typed; `None`: nothing is.
pub(super) fn typed(screen: &str) -> Option<&str> {
    let line = screen.lines().rev().find(|line| !line.trim().is_empty())?;
    let line = line.trim_start();
    let text = line
        .strip_prefix("filter: ")
        .or(line.strip_prefix("go to: "))?;
    // The hint stands two blanks behind the cursor.
    text.split("   ").next()
}

/// Whether the last line names keys: nothing is typed, and no answer to a key
/// stands there.
pub(super) fn hints(screen: &str) -> bool {
    let last = screen.lines().rev().find(|line| !line.trim().is_empty());
    last.is_some_and(|line| line.starts_with(" q quit"))
}
