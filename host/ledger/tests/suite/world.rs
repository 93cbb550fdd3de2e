//! What the tests share: a directory, a ledger in it, and records by hand.

use std::path::PathBuf;

use homeward_accounting::testing::{nas, record};
use homeward_accounting::{Figures, Kind, Period, Record};
use homeward_ledger::{
    Cursor, Entry, Ledger, OpenFilter, Options, Owner, Receipt, SessionView, Settings, Subject,
    User,
};
use homeward_model::{AccountId, ClassId, DeviceId, QuotaPeriod, UnixTime};
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

/// When everything begins: 2027-01-15 08:00 UTC.
pub(crate) const BEGAN: UnixTime = UnixTime(1_800_000_000_000);

pub(crate) fn at(seconds: i64) -> UnixTime {
    UnixTime(BEGAN.0 + seconds * 1000)
}

pub(crate) fn owner(device: i64) -> Owner {
    Owner {
        account: AccountId(device / 10),
        user: User::Device(DeviceId(device)),
        class: ClassId(1),
    }
}

/// A record of `gw-17`, that came when it was sent.
pub(crate) fn entry(name: &str, kind: Kind, seconds: u32, octets: u64) -> Entry {
    came(record(nas("gw-17"), name, kind, BEGAN, seconds, (octets, octets * 2)))
}

pub(crate) fn came(record: Record) -> Entry {
    let received = record.event.unwrap_or(BEGAN);
    Entry { record, received, owner: Some(owner(11)), host: None }
}

/// A ledger in a directory of its own.
pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) ledger: Ledger,
    pub(crate) settings: Settings,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("ledger.db");
        let ledger = Options::new(path).settings(settings).open().await.unwrap();
        Self { directory, ledger, settings }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("ledger.db")
    }

    /// The same ledger, closed and opened again.
    pub(crate) async fn reopened(self) -> Self {
        let path = self.path();
        let Self { directory, ledger, settings } = self;
        ledger.close().await;
        let ledger = Options::new(path).settings(settings).open().await.unwrap();
        Self { directory, ledger, settings }
    }

    /// The ledger as another machine would find it if this one died right now: what is on disk is
    /// opened elsewhere. The file first: what is being folded into it is still in the log.
    pub(crate) async fn crashed(self) -> Self {
        let directory = TempDir::new().unwrap();
        for name in ["ledger.db", "ledger.db-wal"] {
            let from = self.directory.path().join(name);
            if from.exists() {
                std::fs::copy(from, directory.path().join(name)).unwrap();
            }
        }
        let path = directory.path().join("ledger.db");
        let ledger = Options::new(path).settings(self.settings).open().await.unwrap();
        Self { directory, ledger, settings: self.settings }
    }

    pub(crate) async fn submit(&self, entry: Entry) -> Receipt {
        self.ledger.submit(entry).unwrap().await.unwrap()
    }

    pub(crate) async fn report(&self, kind: Kind, seconds: u32, octets: u64) -> Receipt {
        self.submit(entry("a-1", kind, seconds, octets)).await
    }

    /// What a device has used in the month of [`BEGAN`].
    pub(crate) async fn usage(&self, device: i64) -> Figures {
        let month = Period::of(QuotaPeriod::Month, BEGAN);
        let subject = Subject::User(User::Device(DeviceId(device)));
        self.ledger.reader().usage(subject, month).await.unwrap()
    }

    /// The sessions of `gw-17` under that name.
    pub(crate) async fn sessions(&self, name: &str) -> Vec<SessionView> {
        self.ledger.reader().sessions_named(&nas("gw-17"), name).await.unwrap()
    }

    /// The only one.
    pub(crate) async fn session(&self, name: &str) -> SessionView {
        let mut found = self.sessions(name).await;
        assert_eq!(found.len(), 1, "{name}");
        found.remove(0)
    }

    /// What a query of one number gives, past the ledger's own reading.
    pub(crate) async fn rows(&self, query: &'static str) -> i64 {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.path());
        let mut connection = options.connect().await.unwrap();
        let number = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        number
    }

    /// What billing was told, as kind, cause and octets.
    pub(crate) async fn told(&self) -> Vec<(&'static str, &'static str, u64)> {
        let rows = self.ledger.reader().closings(Cursor::default(), 5000).await.unwrap();
        rows.iter().map(|r| (r.kind.as_str(), r.end.cause.as_str(), r.delta.input)).collect()
    }

    /// Waits until no more than so many sessions are open: until those that a restart has ended
    /// are closed.
    pub(crate) async fn until_open(&self, count: usize) {
        loop {
            let open = self.ledger.reader().open_sessions(OpenFilter::default(), 5000).await;
            if open.unwrap().len() <= count {
                return;
            }
        }
    }
}
