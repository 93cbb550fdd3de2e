//! Where log lines go, and in which form.
//!
//! Lines go to stderr. Which ones: `HOMEWARD_LOG` in the environment, else the configuration's
//! filter, else `info`. A filter is a level (`debug`) or levels per module
//! (`info,homeward_gateway=trace`). What is [silent](SILENT) stays so until the filter names it.

use std::fmt;
use std::io::{IsTerminal, stderr};

use serde::{Deserialize, Serialize};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// The environment variable that overrides the configured filter.
pub const VARIABLE: &str = "HOMEWARD_LOG";

/// Modules that say nothing unless a filter names them: the WireGuard library tells of each
/// handshake who is behind which key.
pub const SILENT: [&str; 1] = ["boringtun"];

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people: time, level, module, fields. Under journald the time is left out and the
    /// level goes in front in syslog's way (`<4>`), for journald keeps both itself.
    #[default]
    Text,
    /// For machines: one JSON object per line.
    Json,
}

/// What a configuration says about logging.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Which lines; `info` where it is absent.
    pub filter: Option<String>,
    /// Their form.
    pub format: LogFormat,
}

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter makes no sense.
    #[error(
        "{origin} has no filter that makes sense, {filter:?}: write a level (error, warn, info, debug, trace) or levels per module, such as \"info,homeward_gateway=debug\""
    )]
    Filter {
        /// Where it was written.
        origin: &'static str,
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Called twice.
    #[error("logging has begun already")]
    Twice,
}

/// Begins logging, for the whole process. Call it once, first.
///
/// # Errors
///
/// [`LogError`]: a filter that makes no sense, or a second call.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let variable = std::env::var(VARIABLE).ok();
    let filter = filter(variable.as_deref(), config.filter.as_deref())?;
    let output = Output {
        format: config.format,
        journal: std::env::var_os("JOURNAL_STREAM").is_some() && !stderr().is_terminal(),
        colour: stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    tracing::subscriber::set_global_default(subscriber(output, filter, stderr))
        .map_err(|_| LogError::Twice)
}

fn filter(variable: Option<&str>, configured: Option<&str>) -> Result<EnvFilter, LogError> {
    let (origin, filter) = match (variable, configured) {
        (Some(v), _) if !v.trim().is_empty() => (VARIABLE, v),
        (_, Some(c)) => ("log.filter in the configuration", c),
        _ => ("the default", "info"),
    };
    let parsed = EnvFilter::try_new(filter).map_err(|source| LogError::Filter {
        origin,
        filter: filter.to_owned(),
        source,
    })?;
    let silent = SILENT.iter().filter(|module| !filter.contains(*module));
    Ok(silent
        .filter_map(|module| format!("{module}=off").parse().ok())
        .fold(parsed, EnvFilter::add_directive))
}

#[derive(Debug, Clone, Copy)]
struct Output {
    format: LogFormat,
    journal: bool,
    colour: bool,
}

fn subscriber<W>(output: Output, filter: EnvFilter, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(output.colour && output.format == LogFormat::Text);
    match output.format {
        LogFormat::Json => Box::new(lines.json().flatten_event(true).finish()),
        LogFormat::Text if output.journal => {
            Box::new(lines.event_format(JournalLine(Format::default().without_time())).finish())
        }
        LogFormat::Text => Box::new(lines.finish()),
    }
}

/// The usual line without its time, and with syslog's priority in front (`sd-daemon(3)`).
struct JournalLine(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for JournalLine
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str(match *event.metadata().level() {
            Level::ERROR => "<3>",
            Level::WARN => "<4>",
            Level::INFO => "<6>",
            _ => "<7>",
        })?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(octets)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(output: Output, filter_text: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let filter = filter(None, Some(filter_text)).unwrap();
        let subscriber = subscriber(output, filter, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(radio = "phy0", vaps = 8, "no room");
            tracing::debug!("detail");
        });
        let octets = lines.0.lock().unwrap().clone();
        String::from_utf8(octets).unwrap()
    }

    const PLAIN: Output = Output { format: LogFormat::Text, journal: false, colour: false };

    #[test]
    fn under_journald_a_line_has_its_priority_and_no_time() {
        assert_eq!(
            logged(Output { journal: true, ..PLAIN }, "debug"),
            "<4> WARN homeward_daemon::log::tests: no room radio=\"phy0\" vaps=8\n\
             <7>DEBUG homeward_daemon::log::tests: detail\n"
        );
    }

    #[test]
    fn elsewhere_a_line_begins_with_the_time() {
        let line = logged(PLAIN, "info");
        assert!(line.starts_with("20") && line.lines().count() == 1, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
        assert!(logged(Output { colour: true, ..PLAIN }, "info").contains('\u{1b}'));
    }

    #[test]
    fn a_json_line_is_one_object() {
        let output = Output { format: LogFormat::Json, colour: true, journal: true };
        let line: serde_json::Value = serde_json::from_str(&logged(output, "info")).unwrap();
        assert_eq!((&line["level"], &line["vaps"]), (&"WARN".into(), &8.into()));
        assert_eq!(line["message"], "no room");
    }

    #[test]
    fn the_variable_counts_before_the_configuration() {
        let filter = |variable, configured| {
            let text = filter(variable, configured).unwrap().to_string();
            text.replace("boringtun=off,", "")
        };
        assert_eq!(filter(Some("trace"), Some("warn")), "trace");
        assert_eq!(filter(Some(" "), Some("warn")), "warn");
        assert_eq!(filter(None, None), "info");
    }

    #[test]
    fn the_wireguard_library_is_silent_until_a_filter_names_it() {
        let said = |text: Option<&str>| {
            let lines = Lines::default();
            let writer = lines.clone();
            let filter = filter(None, text).unwrap();
            let subscriber = subscriber(PLAIN, filter, move || writer.clone());
            tracing::subscriber::with_default(subscriber, || {
                tracing::error!(target: "boringtun::noise", "a handshake");
                tracing::error!("no room");
            });
            let octets = lines.0.lock().unwrap().clone();
            let text = String::from_utf8(octets).unwrap();
            assert!(text.contains("no room"), "{text}");
            text.contains("a handshake")
        };
        assert!(!said(None));
        assert!(!said(Some("trace")));
        assert!(!said(Some("info,homeward_gateway=debug")));
        assert!(said(Some("info,boringtun=debug")));
        assert!(said(Some("boringtun::noise=error,info")));
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_named_with_its_origin() {
        let error = filter(Some("homeward=lots"), None).unwrap_err().to_string();
        assert!(error.starts_with("HOMEWARD_LOG") && error.contains("homeward=lots"), "{error}");
    }
}
