//! The diagnostic log: for whoever mends pointsman, never evidence. Rolling files in the run's folder, redacted.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::journal::Redactor;

/// Files kept, one a day.
const KEPT: usize = 14;

/// Starts the log; it is written as long as the guard lives. `POINTSMAN_LOG` sets levels as `RUST_LOG` does elsewhere.
pub fn start(run: &Path, redactor: Arc<Redactor>) -> io::Result<WorkerGuard> {
    let folder = run.join("log");
    std::fs::create_dir_all(&folder)?;
    let files = tracing_appender::rolling::Builder::new()
        .rotation(tracing_appender::rolling::Rotation::DAILY)
        .filename_prefix("diagnostic")
        .filename_suffix("log")
        .max_log_files(KEPT)
        .build(folder)
        .map_err(io::Error::other)?;
    let (to, guard) = tracing_appender::non_blocking(files);
    let filter =
        EnvFilter::try_from_env("POINTSMAN_LOG").unwrap_or_else(|_unset| EnvFilter::new("info,hickory_server=warn"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Log { to, redactor })
        .try_init();
    // A second log in one process is not needed: the first one goes on.
    drop(started);
    Ok(guard)
}

#[derive(Clone)]
struct Log {
    to: NonBlocking,
    redactor: Arc<Redactor>,
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Log {
    /// One event comes in one piece, so a secret cannot hide between two.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = self.redactor.redact(&String::from_utf8_lossy(bytes));
        self.to.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
