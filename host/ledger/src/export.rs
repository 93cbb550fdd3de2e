//! What billing is told, as JSON lines and CSV, with control totals.

use std::io::{self, Write};
use std::path::Path;

use homeward_accounting::{ClosingKind, Day, End, Figures, Nas};
use homeward_model::{Mac, UnixTime};
use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::entry::{Owner, SessionId, User};
use crate::error::{Error, Result};
use crate::reader::{LedgerReader, Unreadable, nas};
use crate::row::Columns;

/// Where in the order of closings somebody is: behind the one with this number. The default is
/// before the first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Cursor(pub i64);

impl Cursor {
    /// Reads the file that an export leaves its cursor in; `None` where there is none yet.
    ///
    /// # Errors
    /// [`Error::CursorFile`], or [`Error::NoCursor`] where there is something else in it.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        match std::fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::CursorFile { path: path.to_owned(), source }),
            Ok(text) => {
                let cursor = text.trim().parse().map(|at| Some(Self(at)));
                cursor.map_err(|_| Error::NoCursor(path.to_owned()))
            }
        }
    }
}

/// The closings after a cursor.
pub(crate) const AFTER: &str = "SELECT c.seq, c.session, c.kind, c.told, c.ended, c.cause, c.code, \
     c.input, c.output, c.input_packets, c.output_packets, c.seconds, c.total_input, \
     c.total_output, c.total_input_packets, c.total_output_packets, c.total_seconds, s.account, \
     s.user_kind, s.user, s.class, s.began, s.station, s.bssid, s.user_name, s.chargeable_user, \
     s.name, s.multi_session, n.client, n.identifier \
     FROM closing c JOIN session s ON s.id = c.session JOIN nas n ON n.id = s.nas \
     WHERE c.seq > ? ORDER BY c.seq LIMIT ?";

/// The end of a session, or a correction of it, as billing is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosingRow {
    /// Its place in the order: read on from here.
    pub cursor: Cursor,
    /// The session.
    pub session: SessionId,
    /// The end, or a correction.
    pub kind: ClosingKind,
    /// When the ledger learnt of it.
    pub told: UnixTime,
    /// How the session ended.
    pub end: End,
    /// What no earlier closing of the session told.
    pub delta: Figures,
    /// What the session used in all.
    pub total: Figures,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// When it began.
    pub began: UnixTime,
    /// Who reported it.
    pub nas: Nas,
    /// Its Acct-Session-Id.
    pub session_id: String,
    /// Its Acct-Multi-Session-Id.
    pub multi_session_id: Option<String>,
    /// The device's MAC address.
    pub station: Option<Mac>,
    /// The BSS.
    pub bssid: Option<Mac>,
    /// User-Name.
    pub user_name: Option<homeward_accounting::Identity>,
    /// Chargeable-User-Identity.
    pub chargeable_user: Option<homeward_accounting::Identity>,
}

impl ClosingRow {
    pub(crate) fn read(row: &SqliteRow) -> Result<Self, Unreadable> {
        let mut columns = Columns::from(row, 0);
        let (seq, session, kind) = (columns.next()?, columns.next()?, columns.next::<&str>()?);
        let kind = match kind {
            "close" => ClosingKind::Close,
            "correction" => ClosingKind::Correction,
            other => {
                let value = other.to_owned();
                return Err(Error::Unknown { what: "closing.kind", value }.into());
            }
        };
        let told = UnixTime(columns.next()?);
        let end = columns.end()?;
        let (delta, total) = (columns.figures()?, columns.figures()?);
        Ok(Self {
            cursor: Cursor(seq),
            session: SessionId(session),
            kind,
            told,
            end: end.ok_or(Error::Unknown { what: "closing.ended", value: String::new() })?,
            delta,
            total,
            owner: columns.owner()?,
            began: UnixTime(columns.next()?),
            station: columns.mac()?,
            bssid: columns.mac()?,
            user_name: columns.identity()?,
            chargeable_user: columns.identity()?,
            session_id: columns.next()?,
            multi_session_id: columns.next()?,
            nas: nas(row.try_get("client")?, row.try_get("identifier")?)?,
        })
    }
}

/// Sums over an export: what the reader of a file checks it against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Ends of sessions.
    pub sessions: u64,
    /// Corrections of them.
    pub corrections: u64,
    /// Octets from devices, of the deltas.
    pub input: u64,
    /// Octets to devices, of the deltas.
    pub output: u64,
    /// Seconds, of the deltas.
    pub seconds: u64,
    /// The last closing in it: where the next export begins.
    pub cursor: Cursor,
}

impl Totals {
    fn add(&mut self, row: &ClosingRow) {
        match row.kind {
            ClosingKind::Close => self.sessions += 1,
            ClosingKind::Correction => self.corrections += 1,
        }
        self.input = self.input.saturating_add(row.delta.input);
        self.output = self.output.saturating_add(row.delta.output);
        self.seconds = self.seconds.saturating_add(row.delta.seconds);
        self.cursor = row.cursor;
    }
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line; the last one has `"type":"control"` and the [`Totals`].
    JsonLines,
    /// CSV with a heading (RFC 4180); the last line has `control` in its first column, and the
    /// [`Totals`] in the columns they belong to: sessions in `session`, corrections in `cause`.
    Csv,
}

/// A line of an export.
#[derive(Debug, Serialize)]
struct Line<'r> {
    r#type: &'static str,
    cursor: Cursor,
    session: String,
    told: String,
    began: String,
    ended: String,
    day: String,
    cause: String,
    code: Option<u32>,
    input: u64,
    output: u64,
    input_packets: u64,
    output_packets: u64,
    seconds: u64,
    total_input: u64,
    total_output: u64,
    total_seconds: u64,
    account: Option<i64>,
    device: Option<i64>,
    login: Option<i64>,
    class: Option<i64>,
    nas: String,
    session_id: &'r str,
    multi_session_id: Option<&'r str>,
    station: Option<String>,
    bssid: Option<String>,
    user_name: Option<String>,
    chargeable_user: Option<String>,
}

impl<'r> Line<'r> {
    fn of(row: &'r ClosingRow) -> Self {
        let text = |identity: &Option<homeward_accounting::Identity>| {
            identity.as_ref().map(|i| String::from_utf8_lossy(&i.0).into_owned())
        };
        Self {
            r#type: row.kind.as_str(),
            cursor: row.cursor,
            session: row.session.to_string(),
            told: row.told.to_string(),
            began: row.began.to_string(),
            ended: row.end.at.to_string(),
            day: Day::of(row.end.at).to_string(),
            cause: row.end.cause.as_str().to_owned(),
            code: match row.end.cause {
                homeward_accounting::Cause::Stop(code) => Some(code),
                _ => None,
            },
            input: row.delta.input,
            output: row.delta.output,
            input_packets: row.delta.input_packets,
            output_packets: row.delta.output_packets,
            seconds: row.delta.seconds,
            total_input: row.total.input,
            total_output: row.total.output,
            total_seconds: row.total.seconds,
            account: row.owner.map(|o| o.account.0),
            device: match row.owner.map(|o| o.user) {
                Some(User::Device(id)) => Some(id.0),
                _ => None,
            },
            login: match row.owner.map(|o| o.user) {
                Some(User::Login(id)) => Some(id.0),
                _ => None,
            },
            class: row.owner.map(|o| o.class.0),
            nas: row.nas.to_string(),
            session_id: &row.session_id,
            multi_session_id: row.multi_session_id.as_deref(),
            station: row.station.map(|m| m.full().to_string()),
            bssid: row.bssid.map(|m| m.full().to_string()),
            user_name: text(&row.user_name),
            chargeable_user: text(&row.chargeable_user),
        }
    }
}

/// The last line of an export in CSV: as many columns as [`Line`] has.
fn control(totals: &Totals) -> Line<'static> {
    Line {
        r#type: "control",
        cursor: totals.cursor,
        session: totals.sessions.to_string(),
        told: String::new(),
        began: String::new(),
        ended: String::new(),
        day: String::new(),
        cause: totals.corrections.to_string(),
        code: None,
        input: totals.input,
        output: totals.output,
        input_packets: 0,
        output_packets: 0,
        seconds: totals.seconds,
        total_input: totals.input,
        total_output: totals.output,
        total_seconds: totals.seconds,
        account: None,
        device: None,
        login: None,
        class: None,
        nas: String::new(),
        session_id: "",
        multi_session_id: None,
        station: None,
        bssid: None,
        user_name: None,
        chargeable_user: None,
    }
}

#[derive(Serialize)]
struct Control<'t> {
    r#type: &'static str,
    #[serde(flatten)]
    totals: &'t Totals,
}

/// How many closings are read at once.
const PAGE: u32 = 1000;

impl LedgerReader {
    /// Writes what billing is told after `after` to `out`, at most `limit` closings, and then the
    /// control totals, which are also returned: [`Totals::cursor`] is where the next export goes
    /// on. The same cursor and limit give the same lines, for as long as the sessions are kept
    /// and nothing more is learnt of them.
    ///
    /// # Errors
    /// What could not be read, or written to `out`. Then the export is without its control
    /// totals, and to be done again.
    pub async fn export(
        &self,
        format: Format,
        after: Cursor,
        limit: u64,
        out: &mut (impl Write + Send),
    ) -> Result<Totals> {
        let mut totals = Totals { cursor: after, ..Totals::default() };
        let mut sink = match format {
            Format::JsonLines => Sink::Json(out),
            Format::Csv => Sink::Csv(Box::new(csv::Writer::from_writer(out))),
        };
        let mut left = limit;
        while left > 0 {
            let page = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
            let rows = self.closings(totals.cursor, page).await?;
            for row in &rows {
                sink.line(&Line::of(row)).map_err(Error::Export)?;
                totals.add(row);
            }
            left -= rows.len() as u64;
            if rows.len() < page as usize {
                break;
            }
        }
        sink.control(&totals).map_err(Error::Export)?;
        Ok(totals)
    }
}

/// Where lines go, and in which form.
enum Sink<'w, W: Write> {
    Json(&'w mut W),
    Csv(Box<csv::Writer<&'w mut W>>),
}

impl<W: Write> Sink<'_, W> {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        match self {
            Self::Json(out) => json_line(out, line),
            Self::Csv(out) => out.serialize(line).map_err(io::Error::from),
        }
    }

    /// The last line.
    fn control(mut self, totals: &Totals) -> io::Result<()> {
        match &mut self {
            Self::Json(out) => {
                json_line(out, &Control { r#type: "control", totals })?;
                out.flush()
            }
            Self::Csv(out) => {
                out.serialize(control(totals)).map_err(io::Error::from)?;
                out.flush()
            }
        }
    }
}

fn json_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
