//! What can be typed after `davylamp audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::StatePath;

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check the chain: records that were changed, removed or reordered.
    ///
    /// A log whose end was cut off together with its head looks whole: compare it with a head that the daemon logged
    /// (`audit log head=…`) or that an export holds.
    Verify {
        #[command(flatten)]
        state: StatePath,
        /// A head that was seen elsewhere and that the log must hold.
        #[arg(long, value_name = "SEQ:HASH")]
        anchor: Vec<davylamp::audit::Link>,
    },
    /// Print records, one line each, newest last.
    List(AuditRange),
    /// Write all records as JSON lines with their digests into a new file, the head as the last line.
    Export {
        #[command(flatten)]
        state: StatePath,
        /// File to write.
        #[arg(long, short)]
        output: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct AuditRange {
    #[command(flatten)]
    pub state: StatePath,
    /// Only of this run, or path.
    #[arg(long, value_name = "ID")]
    pub subject: Option<String>,
    /// At most so many, the newest.
    #[arg(long, short = 'n', default_value_t = 50)]
    pub limit: usize,
}
