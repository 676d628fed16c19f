//! Recordings in several parts, and files that are none.

use super::*;

#[test]
fn headers_and_footers_in_odd_places_are_said() {
    let stage = Stage::new();
    let lines: Vec<&str> = KEPT.lines().collect();
    let count = lines.len();

    let twice = stage.file("twice", format!("{0}{0}", *KEPT));
    let sentence = format!("line {} of", count + 1);
    every_way(&[&twice], 2, &sentence);
    let replayed = limited("replay --format json", &[&twice]);
    assert!(
        String::from_utf8_lossy(&replayed.stdout) == *KEPT,
        "what was before is there"
    );
    let mut index = Index::default();
    assert!(
        index
            .add(&twice)
            .is_err_and(|error| error.to_string().contains(&format!("line {}", count + 1)))
    );

    // A footer in the middle ends nothing: the lines behind it are there.
    let mut moved = lines.clone();
    moved.insert(4, lines[count - 1]);
    let moved = stage.file("moved", moved.join("\n") + "\n");
    let said = every_way(&[&moved], 2, "the lines before line 5 are not all there");
    assert!(said[1].contains("EADDRINUSE"));

    let headless = stage.file("headless", lines[1..].join("\n") + "\n");
    every_way(&[&headless], 2, "has no header line");
    let later = stage.file(
        "later",
        KEPT.replacen("\"schema\":\"1\"", "\"schema\":\"2\"", 1),
    );
    every_way(&[&later], 2, "read it with a later tcpstate");
}

#[test]
fn parts_go_in_order_in_one_file_or_several() {
    let stage = Stage::new();
    let lines: Vec<&str> = KEPT.lines().collect();
    let header = |seq: usize, part: u32| {
        let mut header: serde_json::Value = serde_json::from_str(lines[0]).expect("JSON");
        (header["seq"], header["part"]) = (seq.into(), part.into());
        header.to_string()
    };
    let texts = [
        lines[..5].join("\n") + "\n",
        format!("{}\n{}\n", header(4, 2), lines[5..8].join("\n")),
        format!("{}\n{}\n", header(7, 3), lines[8..].join("\n")),
    ];
    let parts: Vec<PathBuf> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| stage.file(&format!("r{at}"), text))
        .collect();
    let one = stage.file("one", texts.concat());

    let several: Vec<&Path> = parts.iter().map(PathBuf::as_path).collect();
    the_rest_is_there(&every_way(&several, 0, ""));
    the_rest_is_there(&every_way(&[&one], 0, ""));
    for wrong in [[0, 2, 1], [1, 0, 2], [0, 1, 1]] {
        let files: Vec<&Path> = wrong.iter().map(|at| several[*at]).collect();
        every_way(&files, 2, "line 1 of");
        let mut index = Index::default();
        assert!(
            files.iter().try_for_each(|file| index.add(file)).is_err(),
            "{wrong:?}"
        );
    }
    let mut index = Index::default();
    index.add(&one).expect("it is one");
    assert_eq!(index.len(), lines.len());
    assert!(index.has_footer());
}

#[test]
fn what_is_no_recording_is_said_to_be_none() {
    let stage = Stage::new();
    let directory = stage.0.path();
    let empty = stage.file("empty", "");
    let lines = stage.file("lines", "\n".repeat(100_000));
    let program = PathBuf::from(env!("CARGO_BIN_EXE_tcpstate"));

    every_way(&[directory], 2, "Is a directory");
    every_way(&[&empty], 2, "has no header line");
    every_way(&[&lines], 2, "has no header line");
    every_way(&[&program], 2, "has no header line");
    every_way(&[Path::new("/dev/null")], 2, "has no header line");
    let output = limited("replay --format json", &[Path::new("/proc/self/mem")]);
    assert_eq!(output.status.code(), Some(2));
}
