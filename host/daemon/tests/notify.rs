//! What the service manager hears, with this test in its place.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use homeward_daemon::{Reload, Shutdown, notify};

/// The life of a service. It runs in a process of its own, for the socket's name comes from the
/// environment.
async fn service() {
    notify::status("2 VAPs\nREADY=0");
    notify::ready();
    let (requester, mut reload) = Reload::channel();
    requester.request();
    drop(reload.requested().await);
    // The watchdog speaks at once.
    let _ = tokio::time::timeout(Duration::from_millis(1), notify::keep_alive()).await;
    let shutdown = Shutdown::new();
    shutdown.trigger();
    // Left at the second poll: the first comes before the stop is noticed.
    let work = tokio::task::yield_now();
    assert_eq!(shutdown.supervise(Duration::from_secs(10), work).await, Ok(()));
}

#[test]
fn the_service_manager_hears_of_start_reload_watchdog_and_stop() {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(service());
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_service_manager_hears_of_start_reload_watchdog_and_stop"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "30000000")
        .env_remove("WATCHDOG_PID")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());

    manager.set_nonblocking(true).unwrap();
    let mut heard = Vec::new();
    let mut room = [0; 1024];
    while let Ok(length) = manager.recv(&mut room) {
        let text = String::from_utf8_lossy(&room[..length]).into_owned();
        // The time of a reload is another one each time.
        heard.push(text.split("MONOTONIC_USEC").next().unwrap_or_default().to_owned());
    }
    assert_eq!(
        heard,
        [
            "STATUS=2 VAPs READY=0\n",
            "READY=1\n",
            "RELOADING=1\n",
            "READY=1\n",
            "WATCHDOG=1\n",
            "STOPPING=1\n",
        ]
    );
}
