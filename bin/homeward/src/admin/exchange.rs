//! CSV, out and in: `homeward admin export` and `homeward admin import`.
//!
//! | module | does |
//! |---|---|
//! | [`sheet`] | a CSV file read whole, and what is wrong with it, by line and column |
//! | [`out`] | the export |
//! | [`records`] | the import of classes, accounts, gateways and networks |
//! | [`hybrid`] | the import of gateways that are hybrid devices: after the networks they are of |
//! | [`devices`] | the import of devices, in batches |
//! | [`subscribers`] | the import of subscribers, in batches |
//! | [`keys`] | the file for keys that an import makes |
//!
//! An import reads and checks every line before it writes anything: it writes all, or says what
//! is wrong with which line. What only the datastore can refuse stops it at that line.

use std::fmt;
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use homeward_daemon::{Exit, ExitContext};
use serde::Serialize;

use super::Context;
use keys::KeysFile;
use sheet::{Problems, Sheet};

mod devices;
mod hybrid;
mod keys;
mod out;
mod records;
mod sheet;
mod subscribers;

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  homeward admin export account > accounts.csv
  homeward admin export device --out devices.csv
  homeward admin export device --with-keys --out devices-with-keys.csv

The first line names the columns. Keys and secrets are only written with --with-keys, and then only
to a new file of mode 0600.")]
pub(super) struct ExportArgs {
    /// Which records
    entity: What,
    /// Write to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write keys and secrets too; --out must be a new file
    #[arg(long, requires = "out")]
    with_keys: bool,
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  homeward admin import account accounts.csv
  homeward admin import device devices.csv --keys-out new-keys.csv
  homeward admin import device devices.csv --update --dry-run

The first line names the columns, as `homeward admin export` writes them; their order is free:
  class    name, and if you like coverage priority bandwidth_up bandwidth_down quota encryption
           anchor bonding handoff_threshold session_timeout idle_timeout vlan retention
  account  name class, and status
  gateway  name mac place operator, and address lookup status site radius_secret
  network  account ssid security, and gateway status
  device   account ssid mac, and label status passphrase psk
  hybrid   name account ssid mac place operator, and status: hybrid devices, which are gateways too
  subscriber  imsi account, and msisdn label status
A column that is left out has its default, or with --update stays as it is. Every line is checked
before anything is written.")]
pub(super) struct ImportArgs {
    /// Which records
    entity: What,
    /// The CSV file
    file: PathBuf,
    /// Change records that are there already, instead of refusing the file
    #[arg(long)]
    update: bool,
    /// Check the file and count, but write nothing
    #[arg(long)]
    dry_run: bool,
    /// Make the keys that the file leaves out, and write them to this new file (mode 0600)
    #[arg(long, value_name = "FILE")]
    keys_out: Option<PathBuf>,
}

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Class,
    Account,
    Gateway,
    Network,
    Device,
    /// Hybrid devices: gateways that refer to networks, which refer to gateways
    Hybrid,
    Subscriber,
}

impl What {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Account => "account",
            Self::Gateway => "gateway",
            Self::Network => "network",
            Self::Device => "device",
            Self::Hybrid => "hybrid",
            Self::Subscriber => "subscriber",
        }
    }

    /// All columns, in the order of an export; those that hold keys last.
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Class => &[
                "name",
                "coverage",
                "priority",
                "bandwidth_up",
                "bandwidth_down",
                "quota",
                "encryption",
                "anchor",
                "bonding",
                "handoff_threshold",
                "session_timeout",
                "idle_timeout",
                "vlan",
                "retention",
            ],
            Self::Account => &["name", "class", "status"],
            Self::Gateway => &[
                "name",
                "mac",
                "place",
                "operator",
                "address",
                "lookup",
                "status",
                "site",
                "radius_secret",
            ],
            Self::Network => &["account", "ssid", "security", "gateway", "status"],
            Self::Device => &["account", "ssid", "mac", "label", "status", "passphrase", "psk"],
            Self::Hybrid => &["name", "account", "ssid", "mac", "place", "operator", "status"],
            Self::Subscriber => &["imsi", "msisdn", "account", "label", "status"],
        }
    }

    /// How many of the columns, the last ones, hold keys.
    const fn secret_columns(self) -> usize {
        match self {
            Self::Class | Self::Account | Self::Network | Self::Hybrid | Self::Subscriber => 0,
            Self::Gateway => 1,
            Self::Device => 2,
        }
    }

    /// Columns that a file to import must have.
    const fn required(self) -> &'static [&'static str] {
        match self {
            Self::Class => &["name"],
            Self::Account => &["name", "class"],
            Self::Gateway => &["name", "mac", "place", "operator"],
            Self::Network => &["account", "ssid", "security"],
            Self::Device => &["account", "ssid", "mac"],
            Self::Hybrid => &["name", "account", "ssid", "mac", "place", "operator"],
            Self::Subscriber => &["imsi", "account"],
        }
    }
}

impl ImportArgs {
    /// Whether it writes nothing.
    pub(super) const fn is_dry(&self) -> bool {
        self.dry_run
    }
}

pub(super) async fn export(args: ExportArgs, cx: &mut Context<'_>) -> anyhow::Result<()> {
    out::export(args, cx).await
}

pub(super) async fn import(args: ImportArgs, cx: &mut Context<'_>) -> anyhow::Result<()> {
    let sheet = Sheet::read(&args.file, args.entity.columns(), args.entity.required())?;
    let mut import = Import {
        sheet: &sheet,
        update: args.update,
        dry_run: args.dry_run,
        problems: Problems::new(&args.file),
        keys: args.keys_out.as_deref().map(|path| KeysFile::new(path, args.entity)),
        progress: Progress::new(args.entity, sheet.rows.len(), cx.json),
        tally: Tally::new(&args),
    };
    match args.entity {
        What::Class => records::classes(&mut import, cx).await?,
        What::Account => records::accounts(&mut import, cx).await?,
        What::Gateway => records::gateways(&mut import, cx).await?,
        What::Network => records::networks(&mut import, cx).await?,
        What::Device => devices::devices(&mut import, cx).await?,
        What::Hybrid => hybrid::devices(&mut import, cx).await?,
        What::Subscriber => subscribers::subscribers(&mut import, cx).await?,
    }
    import.progress.end();
    let keys = import.keys.as_mut().map(KeysFile::finish).transpose()?.flatten();
    import.tally.keys_out = keys;
    let tally = import.tally;
    cx.show(&tally, || tally.to_string())
}

/// An import under way.
struct Import<'a> {
    sheet: &'a Sheet,
    update: bool,
    dry_run: bool,
    problems: Problems,
    keys: Option<KeysFile>,
    progress: Progress,
    tally: Tally,
}

/// What is to be done with a line.
enum Step<New, Change> {
    Create(New),
    Update(Change),
    Same,
}

impl Import<'_> {
    /// A record that is there already: a problem, unless it may be changed.
    fn may_update(&mut self, line: u64, column: &'static str, what: impl fmt::Display) {
        if !self.update {
            let message = format!("{what} exists already: use --update to change it");
            self.problems.add(line, column, message);
        }
    }

    /// Ends the checking: an error if there was any problem.
    fn checked(&mut self) -> anyhow::Result<()> {
        self.problems.end().exit(Exit::Data)
    }

    /// Counts a line that is done.
    fn count<N, C>(&mut self, step: &Step<N, C>) {
        match step {
            Step::Create(_) => self.tally.created += 1,
            Step::Update(_) => self.tally.updated += 1,
            Step::Same => self.tally.unchanged += 1,
        }
        self.progress.step();
    }

    /// The datastore refused a line that looked well.
    fn refused(&self, line: u64, error: impl Into<anyhow::Error>) -> anyhow::Error {
        let place = format!("{}:{line}", self.sheet.file.display());
        let done = self.tally.created + self.tally.updated;
        let before = match done {
            0 => "nothing was written".to_owned(),
            1 => "1 record before it was written; --update takes it again".to_owned(),
            n => format!("{n} records before it were written; --update takes them again"),
        };
        let error = Err::<(), _>(error.into())
            .with_context(|| format!("{place}: refused by the datastore, {before}"))
            .exit(Exit::Data);
        match error {
            Err(error) => error,
            Ok(()) => anyhow::anyhow!("{place}: refused"),
        }
    }
}

/// What an import came to.
#[derive(Debug, Serialize)]
struct Tally {
    entity: &'static str,
    dry_run: bool,
    created: usize,
    updated: usize,
    unchanged: usize,
    /// The file with the keys that were made; `None` if none were.
    keys_out: Option<PathBuf>,
}

impl Tally {
    fn new(args: &ImportArgs) -> Self {
        Self {
            entity: args.entity.as_str(),
            dry_run: args.dry_run,
            created: 0,
            updated: 0,
            unchanged: 0,
            keys_out: None,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let would = if self.dry_run { "would be " } else { "" };
        writeln!(
            f,
            "{would}created {}, {would}updated {}, unchanged {}",
            self.created, self.updated, self.unchanged
        )?;
        match &self.keys_out {
            Some(path) => {
                writeln!(f, "new keys written to {}: hand them out, then delete it", path.display())
            }
            None => Ok(()),
        }
    }
}

/// A line on the terminal that tells how far it is; only where many records are to come.
struct Progress {
    entity: What,
    done: usize,
    total: usize,
    shown: bool,
}

impl Progress {
    /// Fewer records need no progress.
    const MANY: usize = 1000;

    fn new(entity: What, total: usize, json: bool) -> Self {
        let shown = total > Self::MANY && !json && stderr().is_terminal();
        Self { entity, done: 0, total, shown }
    }

    fn step(&mut self) {
        self.done += 1;
        if self.shown && self.done.is_multiple_of(self.total / 100 + 1) {
            let entity = self.entity.as_str();
            // That nobody sees it is no failure.
            let _ = write!(stderr().lock(), "\r{entity} {} of {}", self.done, self.total);
        }
    }

    fn end(&self) {
        if self.shown {
            let _ = writeln!(
                stderr().lock(),
                "\r{} {} of {}",
                self.entity.as_str(),
                self.done,
                self.total
            );
        }
    }
}

/// A new file for our eyes only; one that is there is not overwritten.
fn private_file(path: &Path) -> anyhow::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| {
            format!("cannot create {} (keys are written to a new file only)", path.display())
        })
        .exit(Exit::CannotCreate)
}
