//! Mining hardware: one file per firmware family, all of them filling the same families.
