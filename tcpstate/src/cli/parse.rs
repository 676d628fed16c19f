//! Values that several options have, with an error that says how they look.

use std::ops::RangeInclusive;

use bytesize::ByteSize;

use crate::event::State;

pub(super) fn parse_port(text: &str) -> Result<u16, String> {
    match text.trim().parse::<u16>() {
        Ok(0) | Err(_) => Err(format!(
            "`{}` is not a port; ports are 1 to 65535",
            text.trim()
        )),
        Ok(port) => Ok(port),
    }
}

pub(super) fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port =
        |text: &str| parse_port(text).map_err(|why| format!("{why}, ranges look like 8000-8010"));
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if first > last {
        return Err(format!(
            "the range {first}-{last} is empty; write {last}-{first}"
        ));
    }
    Ok(first..=last)
}

/// Smaller parts would be mostly headers.
const MIN_PART: u64 = 64 << 10;

pub(super) fn parse_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|why| format!("{why}; sizes look like 64KiB, 100MB or 1GiB"))?;
    if size.as_u64() < MIN_PART {
        return Err("a part has at least 64KiB".to_owned());
    }
    Ok(size)
}

pub(super) fn parse_state(text: &str) -> Result<State, String> {
    State::from_name(&text.to_ascii_lowercase().replace('-', "_")).ok_or_else(|| {
        let names: Vec<&str> = State::ALL.iter().map(|state| state.name()).collect();
        format!(
            "`{text}` is not a TCP state; the states are {}",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges_are_read() {
        assert_eq!(parse_ports("8080"), Ok(8080..=8080));
        assert_eq!(parse_ports("8000-8010"), Ok(8000..=8010));
    }

    #[test]
    fn what_is_not_a_port_is_refused_with_a_hint() {
        for wrong in ["0", "65536", "http", "-1", "8010-8000", "80-", ""] {
            assert!(parse_ports(wrong).is_err(), "{wrong:?} was taken");
        }
        assert_eq!(
            parse_ports("8010-8000").unwrap_err(),
            "the range 8010-8000 is empty; write 8000-8010"
        );
    }

    #[test]
    fn states_are_read_in_either_spelling() {
        assert_eq!(parse_state("TIME-WAIT"), Ok(State::TimeWait));
        assert_eq!(parse_state("fin_wait_2"), Ok(State::FinWait2));
        assert!(parse_state("waiting").is_err());
    }
}
