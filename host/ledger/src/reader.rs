//! What is read from a ledger, by its writer's process or another.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_accounting::{Day, Figures, Identity, Nas, Period, Record, Session};
use homeward_model::{AccountId, ClassId, Mac, Name, UnixTime};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{QueryBuilder, Row as _};
use tokio_stream::StreamExt as _;

use crate::entry::{Owner, SessionId, User};
use crate::error::{Error, Result};
use crate::export::{ClosingRow, Cursor};
use crate::ledger::Retention;
use crate::open;
use crate::row::{Columns, Row, session_columns};

/// Readers run in parallel up to here; each costs a thread and a page cache.
const READERS: u32 = 4;

/// A user's usage.
pub(crate) const OF_USER: &str = "SELECT account, user_kind, user, day, input, output, \
     input_packets, output_packets, seconds FROM usage \
     WHERE user_kind = ? AND user = ? AND day >= ? AND day < ? ORDER BY day, account";

/// An account's usage.
pub(crate) const OF_ACCOUNT: &str = "SELECT account, user_kind, user, day, input, output, \
     input_packets, output_packets, seconds FROM usage \
     WHERE account = ? AND day >= ? AND day < ? ORDER BY user_kind, user, day";

/// Everybody's usage since a day.
pub(crate) const SINCE: &str = "SELECT account, user_kind, user, day, input, output, \
     input_packets, output_packets, seconds FROM usage WHERE day >= ?";

/// A session's records.
pub(crate) const CHAIN: &str = "WITH RECURSIVE chain (seq) AS ( \
     SELECT newest FROM session WHERE id = ? UNION ALL SELECT r.prev FROM chain c \
     CROSS JOIN record r ON r.seq = c.seq) \
     SELECT r.seq, r.kind, r.received, r.event, r.input, r.output, r.input_packets, \
     r.output_packets, r.seconds FROM chain c CROSS JOIN record r ON r.seq = c.seq \
     ORDER BY r.seq";

/// Sessions that have been kept for long enough.
pub(crate) const ENDED: &str = "SELECT id FROM session s WHERE s.class IS ? AND s.phase = 'closed' \
     AND s.ended < ? AND NOT EXISTS (SELECT 1 FROM closing c WHERE c.session = s.id \
     AND c.seq > ?) ORDER BY s.ended LIMIT ?";

/// The classes that there are sessions of that have ended, from one to the next in the index.
pub(crate) const CLASSES: &str = "WITH RECURSIVE one (class) AS ( \
     SELECT min(class) FROM session WHERE phase = 'closed' AND class > ?1 UNION ALL \
     SELECT (SELECT min(s.class) FROM session s WHERE s.phase = 'closed' AND s.class > one.class) \
     FROM one WHERE one.class IS NOT NULL) SELECT class FROM one WHERE class IS NOT NULL";

/// The last closing that was ever told.
const LAST_TOLD: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'closing'";

/// Open sessions, and when they were heard of.
pub(crate) const SILENT: &str = "SELECT nas, id, heard FROM session WHERE phase <> 'closed' \
     AND (nas, id) > (?, ?) ORDER BY nas, id LIMIT ?";

/// Open sessions whose owner is known, as [`Running`] has them.
pub(crate) const RUNNING: &str = "SELECT s.nas, s.id, n.client, n.identifier, s.name, s.user_kind, \
     s.user, s.heard, s.host, s.station, s.user_name FROM session s CROSS JOIN nas n ON n.id = s.nas \
     WHERE s.phase <> 'closed' AND (s.nas, s.id) > (?, ?) ORDER BY s.nas, s.id LIMIT ?";

/// Whose usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A user's, under whichever account.
    User(User),
    /// An account's, all its users together.
    Account(AccountId),
}

/// The usage of one user on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayUsage {
    /// The account that was charged.
    pub account: AccountId,
    /// The user.
    pub user: User,
    /// The day.
    pub day: Day,
    /// How much.
    pub figures: Figures,
}

/// A session, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Its key.
    pub id: SessionId,
    /// Who reports it.
    pub nas: Nas,
    /// Its Acct-Session-Id.
    pub session_id: String,
    /// Whose it is, if that is known.
    pub owner: Option<Owner>,
    /// The session.
    pub session: Session,
}

/// An open session, as far as it takes to have its NAS end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Who reports it.
    pub nas: Nas,
    /// Its Acct-Session-Id.
    pub session_id: String,
    /// Who uses it.
    pub user: User,
    /// When it was last heard of.
    pub heard: UnixTime,
    /// Where from, if that was written down.
    pub host: Option<IpAddr>,
    /// The device.
    pub station: Option<Mac>,
    /// User-Name.
    pub user_name: Option<Identity>,
}

/// Where a slice of [`LedgerReader::running`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningPlace(i64, i64);

/// Which open sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenFilter {
    /// Those of this account.
    pub account: Option<AccountId>,
    /// Those of this user.
    pub user: Option<User>,
    /// Those after this one.
    pub after: Option<SessionId>,
}

/// A record, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView {
    /// Its place in the order of arrival.
    pub seq: i64,
    /// What it says.
    pub kind: homeward_accounting::Kind,
    /// When it came.
    pub received: UnixTime,
    /// Its Event-Timestamp.
    pub event: Option<UnixTime>,
    /// Its figures.
    pub figures: Figures,
}

/// A ledger that is read. Its writer goes on meanwhile.
pub struct LedgerReader {
    path: PathBuf,
    pool: SqlitePool,
}

impl fmt::Debug for LedgerReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl LedgerReader {
    /// Opens a ledger to read it only, while another process may write to it.
    ///
    /// # Errors
    /// [`OpenError`](crate::OpenError) where the path is no ledger of this version, or others may
    /// read it.
    pub async fn open(path: &Path) -> Result<Self> {
        let busy_timeout = Duration::from_secs(5);
        open::check(path, busy_timeout).await?;
        Ok(Self::connect(path, busy_timeout))
    }

    pub(crate) fn connect(path: &Path, busy_timeout: Duration) -> Self {
        let pool = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(open::reader(path, busy_timeout));
        Self { path: path.to_owned(), pool }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes its connections.
    pub async fn close(self) {
        self.pool.close().await;
    }

    /// What somebody has used in a period.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn usage(&self, subject: Subject, period: Period) -> Result<Figures> {
        let days = self.usage_by_day(subject, period).await?;
        Ok(days.iter().map(|day| day.figures).fold(Figures::ZERO, Figures::plus))
    }

    /// What somebody has used in a period, by account, user and day.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn usage_by_day(&self, subject: Subject, period: Period) -> Result<Vec<DayUsage>> {
        let query = match subject {
            Subject::User(user) => {
                let (kind, number) = user.parts();
                sqlx::query(OF_USER).bind(kind).bind(number)
            }
            Subject::Account(id) => sqlx::query(OF_ACCOUNT).bind(id.0),
        };
        let query = query.bind(period.first.0).bind(period.end.0);
        let rows = query.fetch_all(&self.pool).await;
        let mut days = self.rows(rows, |row| Ok(day_usage(row)?))?;
        days.sort_unstable_by_key(|day| (day.account, day.user, day.day));
        Ok(days)
    }

    /// Hands over what everybody has used on `day` and since, user by user and day by day, as it
    /// is read: there may be millions.
    ///
    /// # Errors
    /// If it cannot be read to the end.
    pub async fn each_usage_since(&self, day: Day, mut each: impl FnMut(DayUsage)) -> Result<()> {
        let mut rows = sqlx::query(SINCE).bind(day.0).fetch(&self.pool);
        while let Some(row) = rows.try_next().await.map_err(|e| self.unread(e))? {
            each(day_usage(&row).map_err(|e| self.unread(e))?);
        }
        Ok(())
    }

    /// The sessions that go on, in the order in which they were first heard of.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn open_sessions(&self, filter: OpenFilter, limit: u32) -> Result<Vec<SessionView>> {
        const OPEN: &str = concat!(
            "SELECT ",
            session_columns!(),
            ", n.client, n.identifier FROM session s JOIN nas n ON n.id = s.nas \
             WHERE s.phase <> 'closed' AND s.id > "
        );
        let mut query = QueryBuilder::new(OPEN);
        query.push_bind(filter.after.map_or(i64::MIN, |id| id.0));
        if let Some((kind, number)) = filter.user.map(User::parts) {
            query.push(" AND s.user_kind = ").push_bind(kind);
            query.push(" AND s.user = ").push_bind(number);
        }
        if let Some(account) = filter.account {
            query.push(" AND s.account = ").push_bind(account.0);
        }
        query.push(" ORDER BY s.id LIMIT ").push_bind(limit);
        self.rows(query.build().fetch_all(&self.pool).await, session_view)
    }

    /// The sessions that go on and whose owner is known, a slice at a time: of at most `limit`
    /// that are open, and where the next slice begins, if there is one.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn running(
        &self,
        after: Option<RunningPlace>,
        limit: u32,
    ) -> Result<(Vec<Running>, Option<RunningPlace>)> {
        let RunningPlace(nas, id) = after.unwrap_or(RunningPlace(i64::MIN, i64::MIN));
        let query = sqlx::query(RUNNING).bind(nas).bind(id).bind(limit);
        let rows = query.fetch_all(&self.pool).await;
        let sessions = self.rows(rows, running)?;
        let full = sessions.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let next = sessions.last().filter(|_| full).map(|(place, _)| *place);
        Ok((sessions.into_iter().filter_map(|(_, running)| running).collect(), next))
    }

    /// A session, open or not.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn session(&self, id: SessionId) -> Result<Option<SessionView>> {
        const BY_ID: &str = concat!(
            "SELECT ",
            session_columns!(),
            ", n.client, n.identifier FROM session s JOIN nas n ON n.id = s.nas WHERE s.id = ?"
        );
        let rows = sqlx::query(BY_ID).bind(id.0).fetch_all(&self.pool).await;
        Ok(self.rows(rows, session_view)?.pop())
    }

    /// The sessions that a NAS has reported under one Acct-Session-Id, the oldest first.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn sessions_named(&self, nas: &Nas, session_id: &str) -> Result<Vec<SessionView>> {
        const NAMED: &str = concat!(
            "SELECT ",
            session_columns!(),
            ", n.client, n.identifier FROM nas n JOIN session s ON s.nas = n.id \
             WHERE n.client = ? AND n.identifier = ? AND s.name = ? ORDER BY s.id"
        );
        let query = sqlx::query(NAMED).bind(nas.client.as_str()).bind(&nas.identifier);
        self.rows(query.bind(session_id).fetch_all(&self.pool).await, session_view)
    }

    /// The records of a session, in the order in which they came.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn records(&self, id: SessionId) -> Result<Vec<RecordView>> {
        let rows = sqlx::query(CHAIN).bind(id.0).fetch_all(&self.pool).await;
        self.rows(rows, |row| {
            let mut columns = Columns::from(row, 0);
            let (seq, word): (i64, &str) = (columns.next()?, columns.next()?);
            let kind = homeward_accounting::Kind::ALL.iter().find(|(k, _)| k.as_str() == word);
            let kind =
                kind.ok_or(Error::Unknown { what: "record.kind", value: word.to_owned() })?;
            Ok(RecordView {
                seq,
                kind: kind.0,
                received: UnixTime(columns.next()?),
                event: columns.next::<Option<i64>>()?.map(UnixTime),
                figures: columns.figures()?,
            })
        })
    }

    /// What billing is told, after the entry that `after` stands behind: the ends of sessions,
    /// and corrections of them. The order never changes, and nothing is ever inserted before what
    /// was read.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn closings(&self, after: Cursor, limit: u32) -> Result<Vec<ClosingRow>> {
        let rows = sqlx::query(crate::export::AFTER).bind(after.0).bind(limit);
        self.rows(rows.fetch_all(&self.pool).await, ClosingRow::read)
    }

    /// Behind the last of all closings: where somebody is who has read everything.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn last_closing(&self) -> Result<Cursor> {
        let last = sqlx::query_scalar(LAST_TOLD).fetch_optional(&self.pool).await;
        Ok(Cursor(last.map_err(|e| self.unread(e))?.unwrap_or(0)))
    }

    /// The classes of service that there are sessions of that have ended: those that exist no
    /// more, too.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn classes_ended(&self) -> Result<Vec<ClassId>> {
        let classes = sqlx::query_scalar(CLASSES).bind(i64::MIN).fetch_all(&self.pool).await;
        Ok(classes.map_err(|e| self.unread(e))?.into_iter().map(ClassId).collect())
    }

    /// Open sessions not heard of since, in slices of all that are open; the second value is
    /// where the next slice begins.
    pub(crate) async fn silent_since(
        &self,
        since: UnixTime,
        after: Option<(i64, i64)>,
        limit: u32,
    ) -> Result<(Vec<i64>, Option<(i64, i64)>)> {
        let (nas, id) = after.unwrap_or((i64::MIN, i64::MIN));
        // Looking costs less than closing.
        let limit = limit.saturating_mul(8);
        let query = sqlx::query_as::<_, (i64, i64, i64)>(SILENT).bind(nas).bind(id).bind(limit);
        let rows = query.fetch_all(&self.pool).await.map_err(|e| self.unread(e))?;
        let full = rows.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let next = rows.last().filter(|_| full).map(|(nas, id, _)| (*nas, *id));
        let silent = rows.into_iter().filter(|(_, _, heard)| *heard < since.0);
        Ok((silent.map(|(_, id, _)| id).collect(), next))
    }

    /// Sessions that have been kept for long enough.
    pub(crate) async fn ended_before(&self, rule: &Retention, limit: u32) -> Result<Vec<i64>> {
        let query = sqlx::query_scalar(ENDED)
            .bind(rule.class.map(|c| c.0))
            .bind(rule.before.0)
            .bind(rule.exported.map_or(i64::MAX, |c| c.0))
            .bind(limit);
        query.fetch_all(&self.pool).await.map_err(|e| self.unread(e))
    }

    fn rows<T>(
        &self,
        rows: Result<Vec<SqliteRow>, sqlx::Error>,
        read: impl Fn(&SqliteRow) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>> {
        let rows = rows.map_err(|e| self.unread(e))?;
        let read = rows.iter().map(|row| {
            read(row).map_err(|e| match e {
                Unreadable::Sql(e) => self.unread(e),
                Unreadable::Word(e) => e,
            })
        });
        read.collect()
    }

    fn unread(&self, error: sqlx::Error) -> Error {
        Error::Read { path: self.path.clone(), source: Box::new(error) }
    }
}

/// Why a row is not what it should be.
pub(crate) enum Unreadable {
    Sql(sqlx::Error),
    Word(Error),
}

impl From<sqlx::Error> for Unreadable {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        Self::Word(error)
    }
}

fn day_usage(row: &SqliteRow) -> std::result::Result<DayUsage, sqlx::Error> {
    let mut columns = Columns::from(row, 0);
    Ok(DayUsage {
        account: AccountId(columns.next()?),
        user: columns.user()?,
        day: Day(columns.next()?),
        figures: columns.figures()?,
    })
}

/// Reads the columns of [`RUNNING`]; `None` for a session of nobody's.
fn running(row: &SqliteRow) -> Result<(RunningPlace, Option<Running>), Unreadable> {
    let mut columns = Columns::from(row, 0);
    let place = RunningPlace(columns.next()?, columns.next()?);
    let (client, identifier, session_id): (&str, _, _) =
        (columns.next()?, columns.next()?, columns.next()?);
    let (kind, number): (Option<&str>, Option<i64>) = (columns.next()?, columns.next()?);
    let user = kind.zip(number).and_then(|(kind, number)| User::from_parts(kind, number));
    let Some(user) = user else { return Ok((place, None)) };
    let running = Running {
        nas: nas(client, identifier)?,
        session_id,
        user,
        heard: UnixTime(columns.next()?),
        host: columns.host()?,
        station: columns.mac()?,
        user_name: columns.identity()?,
    };
    Ok((place, Some(running)))
}

/// Reads [`session_columns`], the client and the identifier.
fn session_view(row: &SqliteRow) -> Result<SessionView, Unreadable> {
    let Row { id, name, owner, session, .. } = Row::read(row)?;
    let nas = nas(row.try_get("client")?, row.try_get("identifier")?)?;
    Ok(SessionView { id: SessionId(id), nas, session_id: name, owner, session })
}

pub(crate) fn nas(client: &str, identifier: String) -> Result<Nas, Unreadable> {
    let unknown = |_| Error::Unknown { what: "nas.client", value: client.to_owned() };
    let client = client.parse::<Name>().map_err(unknown)?;
    Ok(Nas { client, identifier })
}

impl RecordView {
    /// Whether it is that record.
    pub fn is(&self, record: &Record) -> bool {
        let id = record.id();
        (self.kind, self.event, self.figures) == (id.kind, id.event, id.figures)
    }
}
