//! Check a file of published answers for the onion layers against the code that ships.
//!
//! Two formats, told apart by their sections: the parts and steps of a layer (`et`, `prf`, `uiv`, `relay`,
//! `client_originate`), and cells through three hops (`forward`, `backward`). Bodies are of 493 or of 1084 bytes.

mod cells;
mod parts;

use crate::hex;
use serde_json::{Map, Value};
use std::io::{self, Write};

const PARTS: [&str; 5] = ["et", "prf", "uiv", "relay", "client_originate"];
const CELLS: [&str; 2] = ["forward", "backward"];

/// How many answers agreed, and which did not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub passed: usize,
    pub failed: Vec<String>,
}

impl Outcome {
    fn note(&mut self, passed: bool, name: impl FnOnce() -> String) {
        if passed {
            self.passed += 1;
        } else {
            self.failed.push(name());
        }
    }
}

/// Check `file`, report on `out`, what is wrong with the file on `errors`. Gives the exit code.
pub fn run(file: &str, out: &mut impl Write, errors: &mut impl Write) -> io::Result<u8> {
    let outcome = std::fs::read_to_string(file)
        .map_err(|error| error.to_string())
        .and_then(|text| check(&text));
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            writeln!(errors, "{file}: {error}")?;
            return Ok(2);
        }
    };
    for name in &outcome.failed {
        writeln!(out, "failed: {name}")?;
    }
    writeln!(out, "{} passed, {} failed", outcome.passed, outcome.failed.len())?;
    Ok(u8::from(!outcome.failed.is_empty()))
}

/// Check the text of a file. An error says why it is not one of ours; it names the section and the number of the vector.
pub fn check(text: &str) -> Result<Outcome, String> {
    let file: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let file = file.as_object().ok_or("not a JSON object")?;
    let sections: Vec<&str> = file.keys().map(String::as_str).filter(|key| *key != "about").collect();
    let outcome = if let Some(known) = all_of(&sections, &PARTS)? {
        by_length(
            parts::body_len(file, &known)?,
            || parts::check::<493>(file, &known),
            || parts::check::<1084>(file, &known),
        )
    } else if let Some(known) = all_of(&sections, &CELLS)? {
        by_length(
            cells::body_len(file, &known)?,
            || cells::check::<493>(file, &known),
            || cells::check::<1084>(file, &known),
        )
    } else {
        Err("no known section".into())
    }?;
    if outcome.passed == 0 && outcome.failed.is_empty() {
        Err("no vectors in it".into())
    } else {
        Ok(outcome)
    }
}

/// The file's sections in the order of `format`, if the first is one of them; then all have to be.
fn all_of<'a>(sections: &[&'a str], format: &[&'static str]) -> Result<Option<Vec<&'a str>>, String> {
    if !sections.iter().any(|section| format.contains(section)) {
        return Ok(None);
    }
    match sections.iter().find(|section| !format.contains(section)) {
        Some(unknown) => Err(format!("unknown section {unknown:?}")),
        None => Ok(Some(sections.to_vec())),
    }
}

fn by_length(
    length: usize,
    short: impl FnOnce() -> Result<Outcome, String>,
    long: impl FnOnce() -> Result<Outcome, String>,
) -> Result<Outcome, String> {
    match length {
        493 => short(),
        1084 => long(),
        other => Err(format!("bodies of {other} bytes; known are 493 and 1084")),
    }
}

/// A value's list.
fn list<'a>(value: Option<&'a Value>, what: &str) -> Result<&'a [Value], String> {
    value
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .ok_or_else(|| format!("{what} is not a list"))
}

/// A value's bytes, of any length.
fn bytes(value: Option<&Value>, what: &str) -> Result<Vec<u8>, String> {
    let text = value.and_then(Value::as_str).ok_or_else(|| format!("{what} is not a string"))?;
    hex::decode(text).map_err(|error| format!("{what}: {error}"))
}

/// A value's bytes, of the length that belongs there.
fn exact<const L: usize>(value: Option<&Value>, what: &str) -> Result<[u8; L], String> {
    let bytes = bytes(value, what)?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| format!("{what} has {length} bytes in place of {L}"))
}

fn section<'a>(file: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    let section = file.get(name);
    // The parts keep their vectors beside the names of the fields, the cells do not.
    list(section.and_then(|section| section.get("vectors")).or(section), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: &str = include_str!("../../test/fixtures/cgo.json");
    const LONG: &str = include_str!("../../test/fixtures/cgo-1084.json");

    fn changed(text: &str, change: impl FnOnce(&mut Value)) -> Result<Outcome, String> {
        let mut file = serde_json::from_str(text).unwrap();
        change(&mut file);
        check(&file.to_string())
    }

    fn flip(value: &mut Value) {
        let mut bytes = hex::decode(value.as_str().unwrap()).unwrap();
        *bytes.first_mut().unwrap() ^= 1;
        *value = hex::encode(&bytes).into();
    }

    #[test]
    fn the_published_files_pass() {
        assert_eq!(
            check(SHORT),
            Ok(Outcome {
                passed: 78,
                failed: vec![]
            })
        );
        assert_eq!(
            check(LONG),
            Ok(Outcome {
                passed: 12,
                failed: vec![]
            })
        );
    }

    #[test]
    fn every_wrong_answer_is_found() {
        for (section, path) in [("et", "/4"), ("prf", "/3"), ("uiv", "/5/0"), ("uiv", "/5/1"), ("relay", "/5/1/1")] {
            let outcome = changed(SHORT, |file| {
                flip(file.pointer_mut(&format!("/{section}/vectors/1{path}")).unwrap())
            })
            .unwrap();
            assert_eq!((outcome.passed, outcome.failed), (77, vec![format!("{section} 2")]));
        }
        for (section, path) in [
            ("relay", "/5/0/1"),
            ("relay", "/5/0/2"),
            ("client_originate", "/4/0/2/0"),
            ("client_originate", "/4/1/0"),
        ] {
            let outcome = changed(SHORT, |file| {
                flip(file.pointer_mut(&format!("/{section}/vectors/0{path}")).unwrap())
            })
            .unwrap();
            assert_eq!((outcome.passed, outcome.failed), (77, vec![format!("{section} 1")]));
        }
        for direction in CELLS {
            let outcome = changed(LONG, |file| {
                flip(file.pointer_mut(&format!("/{direction}/1/cells/0/wire")).unwrap())
            })
            .unwrap();
            assert_eq!((outcome.passed, outcome.failed), (11, vec![format!("{direction} 2, cell 1")]));
            // A wrong seed is wrong in all that follows.
            let outcome = changed(LONG, |file| flip(file.pointer_mut(&format!("/{direction}/0/seeds/1")).unwrap())).unwrap();
            assert_eq!((outcome.passed, outcome.failed.len()), (10, 2));
        }
    }

    #[test]
    fn a_subset_of_the_sections_will_do() {
        let outcome = changed(SHORT, |file| file.as_object_mut().unwrap().retain(|name, _| name == "prf")).unwrap();
        assert_eq!(outcome.passed, 20);
    }

    #[test]
    fn files_of_no_known_format_are_refused() {
        for (text, part) in [
            ("", "not JSON"),
            ("[]", "not a JSON object"),
            ("{}", "no known section"),
            (r#"{"about": "x"}"#, "no known section"),
            (r#"{"vectors": []}"#, "no known section"),
            (r#"{"et": 5}"#, "et is not a list"),
            (r#"{"et": {"vectors": []}}"#, "no vectors in it"),
            (r#"{"forward": []}"#, "no vectors in it"),
            (r#"{"forward": [], "et": []}"#, "unknown section"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        for length in [1, 100, SHORT.len() / 2, SHORT.len() - 3] {
            assert!(check(&SHORT[..length]).unwrap_err().contains("not JSON"));
        }
    }

    #[test]
    fn damaged_vectors_are_named() {
        type Damage = fn(&mut Value);
        let cases: [(&str, &str, Damage, &str); 9] = [
            (
                SHORT,
                "/et/vectors/3/1",
                |v| *v = "00".into(),
                "et 4: KB||KU has 1 bytes in place of 32",
            ),
            (SHORT, "/et/vectors/3/0", |v| *v = 1.into(), "et 4: encrypt is not a boolean"),
            (SHORT, "/prf/vectors/0/1", |v| *v = 2.into(), "prf 1: t is neither 0 nor 1"),
            (SHORT, "/uiv/vectors/0/2", |v| *v = "zz".into(), "uiv 1: H: not hexadecimal"),
            (SHORT, "/relay/vectors/0/1", |v| *v = Value::Null, "relay 1: state is not a list"),
            (
                SHORT,
                "/client_originate/vectors/0/1",
                |v| *v = 9.into(),
                "client_originate 1: no such hop",
            ),
            (
                LONG,
                "/forward/0/cells/0/wire",
                |v| *v = "00".into(),
                "forward 1, cell 1: wire has 1 bytes in place of 1100",
            ),
            (LONG, "/backward/0/seeds", |v| *v = Value::Null, "backward 1: seeds is not a list"),
            (LONG, "/backward/0/seeds", |v| *v = Value::Array(vec![]), "backward 1: no seeds"),
        ];
        for (text, path, damage, expected) in cases {
            let error = changed(text, |file| damage(file.pointer_mut(path).unwrap())).unwrap_err();
            assert_eq!(error, expected);
        }
        let error = changed(LONG, |file| {
            *file.pointer_mut("/backward/0/cells/0/message").unwrap() = "00".repeat(500).into()
        })
        .unwrap_err();
        assert_eq!(error, "bodies of 500 bytes; known are 493 and 1084");
    }

    #[test]
    fn the_report_ends_with_the_count_and_the_code_says_the_same() {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let fixture = |name| format!("{}/../test/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(run(&fixture("cgo-1084.json"), &mut out, &mut errors).unwrap(), 0);
        assert_eq!((out.as_slice(), errors.as_slice()), (&b"12 passed, 0 failed\n"[..], &b""[..]));
        out.clear();
        assert_eq!(run(&fixture("there-is-none.json"), &mut out, &mut errors).unwrap(), 2);
        assert!(out.is_empty() && !errors.is_empty());
    }
}
