//! What a command line runs: the program itself, or the script, module or class that an
//! interpreter runs.

/// Options of interpreters that take a word behind them.
const WITH_VALUE: &[&str] = &[
    "-X",
    "-W",
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-I",
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--add-modules",
    "--add-opens",
    "--add-exports",
];

/// What runs, by its name without the folder, and where the words for it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Program<'a> {
    /// `nginx`, `server.py`, `http.server`.
    pub(super) name: &'a str,
    /// The word itself: `/usr/sbin/nginx`, `./server.py`.
    pub(super) word: &'a str,
    /// The words behind it.
    pub(super) arguments: &'a [String],
    /// It is the path of a file, from the working directory on.
    pub(super) is_relative: bool,
}

impl<'a> Program<'a> {
    /// `None`: there are no words, or the interpreter was given none that is run.
    pub(super) fn of(argv: &'a [String]) -> Option<Self> {
        let (first, rest) = argv.split_first()?;
        if !is_interpreter(base(first)) {
            return Some(Self::new(first, rest, false));
        }
        let mut words = rest;
        while let Some((word, behind)) = words.split_first() {
            let (next, after) = match behind.split_first() {
                Some((next, after)) => (Some(next.as_str()), after),
                None => (None, behind),
            };
            match (word.as_str(), next) {
                ("-m" | "-jar", Some(next)) => {
                    return Some(Self::new(next, after, word == "-jar"));
                }
                // Code has no name.
                ("-c" | "-e" | "--eval", Some(next)) => {
                    return Some(Self {
                        name: "",
                        ..Self::new(next, after, false)
                    });
                }
                (option, _) if WITH_VALUE.contains(&option) => words = after,
                (option, _) if option.starts_with('-') || option.is_empty() => words = behind,
                (script, _) => return Some(Self::new(script, behind, true)),
            }
        }
        None
    }

    fn new(word: &'a str, arguments: &'a [String], is_file: bool) -> Self {
        Self {
            name: base(word),
            word,
            arguments,
            is_relative: is_file && !word.starts_with('/'),
        }
    }
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// `python3.11`, `node`.
fn is_interpreter(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    matches!(
        stem,
        "python" | "pypy" | "node" | "nodejs" | "java" | "ruby" | "perl" | "php"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(words: &[&str]) -> Option<(String, bool, usize)> {
        let argv: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let program = Program::of(&argv)?;
        Some((
            program.name.to_owned(),
            program.is_relative,
            program.arguments.len(),
        ))
    }

    #[test]
    fn an_interpreter_is_looked_through() {
        for (words, name, is_relative, arguments) in [
            (&["/usr/sbin/nginx", "-t"][..], "nginx", false, 1),
            (&["python3", "-u", "server.py", "-p"], "server.py", true, 1),
            (
                &["python3", "-X", "dev", "-m", "http.server"],
                "http.server",
                false,
                0,
            ),
            (
                &["node", "-r", "x", "--inspect", "/a/app.js"],
                "app.js",
                false,
                0,
            ),
            (
                &["java", "-cp", "a:b", "-Dx=1", "org.Main", "stop"],
                "org.Main",
                true,
                1,
            ),
            (&["java", "-jar", "/a/b.jar"], "b.jar", false, 0),
        ] {
            let expected = Some((name.to_owned(), is_relative, arguments));
            assert_eq!(runs(words), expected, "{words:?}");
        }
        assert_eq!(runs(&["python3"]), None);
        assert_eq!(runs(&["python3", "-i"]), None);
        assert_eq!(runs(&[]), None);
    }
}
