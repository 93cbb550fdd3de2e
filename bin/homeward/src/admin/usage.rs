//! `homeward admin usage`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use homeward_accounting::{Day, Figures, Period, Standing, Used};
use homeward_daemon::{Exit, ExitContext, SystemClock, private};
use homeward_ledger::{Cursor, DayUsage, Format, LedgerReader, Subject, Totals, User};
use homeward_model::{AccountId, Clock, Nai, Name, Quota, QuotaPeriod, UnixTime};
use serde::Serialize;

use super::find::DeviceRef;
use super::{Context, Place, find};
use crate::output::{self, Table};

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin usage account smith
  homeward admin usage device smith/smithnet/02:00:5e:10:00:02 --from 2026-10-01 --to 2026-10-31
  homeward admin usage export --cursor-file billing.cursor --out 2026-11-28.jsonl")]
pub(super) enum Verb {
    /// What an account has used, by device and log-in
    #[command(after_long_help = "Examples:
  homeward admin usage account smith
  homeward admin usage account smith --from 2026-10-01 --to 2026-10-31 --by-day --json")]
    Account {
        /// Its name
        name: Name,
        #[command(flatten)]
        span: Span,
    },
    /// What a device has used
    #[command(after_long_help = "Example:
  homeward admin usage device smith/smithnet/02:00:5e:10:00:02 --by-day")]
    Device {
        /// Its id, or ACCOUNT/SSID/MAC
        device: DeviceRef,
        #[command(flatten)]
        span: Span,
    },
    /// What a log-in has used
    #[command(after_long_help = "Example:
  homeward admin usage login phone-7@example.net")]
    Login {
        /// Its name
        name: Nai,
        #[command(flatten)]
        span: Span,
    },
    /// Write the ends of sessions for a billing system, in order, with control totals
    #[command(after_long_help = "Examples:
  homeward admin usage export --out all.jsonl
  homeward admin usage export --as csv --after 120000 --limit 50000 > next.csv
  homeward admin usage export --cursor-file billing.cursor --out today.jsonl

Each session is told of once, when it has ended; what is learnt of it later comes as a correction,
for exactly the difference. The last line has the control totals: sessions, corrections, octets,
seconds, and the cursor that the next export begins after. The order never changes and nothing is
inserted before what was read, so the same cursor and limit give the same lines. With --cursor-file
the cursor is read there, and written once the export is whole and on disk.

The core deletes sessions when they are old (keep_sessions, and --retention of the class of service).
Name the cursor file in its configuration (exports), readable to its user, and it keeps what the
export has not taken yet.")]
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct Span {
    /// The first day (UTC) [default: the first of this month]
    #[arg(long, value_name = "DAY")]
    from: Option<Day>,
    /// The last day [default: today]
    #[arg(long, value_name = "DAY")]
    to: Option<Day>,
    /// Each day by itself
    #[arg(long)]
    by_day: bool,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// One JSON object a line, or CSV with a heading
    #[arg(long = "as", value_name = "FORM", value_enum, default_value_t = Form::Jsonl)]
    form: Form,
    /// Begin after this cursor [default: at the beginning]
    #[arg(long, value_name = "CURSOR", conflicts_with = "cursor_file")]
    after: Option<i64>,
    /// Begin after the cursor in this file, and leave there where the next export begins
    #[arg(long, value_name = "FILE", requires = "out")]
    cursor_file: Option<PathBuf>,
    /// At most so many lines
    #[arg(long, value_name = "LINES")]
    limit: Option<u64>,
    /// Write to this new file (mode 0600) [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Jsonl,
    Csv,
}

impl From<Form> for Format {
    fn from(form: Form) -> Self {
        match form {
            Form::Jsonl => Self::JsonLines,
            Form::Csv => Self::Csv,
        }
    }
}

/// What somebody has used in some days.
#[derive(Debug, Serialize)]
struct View {
    from: String,
    to: String,
    total: Octets,
    users: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
}

/// A user's part of it, on one day or on all.
#[derive(Debug, Serialize)]
struct Line {
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    #[serde(flatten)]
    octets: Octets,
    /// What is left of the quota now.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renews: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Octets {
    input: u64,
    output: u64,
    seconds: u64,
}

impl From<Figures> for Octets {
    fn from(f: Figures) -> Self {
        Self { input: f.input, output: f.output, seconds: f.seconds }
    }
}

pub(super) async fn run(verb: Verb, place: &Place, cx: &mut Context<'_>) -> anyhow::Result<()> {
    let ledger = place.ledger().await?;
    match verb {
        Verb::Account { name, span } => {
            let account = find::account(cx.store, &name).await?;
            show(cx, &ledger, Subject::Account(account.id), account.id, &span).await
        }
        Verb::Device { device, span } => {
            let device = find::device(cx.store, &device).await?;
            let Some(network) = cx.store.network(device.network).await? else {
                return Err(anyhow!("the device's network was deleted meanwhile"));
            };
            let subject = Subject::User(User::Device(device.id));
            show(cx, &ledger, subject, network.account, &span).await
        }
        Verb::Login { name, span } => {
            let login = find::login(cx.store, &name).await?;
            show(cx, &ledger, Subject::User(User::Login(login.id)), login.account, &span).await
        }
        Verb::Export(args) => export(&ledger, &args).await,
    }
}

async fn show(
    cx: &Context<'_>,
    ledger: &LedgerReader,
    subject: Subject,
    account: AccountId,
    span: &Span,
) -> anyhow::Result<()> {
    let now = SystemClock.unix();
    let first = span.from.unwrap_or(Period::of(QuotaPeriod::Month, now).first);
    let last = span.to.unwrap_or(Day::of(now));
    if last < first {
        return Err(anyhow!("--to {last} is before --from {first}")).exit(Exit::Usage);
    }
    let days = ledger.usage_by_day(subject, Period { first, end: last.plus(1) }).await?;
    let quota = quota(cx, account).await?;
    let mut users: Vec<Line> = Vec::new();
    let mut from = 0;
    while let Some(rest) = days.get(from..).filter(|rest| !rest.is_empty()) {
        let of_user = rest.iter().take_while(|d| Some(d.user) == rest.first().map(|f| f.user));
        let mine: Vec<&DayUsage> = of_user.collect();
        from += mine.len();
        users.extend(lines(&mine, span.by_day));
        if let (Some(quota), Some(line), Some(day)) = (&quota, users.last_mut(), mine.first()) {
            let standing = standing(ledger, day.user, quota, now).await?;
            line.left = Some(standing.left);
            line.renews = Some(standing.renews.to_string());
        }
    }
    let total = days.iter().map(|d| d.figures).fold(Figures::ZERO, Figures::plus);
    let (from, to) = (first.to_string(), last.to_string());
    let view = View { from, to, total: total.into(), users, quota };
    cx.show(&view, || table(&view))
}

/// The lines of one user.
fn lines(days: &[&DayUsage], by_day: bool) -> Vec<Line> {
    let line = |user: User, day: Option<Day>, figures: Figures| Line {
        user: user.to_string(),
        day: day.map(|day| day.to_string()),
        octets: figures.into(),
        left: None,
        renews: None,
    };
    match (by_day, days.first()) {
        (true, _) => days.iter().map(|d| line(d.user, Some(d.day), d.figures)).collect(),
        (false, Some(first)) => {
            let all = days.iter().map(|d| d.figures).fold(Figures::ZERO, Figures::plus);
            vec![line(first.user, None, all)]
        }
        (false, None) => Vec::new(),
    }
}

async fn quota(cx: &Context<'_>, account: AccountId) -> anyhow::Result<Option<Quota>> {
    let Some(account) = cx.store.account(account).await? else { return Ok(None) };
    let class = cx.store.class(account.class).await?;
    Ok(class.and_then(|class| class.terms.quota))
}

/// How a user stands now, as the core has it.
async fn standing(
    ledger: &LedgerReader,
    user: User,
    quota: &Quota,
    now: UnixTime,
) -> anyhow::Result<Standing> {
    let mut used = Used::default();
    let period = Period::of(quota.period, now);
    for day in ledger.usage_by_day(Subject::User(user), period).await? {
        used.add(day.figures.input.saturating_add(day.figures.output), day.day);
    }
    Ok(Standing::of(quota, used.octets(quota.period, now), now))
}

fn table(view: &View) -> String {
    let mut table = Table::new(["user", "day", "from it", "to it", "time", "left of quota"]);
    for line in &view.users {
        table.row([
            line.user.clone(),
            line.day.clone().unwrap_or_default(),
            size(line.octets.input),
            size(line.octets.output),
            time(line.octets.seconds),
            line.left.map(size).unwrap_or_default(),
        ]);
    }
    let (total, quota) = (&view.total, &view.quota);
    let mut text = format!("{table}\n{} to {}: ", view.from, view.to);
    text.push_str(&format!(
        "{} from and {} to devices, {}\n",
        size(total.input),
        size(total.output),
        time(total.seconds)
    ));
    if let Some(quota) = quota {
        text.push_str(&format!("quota: {} per {} and user\n", size(quota.octets), quota.period));
    }
    text
}

/// Octets for people: three digits or more.
pub(super) fn size(octets: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    match UNITS.iter().find(|(_, unit)| octets >= *unit) {
        Some((name, unit)) => {
            let hundredths = octets / (unit / 100);
            format!("{}.{:02} {name}", hundredths / 100, hundredths % 100)
        }
        None => format!("{octets} B"),
    }
}

/// Seconds for people.
pub(super) fn time(seconds: u64) -> String {
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

async fn export(ledger: &LedgerReader, args: &Export) -> anyhow::Result<()> {
    let after = match &args.cursor_file {
        Some(path) => Cursor::read(path).exit(Exit::Data)?.unwrap_or_default(),
        None => Cursor(args.after.unwrap_or_default()),
    };
    let (format, limit) = (args.form.into(), args.limit.unwrap_or(u64::MAX));
    let Some(path) = &args.out else {
        let mut out = std::io::BufWriter::new(std::io::stdout());
        return match ledger.export(format, after, limit, &mut out).await {
            Ok(_) => output::stdout(out.flush()),
            Err(homeward_ledger::Error::Export(error)) => output::stdout(Err(error)),
            Err(error) => Err(error.into()),
        };
    };
    let totals = write_new(ledger, format, after, limit, path).await?;
    if let Some(cursor) = &args.cursor_file {
        private::write(cursor, format!("{}\n", totals.cursor.0).as_bytes())?;
    }
    output::complain(format_args!(
        "{} sessions and {} corrections; the next export begins after {}",
        totals.sessions, totals.corrections, totals.cursor.0
    ));
    Ok(())
}

/// Writes an export to a new file; it is on disk when this returns, and gone if it is not whole.
async fn write_new(
    ledger: &LedgerReader,
    format: Format,
    after: Cursor,
    limit: u64,
    path: &Path,
) -> anyhow::Result<Totals> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("cannot create {}", path.display()));
    let mut out = std::io::BufWriter::new(file.exit(Exit::CannotCreate)?);
    let written = async {
        let totals = ledger.export(format, after, limit, &mut out).await?;
        out.flush()?;
        out.get_ref().sync_all()?;
        anyhow::Ok(totals)
    };
    let written = written.await;
    if written.is_err() {
        // The error is what counts.
        let _ = std::fs::remove_file(path);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_for_people() {
        for (octets, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (1_234_567, "1.23 MB"),
            (999_999_999, "999.99 MB"),
            (5_000_000_000, "5.00 GB"),
            (u64::MAX, "18446744.07 TB"),
        ] {
            assert_eq!(size(octets), text);
        }
        assert_eq!(
            (time(0), time(3661), time(360_000)),
            ("0:00:00".into(), "1:01:01".into(), "100:00:00".into())
        );
    }
}
