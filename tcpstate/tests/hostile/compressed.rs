//! Compressed recordings: bombs, damage, pipes.

use super::*;

fn compressed(window_log: Option<u32>, write: impl FnOnce(&mut dyn std::io::Write)) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("zstd is there");
    if let Some(window_log) = window_log {
        encoder.window_log(window_log).expect("it is allowed");
    }
    write(&mut encoder);
    encoder.finish().expect("memory takes it")
}

#[test]
fn compressed_bombs_are_read_in_bounded_memory() {
    let stage = Stage::new();
    let zeros = vec![0; 1 << 20];
    let first = KEPT.find('\n').expect("lines") + 1;
    // Four gigabytes of nothing in half a megabyte.
    let bomb = compressed(None, |out| {
        out.write_all(&KEPT.as_bytes()[..first])
            .expect("memory takes it");
        for _ in 0..4 << 10 {
            out.write_all(&zeros).expect("memory takes it");
        }
    });
    assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
    let file = stage.file("zeros.zst", bomb);
    for command in &EVERY_WAY[..3] {
        let output = limited(command, &[&file]);
        // A replay says it beside, a report within.
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("was cut in line 2"), "{said}");
        assert!(output.status.success());
    }

    // The same valid line again and again.
    let ticks = compressed(None, |out| {
        out.write_all(&KEPT.as_bytes()[..first])
            .expect("memory takes it");
        for seq in 0..1_000_000 {
            let line = format!("{{\"event\":\"tick\",\"seq\":{},\"mono_ns\":7}}\n", seq + 1);
            out.write_all(line.as_bytes()).expect("memory takes it");
        }
    });
    let file = stage.file("ticks.zst", ticks);
    for command in &EVERY_WAY[1..3] {
        assert!(limited(command, &[&file]).status.success());
    }

    // One that wants a gigabyte before it has said anything.
    let wide = compressed(Some(30), |out| {
        for _ in 0..20 {
            out.write_all(KEPT.as_bytes()).expect("memory takes it");
            out.write_all(&zeros).expect("memory takes it");
        }
    });
    let file = stage.file("wide.zst", wide);
    every_way(&[&file], 2, "too much memory");
    let mut index = Index::default();
    assert!(index.add(&file).is_err());
}

#[test]
fn a_damaged_or_cut_compressed_recording_is_read_up_to_there() {
    let stage = Stage::new();
    let header = KEPT.lines().next().expect("a header");
    let mut text = format!("{header}\n").into_bytes();
    for seq in 1..200_000 {
        writeln!(
            text,
            "{{\"event\":\"tick\",\"seq\":{seq},\"mono_ns\":{}}}",
            seq * 7919 % 100_003
        )
        .expect("memory takes it");
    }
    let whole = compressed(None, |out| {
        out.write_all(&text).expect("memory takes it");
    });

    let cut = stage.file("cut.zst", &whole[..whole.len() / 2]);
    let said = every_way(&[&cut], 0, "");
    assert!(said[0].lines().count() > 10_000);
    assert!(said[3].contains("cut in line"), "{}", said[3]);

    let mut damaged = whole.clone();
    let half = whole.len() / 2;
    for byte in &mut damaged[half..half + 64] {
        *byte = !*byte;
    }
    let damaged = stage.file("damaged.zst", damaged);
    let said = every_way(&[&damaged], 2, "could not be read");
    assert!(said[0].lines().count() > 10_000);
    for file in [cut, damaged] {
        let mut index = Index::default();
        index
            .add(&file)
            .expect("what is there can be gone about in");
        assert!(index.len() > 10_000 && !index.has_footer());
    }
}

/// At every byte of the frame's header and its end, and at some hundred between.
#[test]
fn a_compressed_recording_cut_anywhere_is_read_to_its_last_whole_line() {
    let stage = Stage::new();
    let packed = compressed(None, |out| {
        // Frames of a few lines each, as a recording that is flushed has them.
        for lines in KEPT.split_inclusive('\n').collect::<Vec<_>>().chunks(3) {
            out.write_all(lines.concat().as_bytes())
                .expect("memory takes it");
            out.flush().expect("memory takes it");
        }
    });
    let end = packed.len() - 1;
    let between = (0..packed.len()).step_by(packed.len() / 300);
    let places: BTreeSet<usize> = (0..32).chain(between).chain(end - 8..=end).collect();
    let mut events_before = 0;
    for at in places {
        let file = stage.file("cut.zst", &packed[..at]);
        let mut said = Vec::new();
        let mut events = Vec::new();
        let input = input::open(&file).expect("it can be opened");
        for event in Reader::new(input) {
            match event {
                Ok(event) => events.push(event),
                Err(error) => said.push(error.to_string()),
            }
        }
        assert!(
            KEPT.lines().zip(&events).all(|(line, event)| {
                json::read_line(line.as_bytes()).is_ok_and(|kept| kept.1.as_ref() == Some(event))
            }),
            "cut at {at}"
        );
        // Four bytes tell that it is compressed; the last ones are a checksum's.
        if at >= 4 && events.len() < KEPT.lines().count() {
            let [said] = &*said else {
                panic!("cut at {at}: {said:?}");
            };
            let sentence = format!("the recording was cut in line {}", events.len() + 1);
            assert!(said.starts_with(&sentence), "cut at {at}: {said}");
        }
        if at >= 32 {
            assert!(events.len() >= events_before, "cut at {at}");
            events_before = events.len();
        }

        let mut index = Index::default();
        index
            .add(&file)
            .expect("what is there can be gone about in");
        assert_eq!(index.len(), events.len(), "cut at {at}");
        assert_eq!(
            index.has_footer(),
            events.len() == KEPT.lines().count(),
            "cut at {at}"
        );
    }
    assert_eq!(events_before, KEPT.lines().count());

    // What the commands say of some of them.
    for (at, code, sentence) in [
        (0, 2, "has no header line"),
        (3, 2, "has no header line"),
        (4, 2, "was cut in line 1"),
        (12, 2, "was cut in line 1"),
        (packed.len() / 2, 0, "was cut in line"),
    ] {
        let file = stage.file("cut.zst", &packed[..at]);
        for command in &EVERY_WAY[..2] {
            let output = limited(command, &[&file]);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains(sentence), "cut at {at}: {stderr}");
            assert_eq!(output.status.code(), Some(code), "cut at {at}: {stderr}");
        }
    }
}

#[test]
fn a_pipe_is_read_compressed_or_not() {
    let stage = Stage::new();
    let packed = compressed(None, |out| {
        out.write_all(KEPT.as_bytes()).expect("memory takes it");
    });
    for (name, bytes) in [("plain", KEPT.as_bytes()), ("packed", &packed)] {
        for command in EVERY_WAY {
            let fifo = stage.path(&format!("{name}-{}", command.replace(' ', "")));
            rustix::fs::mknodat(
                rustix::fs::CWD,
                &fifo,
                rustix::fs::FileType::Fifo,
                0o600.into(),
                0,
            )
            .expect("a pipe can be made");
            let mut writer = Command::new("sh")
                .args(["-c", "cat > \"$1\"", "sh"])
                .arg(&fifo)
                .stdin(Stdio::piped())
                .spawn()
                .expect("sh is there");
            let mut stdin = writer.stdin.take().expect("it is piped");
            let bytes = bytes.to_vec();
            let feeding = std::thread::spawn(move || stdin.write_all(&bytes));

            let output = limited(command, &[&fifo]);

            feeding.join().expect("it ends").expect("it is read");
            writer.wait().expect("it ends");
            assert!(output.status.success(), "{name} {command}: {output:?}");
            let file = stage.file("kept", &*KEPT);
            assert!(
                output.stdout == limited(command, &[&file]).stdout,
                "{name} {command}"
            );
        }
    }
}
