//! The davylamp binary: the command line, nothing else.

fn main() {}
