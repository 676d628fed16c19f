//! The configuration file: read, checked, and printed as a template.
//!
//! Pure: text in, choices out. Nothing in it runs, and nothing writes it.

use std::fmt::Write as _;
use std::ops::Range;
use std::str::FromStr as _;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::tui::input::keys::{Key, Keys, Mode};
use crate::tui::state::columns::{Column, Sort};
use crate::tui::state::filter::Filter;
use crate::tui::theme::Theme;

/// How somebody has configured the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The theme; `None`: the one that fits the terminal.
    pub theme: Option<Theme>,
    /// Whether the mouse is on from the beginning.
    pub mouse: bool,
    /// Columns of the socket table, from left to right; never none.
    pub columns: Vec<Column>,
    /// Their order.
    pub sort: Sort,
    /// The filter from the beginning.
    pub filter: Filter,
    /// Whether no port is freed from the dashboard.
    pub read_only: bool,
    /// The keys.
    pub keys: Keys,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            theme: None,
            mouse: false,
            columns: Column::USUAL.to_vec(),
            sort: Sort::default(),
            filter: Filter::default(),
            read_only: false,
            keys: Keys::default(),
        }
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ConfigError {
    /// On which line, from 1.
    pub line: usize,
    /// What, and what could be there.
    pub reason: String,
}

/// Whichever theme fits.
const AUTO: &str = "auto";

/// What may stand at the top of the file.
const SETTINGS: [&str; 8] = [
    "theme",
    "mouse",
    "columns",
    "sort",
    "reverse",
    "filter",
    "read_only",
    "keys",
];

impl Config {
    /// Reads a configuration; what it leaves out is as it was.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let wrong = |at: Range<usize>, reason: String| ConfigError {
            line: line_of(text, at.start),
            reason,
        };
        let table = DeTable::parse(text).map_err(|error| {
            let reason = error.message().replace('\n', ", ");
            wrong(error.span().unwrap_or(0..0), reason)
        })?;
        let mut config = Self::default();
        config
            .read(table.get_ref())
            .map_err(|(at, reason)| wrong(at, reason))?;
        Ok(config)
    }

    fn read(&mut self, table: &DeTable<'_>) -> Result<(), ErrorAt> {
        let mut keys_at = 0..0;
        for (name, value) in table {
            match &**name.get_ref() {
                "theme" => {
                    let theme = one_of(value, "a theme", &theme_names())?;
                    self.theme = Theme::from_name(theme);
                }
                "mouse" => self.mouse = truth(value)?,
                "read_only" => self.read_only = truth(value)?,
                "reverse" => self.sort.is_reversed = truth(value)?,
                "sort" => {
                    let column = one_of(value, "a column", &column_names(&Column::ALL))?;
                    self.sort.column = Column::from_name(column).unwrap_or_default();
                }
                "columns" => self.columns = columns(value)?,
                "filter" => {
                    let text = string(value, "a filter")?;
                    self.filter = Filter::parse(text)
                        .map_err(|wrong| (value.span(), format!("filter: {}", wrong.reason)))?;
                }
                "keys" => {
                    keys_at = name.span();
                    self.read_keys(Mode::Browse, value)?;
                }
                other => {
                    let reason = format!(
                        "there is no setting `{other}`; the settings are {}",
                        SETTINGS.join(", ")
                    );
                    return Err((name.span(), reason));
                }
            }
        }
        self.keys.check().map_err(|reason| (keys_at, reason))
    }

    fn read_keys(&mut self, mode: Mode, value: &Spanned<DeValue<'_>>) -> Result<(), ErrorAt> {
        let Some(table) = value.get_ref().as_table() else {
            return Err((value.span(), format!("[{}] is a table", mode.table())));
        };
        for (name, value) in table {
            let inner = Mode::ALL
                .into_iter()
                .find(|inner| inner.table().strip_prefix("keys.") == Some(&**name.get_ref()));
            if let Some(inner) = inner.filter(|_| mode == Mode::Browse) {
                self.read_keys(inner, value)?;
                continue;
            }
            let keys = keys(value)?;
            self.keys
                .rebind(mode, name.get_ref(), keys)
                .map_err(|reason| (name.span(), reason))?;
        }
        Ok(())
    }

    /// The whole configuration with what is the case without one: a file to
    /// begin with.
    #[must_use]
    pub fn template() -> String {
        let usual = Self::default();
        let mut text = format!(
            "# The dashboard of tcpstate. Without a line, it is as the line says here.\n\
             \n\
             # {AUTO}, {}: {AUTO} follows NO_COLOR and COLORFGBG.\n\
             theme = \"{AUTO}\"\n\
             \n\
             # Click rows and columns; the terminal then selects only with shift held.\n\
             mouse = {}\n\
             \n\
             # Columns of the socket table: {}.\n\
             columns = [{}]\n\
             \n\
             # By which column it is sorted, and whether the other way round.\n\
             sort = \"{}\"\n\
             reverse = {}\n\
             \n\
             # As typed after `/`, such as \"port:8080 !state:established\".\n\
             filter = \"\"\n\
             \n\
             # Whether no port can be freed from here.\n\
             read_only = {}\n",
            Theme::ALL.map(Theme::name).join(", "),
            usual.mouse,
            column_names(&Column::ALL).join(", "),
            quoted(&column_names(&usual.columns)),
            usual.sort.column.name(),
            usual.sort.is_reversed,
            usual.read_only,
        );
        for mode in Mode::ALL {
            let what = match mode {
                Mode::Browse => {
                    "Keys: letters, ctrl-x, gg, F1, Enter, Space, PageUp, and the like; [] for none."
                }
                Mode::Replay => "Over a recording these come before the others.",
                Mode::Typing => "While a filter or a time is typed; letters are text.",
            };
            // Writing to a String cannot fail.
            let _ = write!(text, "\n# {what}\n[{}]\n", mode.table());
            for (binding, keys) in usual.keys.of(mode) {
                let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
                let _ = writeln!(
                    text,
                    "# {}\n{} = [{}]",
                    binding.help,
                    binding.name,
                    quoted(&keys)
                );
            }
        }
        text
    }
}

/// Where, and what is wrong there.
type ErrorAt = (Range<usize>, String);

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    before.filter(|byte| **byte == b'\n').count() + 1
}

fn string<'a>(value: &'a Spanned<DeValue<'_>>, what: &str) -> Result<&'a str, ErrorAt> {
    value.get_ref().as_str().ok_or_else(|| {
        let found = value.get_ref().type_str();
        (
            value.span(),
            format!("{what} is written in quotes; this is {found}"),
        )
    })
}

fn truth(value: &Spanned<DeValue<'_>>) -> Result<bool, ErrorAt> {
    value.get_ref().as_bool().ok_or_else(|| {
        (
            value.span(),
            "it is true or false, without quotes".to_owned(),
        )
    })
}

fn one_of<'a>(
    value: &'a Spanned<DeValue<'_>>,
    what: &str,
    names: &[String],
) -> Result<&'a str, ErrorAt> {
    let text = string(value, what)?;
    if names.iter().any(|name| name == text) {
        return Ok(text);
    }
    let reason = format!("`{text}` is not {what}; there are {}", names.join(", "));
    Err((value.span(), reason))
}

fn list<'a, 'i>(
    value: &'a Spanned<DeValue<'i>>,
    what: &str,
) -> Result<Vec<&'a Spanned<DeValue<'i>>>, ErrorAt> {
    let array = value.get_ref().as_array();
    let array = array.ok_or_else(|| (value.span(), format!("it is a list, such as {what}")))?;
    Ok(array.iter().collect())
}

fn columns(value: &Spanned<DeValue<'_>>) -> Result<Vec<Column>, ErrorAt> {
    let mut columns = Vec::new();
    for name in list(value, "[\"state\", \"local\"]")? {
        let text = one_of(name, "a column", &column_names(&Column::ALL))?;
        let column = Column::from_name(text).unwrap_or_default();
        if columns.contains(&column) {
            return Err((name.span(), format!("the column `{text}` is there twice")));
        }
        columns.push(column);
    }
    if columns.is_empty() {
        return Err((value.span(), "the table needs a column".to_owned()));
    }
    Ok(columns)
}

/// One key, or a list of keys.
fn keys(value: &Spanned<DeValue<'_>>) -> Result<Vec<Key>, ErrorAt> {
    let read = |value: &Spanned<DeValue<'_>>| {
        let text = string(value, "a key")?;
        Key::from_str(text).map_err(|reason| (value.span(), reason))
    };
    if value.get_ref().as_str().is_some() {
        return read(value).map(|key| vec![key]);
    }
    list(value, "[\"q\", \"ctrl-c\"]")?
        .into_iter()
        .map(read)
        .collect()
}

fn theme_names() -> Vec<String> {
    let names = Theme::ALL.map(|theme| theme.name().to_owned());
    std::iter::once(AUTO.to_owned()).chain(names).collect()
}

fn column_names(columns: &[Column]) -> Vec<String> {
    columns.iter().map(|column| column.name()).collect()
}

/// As a list of TOML strings.
fn quoted(texts: &[String]) -> String {
    let quoted: Vec<String> = texts
        .iter()
        .map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::input::keys::Action;

    #[test]
    fn the_template_is_what_is_the_case_without_it() {
        let template = Config::template();

        assert_eq!(
            Config::parse(&template),
            Ok(Config::default()),
            "{template}"
        );
        assert_eq!(Config::parse(""), Ok(Config::default()));
        for setting in SETTINGS {
            assert!(template.contains(setting), "{setting}");
        }
    }

    #[test]
    fn every_setting_is_taken() {
        let config = Config::parse(
            "theme = 'high-contrast'\nmouse = true\ncolumns = ['local', 'netns']\n\
             sort = 'age'\nreverse = true\nfilter = 'port:80 !nginx'\n\
             [keys]\nhelp = 'F1'\nmouse = []\n[keys.replay]\nplay = ['p', 'Space']\n\
             [keys.typing]\ncancel = 'ctrl-g'\n",
        )
        .expect("it is right");

        assert_eq!(config.theme, Some(Theme::HighContrast));
        assert!(config.mouse && config.sort.is_reversed);
        assert_eq!(config.columns, [Column::Local, Column::Netns]);
        assert_eq!(config.sort.column, Column::Age);
        assert_eq!(config.filter.text(), "port:80 !nginx");
        assert_eq!(config.keys.label(Action::Help).as_deref(), Some("F1"));
        assert_eq!(config.keys.label(Action::Mouse), None);
        assert_eq!(config.keys.label(Action::Cancel).as_deref(), Some("ctrl-g"));
    }

    #[test]
    fn an_error_has_the_number_of_its_line() {
        for (text, line, expected) in [
            (
                "\n\ncolour = 1",
                3,
                "there is no setting `colour`; the settings are theme,",
            ),
            (
                "theme = 'pink'",
                1,
                "`pink` is not a theme; there are auto, dark, light,",
            ),
            (
                "theme = 3",
                1,
                "a theme is written in quotes; this is integer",
            ),
            ("mouse = 'yes'", 1, "true or false"),
            (
                "\ncolumns = ['state',\n 'color']",
                3,
                "`color` is not a column",
            ),
            ("columns = ['state', 'state']", 1, "there twice"),
            ("columns = []", 1, "needs a column"),
            ("columns = 'state'", 1, "it is a list"),
            ("filter = 'prt:80'", 1, "filter: there is no `prt:`"),
            (
                "mouse = true\n[keys]\nfly = 'x'",
                3,
                "there is no action `fly` in [keys]",
            ),
            (
                "[keys.replay]\nquit = 'x'",
                2,
                "there is no action `quit` in [keys.replay]",
            ),
            ("[keys]\nhelp = 'qq q'", 2, "`qq q` is no key"),
            ("[keys]\nquit = []", 2, "`quit` needs a key"),
            (
                "[keys]\n\nhelp = 'q'",
                1,
                "the key `q` of `help` is taken by `quit`",
            ),
            ("keys = 1", 1, "is a table"),
            ("a = \n", 1, ""),
            ("theme = 'dark'\ntheme = 'light'", 2, "duplicate key"),
            ("[[keys]]", 1, "is a table"),
        ] {
            let wrong = Config::parse(text).expect_err(text);
            assert_eq!(wrong.line, line, "{text}: {wrong}");
            assert!(wrong.reason.contains(expected), "{text}: {wrong}");
            assert!(!wrong.to_string().contains('\n'), "{wrong}");
        }
    }
}
