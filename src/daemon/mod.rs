//! Wiring: which part talks to which, supervision, reload, shutdown.

mod notify;
