//! What a key asks for.

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// End the program.
    Quit,
    /// Open or close the help.
    Help,
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// Column to the left; earlier problem.
    Left,
    /// Column to the right; later problem.
    Right,
    /// First row.
    Top,
    /// Last row.
    Bottom,
    /// One page up.
    PageUp,
    /// One page down.
    PageDown,
    /// Focus the next panel.
    NextPanel,
    /// Focus the previous panel.
    PreviousPanel,
    /// Open the detail of what is chosen.
    Open,
    /// Open or close the messages.
    Messages,
    /// Close what is open, else dismiss the message, else clear the filter.
    Close,
    /// Freeze the screen, or let it go on.
    Pause,
    /// Type a filter.
    Filter,
    /// Sort by the next column.
    Sort,
    /// Reverse the order.
    Reverse,
    /// Jump to the diagnosis of the latest failure, or leave it.
    Diagnosis,
    /// Dismiss the failure banner.
    Clear,
    /// Hide the events so far, or show them again.
    ClearEvents,
    /// Copy what is chosen.
    Copy,
    /// Copy the diagnosis.
    CopyDiagnosis,
    /// Copy its fix; again: the next one.
    CopyFix,
    /// Show what would free the port of the failure; again: do it.
    Release,
    /// Write the events of what is chosen into a file.
    Export,
    /// Write the screen into a file, as text.
    ScreenshotText,
    /// Write the screen into a file, as a drawing.
    ScreenshotSvg,
    /// Choose the columns.
    Columns,
    /// Choose the theme.
    Themes,
    /// Use the mouse, or leave it to the terminal.
    Mouse,
    /// Stop the program as ctrl-z does; `fg` brings it back.
    Suspend,
    /// Type a time to go to.
    AskTime,
    /// In a replay.
    Replay(ReplayAction),
    /// While typing: take what was typed.
    Accept,
    /// While typing: leave it as it was.
    Cancel,
    /// While typing: take the last character back.
    Erase,
    /// While typing: take everything back.
    EraseAll,
    /// While typing: this character.
    Type(char),
}

/// What a key asks of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplayAction {
    /// Play, or stop.
    Play,
    /// One event on.
    Step,
    /// One event back.
    StepBack,
    /// To the next failed call or restart.
    NextMark,
    /// To the one before.
    PreviousMark,
    /// Ten seconds on.
    Forward,
    /// Ten seconds back.
    Back,
    /// Faster.
    Faster,
    /// Slower.
    Slower,
    /// To the beginning.
    Begin,
    /// To the end.
    End,
    /// To this time on the recording's monotonic clock, in nanoseconds.
    GoTo(u64),
    /// To so many percent of the recording's time.
    GoToShare(u64),
    /// To right after the event with this position.
    GoToEvent(u64),
}
