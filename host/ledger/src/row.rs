//! Sessions as rows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use homeward_accounting::{Cause, End, Facts, Figures, Identity, Phase, Private, Session};
use homeward_model::{AccountId, ClassId, Mac, UnixTime};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::bulk::{Bulk, Value};
use crate::entry::{Owner, User};

/// The columns that [`Row::read`] takes, in order.
macro_rules! session_columns {
    () => {
        "s.id, s.nas, s.name, s.account, s.user_kind, s.user, s.class, s.phase, s.began, s.last, s.heard, \
         s.input, s.output, s.input_packets, s.output_packets, s.seconds, s.told_input, \
         s.told_output, s.told_input_packets, s.told_output_packets, s.told_seconds, s.ended, \
         s.cause, s.code, s.started, s.gigawords, s.closings, s.backwards, s.newest, s.station, \
         s.bssid, s.user_name, s.chargeable_user, s.radius_class, s.multi_session, s.address, \
         s.address6, s.prefix6, s.host"
    };
}
pub(crate) use session_columns;

/// How many they are.
const COLUMNS: usize = 39;

/// The sessions of a NAS and Acct-Session-Id, of those that share both the newest two.
pub(crate) static LOAD: LazyLock<Bulk> = LazyLock::new(|| {
    let tail = concat!(
        ") SELECT ",
        session_columns!(),
        " FROM wanted CROSS JOIN session s ON s.nas = wanted.nas AND s.name = wanted.name \
         AND s.id >= (SELECT min(id) FROM (SELECT id FROM session WHERE nas = wanted.nas \
         AND name = wanted.name ORDER BY id DESC LIMIT 2))"
    );
    Bulk::new("WITH wanted (nas, name) AS (", 2, tail)
});

/// A session, new or changed.
pub(crate) static PUT: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = session_columns!().replace("s.", "");
    let set: Vec<String> = columns
        .split(", ")
        .map(str::trim)
        .filter(|c| !["id", "nas", "name"].contains(c))
        .map(|c| format!("{c} = excluded.{c}"))
        .collect();
    let tail = format!("ON CONFLICT (id) DO UPDATE SET {}", set.join(", "));
    Bulk::new(&format!("INSERT INTO session ({columns})"), COLUMNS, &tail)
});

/// A session that goes on: what changes with every Interim, and none of it is in an index.
pub(crate) static PROGRESS: LazyLock<Bulk> = LazyLock::new(|| {
    let tail = ") UPDATE session SET last = new.last, heard = new.heard, input = new.input, \
         output = new.output, input_packets = new.input_packets, \
         output_packets = new.output_packets, seconds = new.seconds, \
         gigawords = new.gigawords, backwards = new.backwards, newest = new.newest \
         FROM new WHERE session.id = new.id";
    let head = "WITH new (id, last, heard, input, output, input_packets, output_packets, \
         seconds, gigawords, backwards, newest) AS (";
    Bulk::new(head, 11, tail)
});

/// A session as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) nas: i64,
    pub(crate) name: String,
    pub(crate) owner: Option<Owner>,
    pub(crate) session: Session,
    /// The last of its records.
    pub(crate) newest: i64,
    /// Where they come from.
    pub(crate) host: Option<IpAddr>,
}

impl Row {
    /// Reads the columns of [`session_columns`].
    pub(crate) fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let mut columns = Columns { row, at: 0 };
        let (id, nas, name) = (columns.next()?, columns.next()?, columns.next()?);
        let owner = columns.owner()?;
        let phase: &str = columns.next()?;
        let phase = Phase::ALL.into_iter().find(|p| p.as_str() == phase);
        let session = Session {
            phase: phase.ok_or_else(|| sqlx::Error::ColumnNotFound("phase".to_owned()))?,
            began: UnixTime(columns.next()?),
            last: UnixTime(columns.next()?),
            heard: UnixTime(columns.next()?),
            figures: columns.figures()?,
            told: columns.figures()?,
            end: columns.end()?,
            started: columns.next()?,
            gigawords: columns.next()?,
            closings: columns.next()?,
            backwards: columns.next()?,
            facts: Facts::default(),
        };
        let newest = columns.next()?;
        let facts = Facts {
            station: columns.mac()?,
            bssid: columns.mac()?,
            user_name: columns.identity()?,
            chargeable_user: columns.identity()?,
            class: columns.next()?,
            multi_session_id: columns.next()?,
            address: columns.octets::<4>()?.map(|o| Private(Ipv4Addr::from(o))),
            address6: match (columns.octets::<16>()?, columns.next::<Option<u8>>()?) {
                (Some(octets), Some(length)) => Some(Private((Ipv6Addr::from(octets), length))),
                _ => None,
            },
        };
        let host = columns.host()?;
        Ok(Self { id, nas, name, owner, session: Session { facts, ..session }, newest, host })
    }

    /// The values of [`PUT`].
    pub(crate) fn put(&self, into: &mut Vec<Value>) {
        let Session { phase, began, last, heard, figures, told, end, facts, .. } = &self.session;
        into.push(self.id.into());
        into.push(self.nas.into());
        into.push(self.name.clone().into());
        into.push(self.owner.map(|o| o.account.0).into());
        into.push(self.owner.map(|o| o.user.parts().0).into());
        into.push(self.owner.map(|o| o.user.parts().1).into());
        into.push(self.owner.map(|o| o.class.0).into());
        into.push(phase.as_str().into());
        into.extend([began.0, last.0, heard.0].map(Value::Int));
        push_figures(into, figures);
        push_figures(into, told);
        push_end(into, *end);
        into.push(self.session.started.into());
        into.push(self.session.gigawords.into());
        into.push(i64::from(self.session.closings).into());
        into.push(i64::from(self.session.backwards).into());
        into.push(self.newest.into());
        into.push(facts.station.map(|m| m.octets().to_vec()).into());
        into.push(facts.bssid.map(|m| m.octets().to_vec()).into());
        into.push(facts.user_name.clone().map(|p| p.0).into());
        into.push(facts.chargeable_user.clone().map(|p| p.0).into());
        into.push(facts.class.clone().into());
        into.push(facts.multi_session_id.clone().into());
        into.push(facts.address.map(|p| p.0.octets().to_vec()).into());
        into.push(facts.address6.map(|p| p.0.0.octets().to_vec()).into());
        into.push(facts.address6.map(|p| i64::from(p.0.1)).into());
        into.push(self.host.map(octets_of).into());
    }

    /// The values of [`PROGRESS`].
    pub(crate) fn put_progress(&self, into: &mut Vec<Value>) {
        let Session { last, heard, figures, .. } = &self.session;
        into.extend([self.id, last.0, heard.0].map(Value::Int));
        push_figures(into, figures);
        into.push(self.session.gigawords.into());
        into.push(i64::from(self.session.backwards).into());
        into.push(self.newest.into());
    }

    /// Whether [`PROGRESS`] is enough to turn `before` into this.
    pub(crate) fn is_progress(&self, before: &Self) -> bool {
        let Session { last, heard, figures, gigawords, backwards, .. } = self.session;
        let mut before = before.clone();
        before.newest = self.newest;
        before.session = Session { last, heard, figures, gigawords, backwards, ..before.session };
        *self == before
    }
}

pub(crate) fn push_figures(into: &mut Vec<Value>, f: &Figures) {
    into.extend([f.input, f.output, f.input_packets, f.output_packets, f.seconds].map(Value::from));
}

/// When, why, and the code of a Stop.
pub(crate) fn push_end(into: &mut Vec<Value>, end: Option<End>) {
    into.push(end.map(|e| e.at.0).into());
    into.push(end.map(|e| e.cause.as_str()).into());
    into.push(end.and_then(|e| code(e.cause)).into());
}

fn octets_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn code(cause: Cause) -> Option<i64> {
    match cause {
        Cause::Stop(code) => Some(i64::from(code)),
        _ => None,
    }
}

fn user(kind: &str, number: i64) -> Result<User, sqlx::Error> {
    User::from_parts(kind, number)
        .ok_or_else(|| sqlx::Error::ColumnNotFound("user_kind".to_owned()))
}

/// Reads columns one after the other.
pub(crate) struct Columns<'r> {
    row: &'r SqliteRow,
    at: usize,
}

impl<'r> Columns<'r> {
    pub(crate) fn from(row: &'r SqliteRow, at: usize) -> Self {
        Self { row, at }
    }

    pub(crate) fn next<T>(&mut self) -> Result<T, sqlx::Error>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        let value = self.row.try_get(self.at)?;
        self.at += 1;
        Ok(value)
    }

    fn count(&mut self) -> Result<u64, sqlx::Error> {
        Ok(u64::try_from(self.next::<i64>()?).unwrap_or(0))
    }

    pub(crate) fn figures(&mut self) -> Result<Figures, sqlx::Error> {
        Ok(Figures {
            input: self.count()?,
            output: self.count()?,
            input_packets: self.count()?,
            output_packets: self.count()?,
            seconds: self.count()?,
        })
    }

    pub(crate) fn end(&mut self) -> Result<Option<End>, sqlx::Error> {
        let (at, cause, code) = (
            self.next::<Option<i64>>()?,
            self.next::<Option<&str>>()?,
            self.next::<Option<u32>>()?,
        );
        let (Some(at), Some(cause)) = (at, cause) else { return Ok(None) };
        let known = [Cause::Stop(code.unwrap_or(0)), Cause::Restart, Cause::Lost, Cause::Reused];
        let cause = known.into_iter().find(|c| c.as_str() == cause);
        let cause = cause.ok_or_else(|| sqlx::Error::ColumnNotFound("cause".to_owned()))?;
        Ok(Some(End { at: UnixTime(at), cause }))
    }

    /// Account, user and class.
    pub(crate) fn owner(&mut self) -> Result<Option<Owner>, sqlx::Error> {
        let account: Option<i64> = self.next()?;
        let (kind, number): (Option<&str>, Option<i64>) = (self.next()?, self.next()?);
        let class: Option<i64> = self.next()?;
        let (Some(account), Some(kind), Some(number), Some(class)) = (account, kind, number, class)
        else {
            return Ok(None);
        };
        let (account, user, class) = (AccountId(account), user(kind, number)?, ClassId(class));
        Ok(Some(Owner { account, user, class }))
    }

    /// A user where there must be one.
    pub(crate) fn user(&mut self) -> Result<User, sqlx::Error> {
        let kind: &str = self.next()?;
        user(kind, self.next()?)
    }

    pub(crate) fn identity(&mut self) -> Result<Option<Identity>, sqlx::Error> {
        Ok(self.next::<Option<Vec<u8>>>()?.map(Private))
    }

    fn octets<const N: usize>(&mut self) -> Result<Option<[u8; N]>, sqlx::Error> {
        Ok(self.next::<Option<&[u8]>>()?.and_then(|o| o.try_into().ok()))
    }

    /// An address of either kind; `None` also where it is neither.
    pub(crate) fn host(&mut self) -> Result<Option<IpAddr>, sqlx::Error> {
        let octets = self.next::<Option<&[u8]>>()?.unwrap_or_default();
        let v4 = || <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
        Ok(v4().or_else(|| <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)))
    }

    pub(crate) fn mac(&mut self) -> Result<Option<Mac>, sqlx::Error> {
        Ok(self.octets::<6>()?.map(Mac::new))
    }
}
