//! One transaction's worth of entries: sessions read, records applied, rows written.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use homeward_accounting::{
    Applied, Cause, Closing, ClosingKind, Day, Figures, Nas, News, Place, Record, Session, Settings,
};
use homeward_model::UnixTime;
use sqlx::sqlite::SqliteConnection;

use crate::bulk::{Bulk, Value};
use crate::cache::{Cache, Key};
use crate::counters::Counters;
use crate::entry::{Counted, Entry, Owner, Receipt, SessionId};
use crate::row::{LOAD, PROGRESS, PUT, Row, push_end, push_figures};

/// How far back a session's records are looked through for one that came again. A repetition
/// follows closely; one from farther back is written down again, and adds nothing either.
const CHAIN: i64 = 256;

/// The most that a usage grows to, so that adding to it never overflows.
const MOST: i64 = 1 << 61;

static RECORDS: LazyLock<Bulk> = LazyLock::new(|| {
    let head = "INSERT INTO record (seq, session, prev, kind, received, event, input, output, \
         input_packets, output_packets, seconds)";
    Bulk::new(head, 11, "")
});

static CLOSINGS: LazyLock<Bulk> = LazyLock::new(|| {
    let head = "INSERT INTO closing (seq, session, kind, told, ended, cause, code, input, output, \
         input_packets, output_packets, seconds, total_input, total_output, total_input_packets, \
         total_output_packets, total_seconds)";
    Bulk::new(head, 17, "")
});

static USAGE: LazyLock<Bulk> = LazyLock::new(|| {
    const COLUMNS: [&str; 5] = ["input", "output", "input_packets", "output_packets", "seconds"];
    let set = COLUMNS.map(|c| format!("{c} = min({c} + excluded.{c}, {MOST})")).join(", ");
    let tail = format!("ON CONFLICT (account, user_kind, user, day) DO UPDATE SET {set}");
    Bulk::new("INSERT INTO usage", 9, &tail)
});

/// Whether a session has a record: back from its newest.
pub(crate) const HAS: &str = "WITH RECURSIVE chain (seq, depth) AS ( \
             SELECT ?1, 0 UNION ALL SELECT r.prev, c.depth + 1 FROM chain c \
             CROSS JOIN record r ON r.seq = c.seq WHERE c.depth < ?2) \
             SELECT count(*) FROM chain c CROSS JOIN record r ON r.seq = c.seq \
             WHERE r.kind = ?3 AND r.event IS ?4 AND r.input = ?5 AND r.output = ?6 \
             AND r.input_packets = ?7 AND r.output_packets = ?8 AND r.seconds = ?9";

/// The last identifiers that were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sequences {
    session: i64,
    record: i64,
    closing: i64,
}

impl Sequences {
    pub(crate) async fn read(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT name, seq FROM sqlite_sequence").fetch_all(connection).await?;
        let last = |table: &str| rows.iter().find(|(n, _)| n == table).map_or(0, |(_, seq)| *seq);
        Ok(Self { session: last("session"), record: last("record"), closing: last("closing") })
    }
}

fn next(last: &mut i64) -> i64 {
    *last += 1;
    *last
}

/// What is known outside the database, and thrown away when a transaction fails.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) sessions: Cache,
    pub(crate) nases: HashMap<Nas, i64>,
    pub(crate) sequences: Sequences,
}

/// The most NASes in memory.
const NASES: usize = 65_536;

/// A session in a transaction.
struct Touched {
    row: Row,
    /// As it is in the database; `None` for a new one.
    stored: Option<Row>,
}

/// A transaction in the making.
pub(crate) struct Batch<'a> {
    connection: &'a mut SqliteConnection,
    known: &'a mut Known,
    settings: &'a Settings,
    /// The sessions of each key, the oldest first; keys into `touched`.
    keys: BTreeMap<Key, Vec<i64>>,
    touched: BTreeMap<i64, Touched>,
    /// What the batch adds to [`RECORDS`]; sequence number, session and record of each.
    records: Vec<(i64, i64, Record)>,
    record_rows: Vec<Value>,
    closing_rows: Vec<Value>,
    usage: BTreeMap<(Owner, Day), Figures>,
    /// What else is to be forgotten.
    others: Vec<Key>,
    tally: Tally,
}

/// What the counters grow by if the transaction is committed.
#[derive(Default)]
struct Tally {
    repeated: u64,
    began: u64,
    backwards: u64,
    corrected: u64,
    stopped: u64,
    restarted: u64,
    lost: u64,
    reused: u64,
}

impl<'a> Batch<'a> {
    /// Nothing yet, in the transaction that `connection` is in.
    pub(crate) fn new(
        connection: &'a mut SqliteConnection,
        known: &'a mut Known,
        settings: &'a Settings,
    ) -> Self {
        Self {
            connection,
            known,
            settings,
            keys: BTreeMap::new(),
            touched: BTreeMap::new(),
            records: Vec::new(),
            record_rows: Vec::new(),
            closing_rows: Vec::new(),
            usage: BTreeMap::new(),
            others: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Applies entries, in order, and gives what each did, as it is once the transaction is
    /// committed.
    pub(crate) async fn apply(&mut self, entries: &[Entry]) -> Result<Vec<Receipt>, sqlx::Error> {
        let mut keys = Vec::with_capacity(entries.len());
        for entry in entries {
            let nas = self.nas(&entry.record.nas).await?;
            keys.push((nas, entry.record.session_id.clone()));
        }
        let about_sessions = entries.iter().zip(&keys).filter(|(e, _)| !e.record.kind.is_boot());
        self.load(about_sessions.map(|(_, key)| key)).await?;
        let mut receipts = Vec::with_capacity(entries.len());
        for (entry, key) in entries.iter().zip(keys) {
            receipts.push(match entry.record.kind.is_boot() {
                true => self.restart(key.0, entry).await?,
                false => self.record(key, entry).await?,
            });
        }
        Ok(receipts)
    }

    /// Closes sessions that are open, for a reason that is no Stop; `still` says of each whether
    /// it is to be closed indeed.
    pub(crate) fn close(
        &mut self,
        rows: Vec<Row>,
        cause: Cause,
        now: UnixTime,
        still: impl Fn(&Session) -> bool,
    ) -> u64 {
        let mut closed = 0;
        for row in rows {
            let id = row.id;
            if !still(&row.session) {
                continue;
            }
            self.touched.insert(id, Touched { stored: Some(row.clone()), row });
            self.end(id, cause, now);
            closed += 1;
        }
        closed
    }

    /// Writes it all. The transaction is the caller's to commit, and then [`Done::remember`] is.
    pub(crate) async fn write(mut self) -> Result<Done, sqlx::Error> {
        let (mut put, mut progress) = (Vec::new(), Vec::new());
        for Touched { row, stored } in self.touched.values() {
            match stored {
                Some(stored) if row == stored => {}
                Some(stored) if row.is_progress(stored) => row.put_progress(&mut progress),
                _ => row.put(&mut put),
            }
        }
        let mut usage = Vec::new();
        for ((owner, day), figures) in std::mem::take(&mut self.usage) {
            let (kind, number) = owner.user.parts();
            usage.extend([owner.account.0.into(), kind.into(), number.into(), day.0.into()]);
            push_figures(&mut usage, &figures);
        }
        PROGRESS.run(self.connection, progress).await?;
        PUT.run(self.connection, put).await?;
        RECORDS.run(self.connection, self.record_rows).await?;
        CLOSINGS.run(self.connection, self.closing_rows).await?;
        USAGE.run(self.connection, usage).await?;
        let mut rows: BTreeMap<i64, Row> =
            self.touched.into_iter().map(|(id, touched)| (id, touched.row)).collect();
        let mut sessions = Vec::new();
        for (key, ids) in self.keys {
            let rows: Vec<Row> = ids.iter().filter_map(|id| rows.remove(id)).collect();
            sessions.push((key, rows));
        }
        // What was closed without being asked for by its name.
        self.others.extend(rows.into_values().map(|row| (row.nas, row.name)));
        Ok(Done { sessions, others: self.others, tally: self.tally })
    }

    /// The connection, for what is not about sessions one by one.
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        self.connection
    }

    /// Has the sessions of that key read anew.
    pub(crate) fn forget(&mut self, key: Key) {
        self.others.push(key);
    }

    /// The number of a NAS, given now if it has none.
    async fn nas(&mut self, nas: &Nas) -> Result<i64, sqlx::Error> {
        const FIND: &str = "SELECT id FROM nas WHERE client = ? AND identifier = ?";
        const MAKE: &str = "INSERT INTO nas (client, identifier) VALUES (?, ?) RETURNING id";
        if let Some(id) = self.known.nases.get(nas) {
            return Ok(*id);
        }
        let query = |sql| sqlx::query_scalar(sql).bind(nas.client.as_str()).bind(&nas.identifier);
        let found = query(FIND).fetch_optional(&mut *self.connection).await?;
        let id = match found {
            Some(id) => id,
            None => query(MAKE).fetch_one(&mut *self.connection).await?,
        };
        if self.known.nases.len() >= NASES {
            self.known.nases.clear();
        }
        self.known.nases.insert(nas.clone(), id);
        Ok(id)
    }

    /// Has the sessions of those keys in `keys` and `touched`.
    async fn load<'k>(&mut self, keys: impl Iterator<Item = &'k Key>) -> Result<(), sqlx::Error> {
        let mut wanted = Vec::new();
        for key in keys {
            if self.keys.contains_key(key) {
                continue;
            }
            self.keys.insert(key.clone(), Vec::new());
            match self.known.sessions.get(key).cloned() {
                Some(rows) => rows.into_iter().for_each(|row| self.touch(row)),
                None => wanted.extend([Value::Int(key.0), Value::Text(key.1.clone())]),
            }
        }
        let found = LOAD.fetch(self.connection, wanted).await?;
        let mut found = found.iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
        found.sort_unstable_by_key(|row| row.id);
        found.into_iter().for_each(|row| self.touch(row));
        Ok(())
    }

    fn touch(&mut self, row: Row) {
        self.keys.entry((row.nas, row.name.clone())).or_default().push(row.id);
        self.touched.insert(row.id, Touched { stored: Some(row.clone()), row });
    }

    async fn restart(&mut self, nas: i64, entry: &Entry) -> Result<Receipt, sqlx::Error> {
        const FIND: &str =
            "SELECT count(*) FROM restart WHERE nas = ? AND at = ? AND kind = ? AND bssid IS ?";
        const MAKE: &str =
            "INSERT INTO restart (nas, at, kind, bssid, done) VALUES (?, ?, ?, ?, 0)";
        let record = &entry.record;
        let at = record.at(entry.received, self.settings);
        let bssid = record.bssid.map(|m| m.octets().to_vec());
        let found = sqlx::query_scalar::<_, i64>(FIND).bind(nas).bind(at.0);
        let found = found.bind(record.kind.as_str()).bind(&bssid);
        if found.fetch_one(&mut *self.connection).await? > 0 {
            self.tally.repeated += 1;
            return Ok(Receipt { repeated: true, session: None });
        }
        let make = sqlx::query(MAKE).bind(nas).bind(at.0).bind(record.kind.as_str()).bind(bssid);
        make.execute(&mut *self.connection).await?;
        Ok(Receipt { repeated: false, session: None })
    }

    async fn record(&mut self, key: Key, entry: &Entry) -> Result<Receipt, sqlx::Error> {
        let Entry { record, received, owner, host } = entry;
        let received = *received;
        let place = |id: &i64| {
            self.touched.get(id).map(|t| t.row.session.place(record, received, self.settings))
        };
        let mut ids = self.keys.get(&key).into_iter().flatten().rev();
        let newest = ids.next().copied();
        let (id, applied) = match (newest, newest.as_ref().and_then(place)) {
            (Some(id), Some(Place::Here)) => (id, None),
            (Some(id), Some(Place::Earlier)) => (ids.next().copied().unwrap_or(id), None),
            (newest, _) => {
                if let Some(before) = newest {
                    self.end(before, Cause::Reused, received);
                }
                let (id, applied) = self.begin(key, record, received);
                (id, Some(applied))
            }
        };
        let Some(touched) = self.touched.get_mut(&id) else {
            return Err(sqlx::Error::RowNotFound);
        };
        let row = &mut touched.row;
        let backwards = row.session.backwards;
        let applied = match applied {
            Some(applied) => applied,
            None => row.session.apply(record, received, self.settings),
        };
        self.tally.backwards += u64::from(row.session.backwards.saturating_sub(backwards));
        // Whose it is counts from its beginning, however late it is known.
        let charged = match (row.owner, owner) {
            (Some(_), _) => applied.delta,
            (None, Some(owner)) => {
                row.owner = Some(*owner);
                row.session.figures
            }
            (None, None) => Figures::ZERO,
        };
        row.host = host.or(row.host);
        let owner = row.owner;
        let stored = touched.stored.as_ref().map(|row| row.newest);
        let settled = applied.delta == Figures::ZERO && applied.closing.is_none();
        let repeated = applied.news != News::Began
            && settled
            && self.has(id, stored.unwrap_or(0), record).await?;
        if repeated {
            self.tally.repeated += 1;
        } else {
            self.keep(id, record, received);
        }
        if let Some(owner) = owner.filter(|_| charged != Figures::ZERO) {
            let usage = self.usage.entry((owner, Day::of(applied.at))).or_default();
            *usage = usage.plus(charged);
        }
        if let Some(closing) = applied.closing {
            self.tell(id, &closing, received);
        }
        let session = Counted { id: SessionId(id), owner, applied, charged };
        Ok(Receipt { repeated, session: Some(session) })
    }

    fn begin(&mut self, key: Key, record: &Record, received: UnixTime) -> (i64, Applied) {
        let (session, applied) = Session::begin(record, received, self.settings);
        let id = next(&mut self.known.sequences.session);
        let (nas, name) = key.clone();
        let row = Row { id, nas, name, owner: None, session, newest: 0, host: None };
        self.touched.insert(id, Touched { row, stored: None });
        self.keys.entry(key).or_default().push(id);
        self.tally.began += 1;
        (id, applied)
    }

    /// Ends a session for a reason that is no Stop.
    fn end(&mut self, id: i64, cause: Cause, now: UnixTime) {
        let Some(touched) = self.touched.get_mut(&id) else { return };
        if let Some(closing) = touched.row.session.close(cause) {
            self.tell(id, &closing, now);
        }
    }

    /// Whether the session has that very record already. `stored` is the last of its records in
    /// the database.
    async fn has(&mut self, id: i64, stored: i64, record: &Record) -> Result<bool, sqlx::Error> {
        let same = |(_, of, kept): &(i64, i64, Record)| *of == id && kept.id() == record.id();
        if self.records.iter().any(same) {
            return Ok(true);
        }
        if stored == 0 {
            return Ok(false);
        }
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let f = &record.figures;
        let found = sqlx::query_scalar::<_, i64>(HAS)
            .bind(stored)
            .bind(CHAIN)
            .bind(record.kind.as_str())
            .bind(record.event.map(|t| t.0))
            .bind(number(f.input))
            .bind(number(f.output))
            .bind(number(f.input_packets))
            .bind(number(f.output_packets))
            .bind(number(f.seconds))
            .fetch_one(&mut *self.connection)
            .await?;
        Ok(found > 0)
    }

    /// Writes a record down.
    fn keep(&mut self, id: i64, record: &Record, received: UnixTime) {
        let Some(touched) = self.touched.get_mut(&id) else { return };
        let seq = next(&mut self.known.sequences.record);
        let prev = std::mem::replace(&mut touched.row.newest, seq);
        self.record_rows.extend([seq, id, prev].map(Value::Int));
        self.record_rows.push(record.kind.as_str().into());
        self.record_rows.push(received.0.into());
        self.record_rows.push(record.event.map(|t| t.0).into());
        push_figures(&mut self.record_rows, &record.figures);
        self.records.push((seq, id, record.clone()));
    }

    /// Tells billing.
    fn tell(&mut self, id: i64, closing: &Closing, now: UnixTime) {
        let seq = next(&mut self.known.sequences.closing);
        let rows = &mut self.closing_rows;
        rows.extend([seq, id].map(Value::Int));
        rows.push(closing.kind.as_str().into());
        rows.push(now.0.into());
        push_end(rows, Some(closing.end));
        push_figures(rows, &closing.delta);
        push_figures(rows, &closing.total);
        let tally = match (closing.kind, closing.end.cause) {
            (ClosingKind::Correction, _) => &mut self.tally.corrected,
            (_, Cause::Stop(_)) => &mut self.tally.stopped,
            (_, Cause::Restart) => &mut self.tally.restarted,
            (_, Cause::Lost) => &mut self.tally.lost,
            (_, Cause::Reused) => &mut self.tally.reused,
        };
        *tally += 1;
    }
}

/// What a transaction has done, to be taken in once it is committed.
pub(crate) struct Done {
    sessions: Vec<(Key, Vec<Row>)>,
    others: Vec<Key>,
    tally: Tally,
}

impl Done {
    /// Takes it in.
    pub(crate) fn remember(self, known: &mut Known, counters: &Counters) {
        for key in &self.others {
            known.sessions.forget(key);
        }
        for (key, mut rows) in self.sessions {
            // Whatever comes for one older still is taken for the older of two.
            rows.drain(..rows.len().saturating_sub(2));
            known.sessions.put(key, rows);
        }
        let t = self.tally;
        for (counter, n) in [
            (&counters.repeated, t.repeated),
            (&counters.began, t.began),
            (&counters.backwards, t.backwards),
            (&counters.corrected, t.corrected),
            (&counters.stopped, t.stopped),
            (&counters.restarted, t.restarted),
            (&counters.lost, t.lost),
            (&counters.reused, t.reused),
        ] {
            counter.add(n);
        }
        counters.commits.add(1);
    }
}
