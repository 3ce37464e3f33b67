//! Kind `prometheus`: polls a metrics page and carries its families on.

mod line;
pub mod text;
