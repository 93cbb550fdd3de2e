//! The disk full, failing, locked or gone: nobody in the transaction is answered, nothing that was
//! acknowledged is lost, and the ledger goes on by itself when the cause is gone.

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use homeward_accounting::Kind;
use homeward_accounting::testing::{nas, record};
use homeward_ledger::{Ledger, Options, Settings, WriteError};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

use crate::world::{BEGAN, World, came, entry};

const DIRECTORY: &str = "HOMEWARD_LEDGER_FAULT_DIRECTORY";

/// Runs a test of this module as a process that `sh` has prepared, with a directory of its own.
fn child(prepare: &str, test: &str) {
    let directory = TempDir::new().unwrap();
    let status = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-ec"])
        .arg(format!("{prepare}\nexec \"$@\""))
        .args(["sh".as_ref(), env::current_exe().unwrap().as_os_str()])
        .args(["--exact", test, "--nocapture"])
        .env(DIRECTORY, directory.path())
        .output()
        .expect("unshare (util-linux)");
    let (out, err) =
        (String::from_utf8_lossy(&status.stdout), String::from_utf8_lossy(&status.stderr));
    assert!(status.status.success(), "{out}{err}");
    assert!(out.contains("1 passed"), "{out}{err}");
}

fn directory() -> Option<PathBuf> {
    env::var_os(DIRECTORY).map(PathBuf::from)
}

/// Submits until the ledger refuses, has the cause removed, and submits again what was not
/// acknowledged, as a NAS does; then looks at what there is. Each record is of a NAS of its own.
/// Gives an error.
async fn until_it_fails_and_goes_on(directory: &Path, repair: impl FnOnce()) -> WriteError {
    let mut ledger = Ledger::open(&directory.join("ledger.db")).await.unwrap();
    let gateway = |n: u64| nas(&format!("gw-{n}"));
    let submit = async |ledger: &Ledger, n: u64| {
        let record = record(gateway(n), "s", Kind::Interim, BEGAN, 60, (n, 0));
        ledger.submit(came(record)).unwrap().await
    };
    // Each time it fails it folds its log into the file, and may find room for one more.
    let (mut n, mut failed, mut errors) = (0, Vec::new(), Vec::new());
    while errors.len() < 3 {
        n += 1;
        match submit(&ledger, n).await {
            Ok(_) => errors.clear(),
            Err(error) => {
                errors.push(error);
                failed.push(n);
            }
        }
    }
    assert!(failed.len() < usize::try_from(n).unwrap(), "something was acknowledged");
    let counters = ledger.counters().all();
    let counted = counters.iter().filter(|(name, _)| name.starts_with("failed_"));
    let counted: u64 = counted.map(|(_, n)| n).sum();
    let unacknowledged = ledger.counters().unacknowledged.get();
    assert_eq!(unacknowledged, failed.len() as u64);
    assert!(counted >= unacknowledged, "{counted} failures were counted");
    repair();
    for again in failed {
        submit(&ledger, again).await.expect("it goes on");
    }
    let month = homeward_accounting::Period::of(homeward_model::QuotaPeriod::Month, BEGAN);
    let subject = homeward_ledger::Subject::Account(homeward_model::AccountId(1));
    for _ in 0..2 {
        let reader = ledger.reader();
        for n in 1..=n {
            let found = reader.sessions_named(&gateway(n), "s").await.unwrap();
            let octets: Vec<u64> = found.iter().map(|s| s.session.figures.input).collect();
            assert_eq!(octets, [n]);
            assert_eq!(reader.records(found[0].id).await.unwrap().len(), 1, "record {n}");
        }
        assert_eq!(reader.usage(subject, month).await.unwrap().input, n * (n + 1) / 2);
        // And the same again after a restart.
        ledger.close().await;
        ledger = Ledger::open(&directory.join("ledger.db")).await.unwrap();
    }
    errors.remove(0)
}

/// The child of the test below: not to be run by itself, and then it does nothing.
#[tokio::test]
async fn the_process_on_a_small_disk() {
    let Some(directory) = directory() else { return };
    let ballast = directory.join("ballast");
    fs::write(&ballast, vec![1; 600_000]).unwrap();
    let remove = || fs::remove_file(&ballast).unwrap();
    let error = until_it_fails_and_goes_on(&directory, remove).await;
    assert!(matches!(error, WriteError::Full(_)), "{error:?}");
    assert!(error.to_string().contains("is full: make room"), "{error}");
}

#[test]
fn a_full_disk_fails_what_does_not_fit_and_the_ledger_goes_on_when_there_is_room() {
    let prepare = format!("mount -t tmpfs -o size=1m none \"${DIRECTORY}\"");
    child(&prepare, "faults::the_process_on_a_small_disk");
}

/// The child of the test below: not to be run by itself, and then it does nothing.
#[tokio::test]
async fn the_process_whose_writes_fail() {
    let Some(directory) = directory() else { return };
    let lift = || {
        let pid = std::process::id().to_string();
        let status = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
        assert!(status.unwrap().success());
    };
    let error = until_it_fails_and_goes_on(&directory, lift).await;
    assert!(matches!(error, WriteError::Io { .. }), "{error:?}");
}

/// A limit on the size of files makes `write` fail with EFBIG, which SQLite takes as it takes EIO:
/// any error of `write` but ENOSPC is `SQLITE_IOERR_WRITE`.
#[test]
fn a_failing_disk_fails_what_was_being_written_and_the_ledger_goes_on_when_it_works_again() {
    // Units of 512 octets; and only the soft limit, which may be lifted again.
    let prepare = "trap '' XFSZ; ulimit -S -f 280";
    child(prepare, "faults::the_process_whose_writes_fail");
}

#[tokio::test]
async fn a_locked_file_fails_what_waited_for_too_long_and_the_ledger_goes_on() {
    let busy_timeout = Duration::from_millis(20);
    let world = World::with(Settings { busy_timeout, ..Settings::default() }).await;
    world.report(Kind::Start, 0, 0).await;
    let mut other = SqliteConnectOptions::new().filename(world.path()).connect().await.unwrap();
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = world.ledger.submit(entry("a-1", Kind::Interim, 60, 9)).unwrap().await.unwrap_err();
    assert!(matches!(error, WriteError::Locked(_)), "{error:?}");
    held.rollback().await.unwrap();
    world.report(Kind::Interim, 60, 9).await;
    assert_eq!(world.usage(11).await.input, 9);
    assert!(world.ledger.counters().failed_locked.get() >= 1);
}

#[tokio::test]
async fn a_file_that_was_taken_away_acknowledges_nothing_until_it_is_back() {
    let world = World::new().await;
    world.report(Kind::Start, 0, 0).await;
    let away = world.directory.path().join("away");
    fs::rename(world.path(), &away).unwrap();
    let error = world.ledger.submit(entry("a-1", Kind::Interim, 60, 9)).unwrap().await.unwrap_err();
    assert!(matches!(error, WriteError::Gone(_)), "{error:?}");
    fs::rename(&away, world.path()).unwrap();
    world.report(Kind::Interim, 60, 9).await;
    assert_eq!(world.usage(11).await.input, 9);
    assert!(world.ledger.counters().failed_gone.get() >= 1);
}

#[tokio::test]
async fn what_is_no_ledger_is_refused_and_not_touched() {
    let directory = TempDir::new().unwrap();
    let open = async |name: &str| {
        let path = directory.path().join(name);
        Ledger::open(&path).await.unwrap_err().to_string()
    };
    let file = |name: &str, mode: u32| {
        let path = directory.path().join(name);
        fs::write(&path, "a text that is no database, and long enough for a header of one")
            .unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    file("open-to-all", 0o644);
    assert!(open("open-to-all").await.contains("chmod 600"));
    file("text", 0o600);
    assert!(open("text").await.contains("is not a SQLite database"));
    fs::DirBuilder::new().mode(0o700).create(directory.path().join("directory")).unwrap();
    assert!(open("directory").await.contains("is not a file"));
    assert!(open("none/ledger.db").await.contains("create it first"));
    let path = directory.path().join("foreign");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut foreign = options.connect().await.unwrap();
    sqlx::query("CREATE TABLE other (a)").execute(&mut foreign).await.unwrap();
    foreign.close().await.unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(open("foreign").await.contains("no ledger of Homeward"));
    let missing = Options::new(directory.path().join("missing")).create(false).open().await;
    assert!(missing.unwrap_err().to_string().starts_with("no ledger at"));
}
