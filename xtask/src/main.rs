//! Tools of this repository that need its Rust code.
//!
//! ```text
//! cargo run --release -p xtask -- vectors FILE   check published answers; last line `N passed, N failed`
//! cargo run --release -p xtask -- oracle         answer the tests' questions, one JSON object a line
//! ```
//!
//! Exit codes: 0 all passed, 1 some failed, 2 wrong usage, or a file that is not of a known format.

#![forbid(unsafe_code)]

mod hex;
mod oracle;
mod vectors;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let code = match arguments.as_slice() {
        ["vectors", file] => vectors::run(file, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()),
        ["oracle"] => oracle::run(&mut std::io::stdin().lock(), &mut std::io::stdout().lock()),
        _ => writeln!(std::io::stderr(), "usage: xtask vectors FILE | xtask oracle").map(|()| 2),
    };
    // A closed pipe is the reader's business; there is nobody left to tell.
    ExitCode::from(code.unwrap_or(1))
}
