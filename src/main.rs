//! The davylamp binary: the command line, nothing else.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("supervise"), Some(folder)) => davylamp::act::supervise::main(Path::new(&folder)),
        _ => ExitCode::FAILURE,
    }
}
