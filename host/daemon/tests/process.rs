//! A process of several roles.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use homeward_daemon::control::ask;
use homeward_daemon::process::{ControlConfig, MetricsConfig};
use homeward_daemon::{Part, Process, Reload, Request, Shutdown};
use serde_json::{Value, json};

fn config(directory: &tempfile::TempDir) -> (ControlConfig, PathBuf) {
    let path = directory.path().join("core.sock");
    (ControlConfig { socket: Some(path.clone()) }, path)
}

/// A role that ends when a stop is requested.
fn part(said: Value, shutdown: &Shutdown) -> Part {
    let shutdown = shutdown.clone();
    let status = move || {
        let said = said.clone();
        async move { said }
    };
    Part::new(status, async move {
        shutdown.requested().await;
        Ok(())
    })
}

#[tokio::test]
async fn every_role_is_in_one_status_and_all_end_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let (control, path) = config(&directory);
    let shutdown = Shutdown::new();
    let mut process = Process::new("core", "1.2.3");
    process.add(part(json!({ "lookups": 7 }), &shutdown));
    process.add(part(json!({ "gateways": 2 }), &shutdown).section("controller"));
    let (_requester, reload) = Reload::channel();
    let metrics = MetricsConfig::default();
    let serving = process.serve(&control, &metrics, || {}, shutdown.clone(), reload);
    let asking = async {
        // The socket is bound before `serve` waits for anything.
        let status = ask(&path, &Request::new("status")).await.unwrap();
        assert_eq!(status["role"], "core");
        assert_eq!((&status["version"], &status["lookups"]), (&json!("1.2.3"), &json!(7)));
        assert_eq!(status["controller"], json!({ "gateways": 2 }));
        let metrics = ask(&path, &Request::new("metrics")).await.unwrap();
        assert!(metrics.as_str().unwrap().contains("homeward_build_info{role=\"core\""));
        let error = ask(&path, &Request::new("dance")).await.unwrap_err();
        assert!(error.to_string().contains("there are: status, metrics"), "{error}");
        shutdown.trigger();
    };
    let (ended, ()) = tokio::join!(serving, asking);
    ended.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_role_that_fails_stops_the_others_and_its_error_is_the_processs() {
    let directory = tempfile::tempdir().unwrap();
    let (control, _) = config(&directory);
    let shutdown = Shutdown::new();
    let mut process = Process::new("core", "1");
    process.add(part(json!({}), &shutdown));
    let fail = async { Err(anyhow::anyhow!("the antenna fell off")) };
    process.add(Part::new(|| async { json!({}) }, fail).section("other"));
    let (_requester, reload) = Reload::channel();
    let metrics = MetricsConfig::default();
    let ended = process.serve(&control, &metrics, || {}, shutdown, reload).await;
    assert_eq!(ended.unwrap_err().to_string(), "the antenna fell off");
}

#[tokio::test]
async fn a_reload_is_passed_on() {
    let directory = tempfile::tempdir().unwrap();
    let (control, _) = config(&directory);
    let shutdown = Shutdown::new();
    let mut process = Process::new("core", "1");
    process.add(part(json!({}), &shutdown));
    let (requester, reload) = Reload::channel();
    let count = Arc::new(AtomicU32::new(0));
    let (counted, stop) = (Arc::clone(&count), shutdown.clone());
    let on_reload = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        stop.trigger();
    };
    requester.request();
    let metrics = MetricsConfig::default();
    process.serve(&control, &metrics, on_reload, shutdown, reload).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1);
}
