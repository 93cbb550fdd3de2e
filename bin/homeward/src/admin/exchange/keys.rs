//! The file for keys that an import makes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use homeward_daemon::{Exit, ExitContext};

use super::{What, private_file};

/// A CSV file with keys, made when the first is written.
pub(super) struct KeysFile {
    path: PathBuf,
    entity: What,
    writer: Option<csv::Writer<std::fs::File>>,
}

impl KeysFile {
    pub(super) fn new(path: &Path, entity: What) -> Self {
        Self { path: path.to_owned(), entity, writer: None }
    }

    /// Writes one line: what names the record, and its key.
    pub(super) fn write(&mut self, cells: &[&str]) -> anyhow::Result<()> {
        let failed = || format!("cannot write {}", self.path.display());
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let mut writer = csv::Writer::from_writer(private_file(&self.path)?);
                let header: &[&str] = match self.entity {
                    What::Device => &["account", "ssid", "mac", "passphrase"],
                    _ => &["name", "radius_secret"],
                };
                writer.write_record(header).with_context(failed).exit(Exit::CannotCreate)?;
                none.insert(writer)
            }
        };
        writer.write_record(cells).with_context(failed).exit(Exit::CannotCreate)
    }

    /// Sees to it that what was written is on disk: before the records are, so that no record has
    /// a key that nobody knows.
    pub(super) fn sync(&mut self) -> anyhow::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let done = writer.flush().and_then(|()| writer.get_ref().sync_data());
        done.with_context(|| format!("cannot write {}", self.path.display()))
            .exit(Exit::CannotCreate)
    }

    /// The file, if there is one.
    pub(super) fn finish(&mut self) -> anyhow::Result<Option<PathBuf>> {
        self.sync()?;
        Ok(self.writer.as_ref().map(|_| self.path.clone()))
    }
}
