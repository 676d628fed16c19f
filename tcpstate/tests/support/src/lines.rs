//! Lines of the output, by the million, held against the schema.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::{Value, json};
use tcpstate::export::schema;

/// Lines between two that are held against the schema as it is published.
const WHOLE_EVERY: u64 = 500;

/// The schema, taken apart: a line can only be of the variant that has its
/// `event`, and trying the others takes all the time.
pub struct Lines {
    whole: Validator,
    by_event: BTreeMap<String, Validator>,
    /// Lines that were held against it, by event.
    pub counts: BTreeMap<String, u64>,
    checked: u64,
}

impl Lines {
    /// Reads the schema.
    pub fn of_the_schema() -> Self {
        let schema = schema::schema().to_value();
        let whole = jsonschema::validator_for(&schema).expect("the schema is one");
        let line = &schema["$defs"]["EventLine"];
        let variants = line["oneOf"].as_array().expect("there are several");
        let by_event = variants
            .iter()
            .map(|variant| {
                let name = variant["properties"]["event"]["const"].as_str();
                let alone = json!({
                    "$schema": schema["$schema"],
                    "$defs": schema["$defs"],
                    "type": line["type"],
                    "properties": line["properties"],
                    "required": line["required"],
                    "allOf": [variant],
                });
                let validator = jsonschema::validator_for(&alone).expect("the schema is one");
                (name.expect("it has a name").to_owned(), validator)
            })
            .collect();
        Self {
            whole,
            by_event,
            counts: BTreeMap::new(),
            checked: 0,
        }
    }

    /// Fails if the line is not of the schema.
    #[track_caller]
    pub fn check(&mut self, line: &str) {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let event = value["event"].as_str().unwrap_or_default();
        let validator = self
            .by_event
            .get(event)
            .unwrap_or_else(|| panic!("the schema has no event {event:?}: {line}"));
        if !validator.is_valid(&value) {
            let why: Vec<String> = validator
                .iter_errors(&value)
                .map(|error| error.to_string())
                .collect();
            panic!("not of the schema: {why:?}: {line}");
        }
        if self.checked.is_multiple_of(WHOLE_EVERY) {
            assert!(self.whole.is_valid(&value), "not of the schema: {line}");
        }
        self.checked += 1;
        match self.counts.get_mut(event) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(event.to_owned(), 1)),
        }
    }

    /// All lines that were checked.
    pub fn total(&self) -> u64 {
        self.checked
    }
}
