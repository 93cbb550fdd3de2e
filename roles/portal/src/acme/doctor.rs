//! What a certificate by ACME needs of its machine, and how it stands.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use homeward_daemon::doctor::Findings;
use homeward_model::UnixTime;

use super::client::Http;
use super::config::{Challenge, Config};
use super::kept::Kept;

/// Looks at files and certificate. `trouble` is what a running core says of it, `ports` where the
/// portal listens.
pub fn examine(
    config: &Config,
    trouble: Option<&str>,
    ports: &[u16],
    now: UnixTime,
    found: &mut Findings,
) {
    let what = "the portal's certificate by ACME";
    if let Err(error) = Http::new(&config.ca, config.timeout.0) {
        let error = format!("{what} cannot be asked for: {error:#}");
        found.fail(error, "name the file of who vouches for the ACME server in portal.acme.ca");
    }
    if let Err(error) = writable(&config.folder) {
        found.fail(
            format!("{what} cannot be kept: {error:#}"),
            format!(
                "make {} writable for the core's user, or set portal.acme.folder",
                config.folder.display()
            ),
        );
    }
    if config.challenge == Challenge::TlsAlpn && !ports.contains(&443) {
        found.warn(
            "an ACME server puts tls-alpn-01 on port 443, and the portal listens on other ports",
            "see that port 443 of portal.acme.names leads to it, or set challenge = \"http-01\"",
        );
    }
    let kept = Kept::at(&config.folder);
    let repair = "do what the error says; `homeward core status` shows when it is tried again, SIGHUP does it at once";
    match kept.certificate() {
        Ok(None) => {
            let why = trouble.unwrap_or("the core has not asked for one yet");
            found.warn(format!("there is no certificate, and no TLS without one: {why}"), repair);
        }
        Err(error) if is_denied(&error) => found.warn(
            format!("{what} cannot be read: {error:#}"),
            "run this as the core's user or as root",
        ),
        Err(error) => found.fail(
            format!("{what} cannot be read: {error:#}"),
            "move the file away: another one is asked for at the start",
        ),
        Ok(Some(certificate)) => {
            let (left, until) = (certificate.validity.left(now), certificate.validity.until);
            let ends = format!("{what} ends at {until}");
            let due = now.0 >= certificate.validity.renewal().0;
            let why = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
            if left == Duration::ZERO {
                found.fail(format!("{what} ended at {until}{why}"), repair);
            } else if due {
                found.warn(format!("{ends}, and should have been renewed{why}"), repair);
            } else if certificate.names != config.wanted() {
                found.warn(format!("{ends}, and is for other names{why}"), repair);
            } else {
                found.ok(ends);
            }
        }
    }
}

fn is_denied(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Whether something can be kept there. What is not there yet is made by the core.
fn writable(folder: &Path) -> anyhow::Result<()> {
    let there = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let shown = there.display();
    let found = fs::metadata(there).with_context(|| format!("cannot look at {shown}"))?;
    anyhow::ensure!(found.is_dir(), "{shown} is no folder");
    if there == folder {
        let mode = found.mode() & 0o7777;
        anyhow::ensure!(mode & 0o022 == 0, "others may write to {shown} (mode {mode:04o})");
    }
    let probe = there.join(format!(".homeward-doctor.{}", std::process::id()));
    let tried = OpenOptions::new().write(true).create_new(true).open(&probe);
    tried.and_then(|_| fs::remove_file(&probe)).with_context(|| format!("cannot write to {shown}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use homeward_daemon::doctor::Severity;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::acme::kept::Certificate;

    /// A certificate of the year 2026 is kept in a folder of ours.
    fn furnished() -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let mut of = CertificateParams::new(["portal.example.net".to_owned()]).unwrap();
        (of.not_before, of.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 12, 31));
        let key = KeyPair::generate().unwrap();
        let pem = of.self_signed(&key).unwrap().pem();
        let kept = Kept::open(&folder.path().join("acme")).unwrap();
        let issued = Certificate::new("https://acme/", &key.serialize_pem(), &pem).unwrap();
        kept.keep_certificate(&issued).unwrap();
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, pem).unwrap();
        let config = Config {
            names: vec!["portal.example.net".to_owned()],
            folder: folder.path().join("acme"),
            ca,
            ..Config::default()
        };
        (folder, config)
    }

    /// The worst of what is found at that time (seconds since 1970).
    fn worst(config: &Config, trouble: Option<&str>, port: u16, now: i64) -> (Severity, String) {
        let mut found = Findings::default();
        examine(config, trouble, &[port], UnixTime(now * 1000), &mut found);
        let worst = found.into_vec().into_iter().max_by_key(|finding| finding.severity).unwrap();
        (worst.severity, worst.what)
    }

    /// In January, September and the next year.
    const TIMES: [i64; 3] = [1_768_000_000, 1_789_000_000, 1_800_000_000];

    #[test]
    fn a_certificate_is_found_good_due_or_ended() {
        let (_folder, config) = furnished();
        let (severity, what) = worst(&config, None, 443, TIMES[0]);
        assert_eq!(severity, Severity::Ok);
        assert!(what.ends_with("ends at 2026-12-31T00:00:00.000Z"), "{what}");
        let (severity, what) = worst(&config, Some("nobody answers"), 443, TIMES[1]);
        assert_eq!(severity, Severity::Warn);
        assert!(what.ends_with("should have been renewed: nobody answers"), "{what}");
        let (severity, what) = worst(&config, None, 443, TIMES[2]);
        assert_eq!(severity, Severity::Fail);
        assert!(what.contains("ended at 2026-12-31"), "{what}");
    }

    #[test]
    fn what_stands_in_its_way_is_found() {
        let (folder, config) = furnished();
        let (severity, what) = worst(&config, None, 8443, TIMES[0]);
        assert_eq!(severity, Severity::Warn);
        assert!(what.contains("on port 443"), "{what}");
        let other = Config { names: vec!["other.example.net".to_owned()], ..config.clone() };
        let (severity, what) = worst(&other, None, 443, TIMES[0]);
        assert_eq!(severity, Severity::Warn);
        assert!(what.contains("for other names"), "{what}");
        let none = Config { folder: folder.path().join("not/there/yet"), ..config.clone() };
        let (severity, what) = worst(&none, None, 443, TIMES[0]);
        assert_eq!(severity, Severity::Warn);
        assert!(what.starts_with("there is no certificate"), "{what}");
        let file = Config { folder: config.ca.clone(), ..config.clone() };
        let (severity, what) = worst(&file, None, 443, TIMES[0]);
        assert_eq!(severity, Severity::Fail);
        assert!(what.contains("is no folder") || what.contains("cannot be"), "{what}");
        fs::set_permissions(&config.folder, fs::Permissions::from_mode(0o777)).unwrap();
        let (severity, what) = worst(&config, None, 443, TIMES[0]);
        assert_eq!(severity, Severity::Fail);
        assert!(what.contains("others may write"), "{what}");
        fs::set_permissions(&config.folder, fs::Permissions::from_mode(0o700)).unwrap();
        fs::remove_file(&config.ca).unwrap();
        let (severity, what) = worst(&config, None, 443, TIMES[0]);
        assert_eq!(severity, Severity::Fail);
        assert!(what.contains("portal.acme.ca: cannot read"), "{what}");
    }
}
