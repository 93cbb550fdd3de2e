//! The control channel, from the operator's first command to a gateway that is thrown out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homeward_channel::{Channel, Client, ClientSettings, End, Refusal};
use homeward_control::{FromGateway, Hello, PublicKey, ToGateway, VERSIONS, pb};
use homeward_daemon::SystemClock;
use serde_json::{Value, json};

use crate::bench::{Bench, homeward, mode};
use crate::running::{Running, core_config, gateway_config};

/// A core with a control channel on a port that the kernel chooses: its configuration.
fn with_channel(bench: &Bench) -> String {
    let text = std::fs::read_to_string(core_config(bench)).unwrap();
    bench.file("core.toml", &format!("{text}[controller]\nlisten = [\"127.0.0.1:0\"]\n"))
}

fn status(config: &str) -> Value {
    homeward(&["core", "status", "--json", "--config", config]).json()
}

fn address(config: &str) -> String {
    status(config)["controller"]["listen"][0].as_str().unwrap().to_owned()
}

/// Enrols gw-1 with a token, by the commands that people use.
fn enrol(bench: &Bench, core: &str) -> Value {
    bench.admin("gateway enrol gw-1 --token-out %/gw-1.token").ok();
    let (token, directory) = (bench.path("gw-1.token"), bench.path("gateway"));
    let words = [
        "gateway",
        "enrol",
        "--json",
        "--core",
        core,
        "--token-file",
        token.to_str().unwrap(),
        "--dir",
        directory.to_str().unwrap(),
    ];
    homeward(&words).json()
}

fn client(directory: &Path, core: &str) -> Client {
    let (settings, clock) = (ClientSettings::default(), Arc::new(SystemClock));
    Client::new(vec![core.to_owned()], directory.to_owned(), settings, clock)
}

/// Opens a channel and says Hello, until the controller has answered.
async fn greet(client: &Client) -> Channel {
    let mut channel = client.connect().await.unwrap();
    let hello = Hello {
        path_keys: Vec::new(),
        legs_max: 0,
        versions: VERSIONS,
        boot: 1,
        software: "a test".to_owned(),
        public_key: PublicKey([7; 32]),
        endpoints: Vec::new(),
        home: true,
        prepared_max: 0,
        bssids: Vec::new(),
        tunnels: Vec::new(),
        devices: Vec::new(),
        wants: Vec::new(),
        prepared: Vec::new(),
        inner_address: None,
        carries_logins: false,
    };
    channel.to_core.send(FromGateway::Hello(hello).to_pb()).await.unwrap();
    let first = channel.from_core.recv().await.unwrap();
    let welcome = ToGateway::from_pb(first).unwrap().unwrap();
    assert!(matches!(&welcome, ToGateway::Welcome(w) if w.name.as_str() == "gw-1"), "{welcome:?}");
    channel
}

fn on_runtime<F: Future>(work: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.unwrap().block_on(work)
}

#[test]
fn a_gateway_enrols_connects_and_is_cut_off_the_moment_it_is_revoked() {
    let bench = Bench::furnished();
    let config = with_channel(&bench);
    let mut core = Running::start(&bench, "core", &config);
    let address = address(&config);
    let enrolled = enrol(&bench, &address);
    assert_eq!((&enrolled["gateway"], &enrolled["id"]), (&json!("gw-1"), &json!(1)));
    assert_eq!(mode(&bench.path("gateway/gateway.pem")), 0o600);

    let client = client(&bench.path("gateway"), &address);
    on_runtime(async {
        let mut channel = greet(&client).await;
        let controller = status(&config)["controller"].clone();
        assert_eq!(controller["totals"]["connected"], 1);
        assert_eq!(controller["gateways"][0]["name"], "gw-1");
        let text = homeward(&["core", "status", "--config", &config]).ok();
        assert!(text.contains("1 connected of 1") && text.contains("gw-1"), "{text}");
        let shown = bench.admin("gateway show gw-1 --json").json()["channel"].clone();
        assert_eq!(shown["state"], "enrolled");
        assert!(shown["first_used"].is_string() && shown["not_after"].is_string(), "{shown}");

        let told = bench.admin("gateway revoke gw-1 --json").json();
        assert_eq!(told, json!({ "gateway": "gw-1", "revoked": 1 }));
        let end = tokio::time::timeout(Duration::from_secs(1), async {
            while channel.from_core.recv().await.is_some() {}
            channel.ended().await
        });
        let End::Goodbye { reason, .. } = end.await.expect("it is still connected") else {
            panic!("without a goodbye");
        };
        assert_eq!(reason, pb::GoodbyeReason::Revoked);
        let error = client.connect().await.err().unwrap();
        assert_eq!(error.refusal(), Some(Refusal::Revoked), "{error}");
    });
    assert_eq!(bench.admin("gateway show gw-1 --json").json()["channel"]["state"], "revoked");
    assert_eq!(status(&config)["controller"]["totals"]["connected"], 0);

    // A new token lets it in again.
    enrol(&bench, &address);
    on_runtime(async { drop(greet(&client).await) });
    let log = core.stop();
    assert!(!log.contains("hw1_"), "a token was logged");
}

#[test]
fn a_suspended_gateway_is_cut_off_and_comes_back_once_it_is_resumed() {
    let bench = Bench::furnished();
    let config = with_channel(&bench);
    let mut core = Running::start(&bench, "core", &config);
    let address = address(&config);
    enrol(&bench, &address);
    let client = client(&bench.path("gateway"), &address);
    on_runtime(async {
        let mut channel = greet(&client).await;
        bench.admin("gateway suspend gw-1").ok();
        let end = tokio::time::timeout(Duration::from_secs(1), channel.ended()).await;
        assert!(matches!(end.expect("still connected"), End::Goodbye { .. }));
        let error = client.connect().await.err().unwrap();
        assert_eq!(error.refusal(), Some(Refusal::Suspended), "{error}");
        let error = bench.admin("gateway enrol gw-1").fails(1);
        assert!(error.contains("gateway resume gw-1"), "{error}");
        bench.admin("gateway resume gw-1").ok();
        drop(greet(&client).await);
    });
    core.stop();
}

#[test]
fn a_core_that_stops_says_goodbye_and_has_the_same_authority_afterwards() {
    let bench = Bench::furnished();
    let config = with_channel(&bench);
    let mut core = Running::start(&bench, "core", &config);
    let first = address(&config);
    enrol(&bench, &first);
    let pin = || bench.admin("gateway enrol gw-1 --json").json()["pin"].clone();
    let before = pin();
    on_runtime(async {
        let mut channel = greet(&client(&bench.path("gateway"), &first)).await;
        core.stop();
        let End::Goodbye { reason, .. } = channel.ended().await else { panic!("no goodbye") };
        assert_eq!(reason, pb::GoodbyeReason::Unavailable);
        let _again = Running::start(&bench, "core", &config);
        assert_eq!(pin(), before);
        drop(greet(&client(&bench.path("gateway"), &address(&config))).await);
    });
}

#[test]
fn a_token_is_shown_once_is_good_once_and_not_for_ever() {
    let bench = Bench::furnished();
    let config = with_channel(&bench);
    let _core = Running::start(&bench, "core", &config);
    let address = address(&config);
    let dir = bench.path("gateway");
    let use_token = |token: &str| {
        let dir = dir.to_str().unwrap();
        homeward(&["gateway", "enrol", "--core", &address, "--token", token, "--dir", dir])
    };
    let shown = bench.admin("gateway enrol gw-1").ok();
    assert!(shown.contains("shown this once"), "{shown}");
    let token = shown.lines().find(|line| line.starts_with("hw1_")).unwrap();
    let state = || bench.admin("gateway show gw-1 --json").json()["channel"]["state"].clone();
    assert_eq!(state(), "token");
    assert!(bench.admin("gateway list").ok().contains("token until 20"));
    let done = use_token(token).ok();
    assert!(done.contains("enrolled as gateway gw-1"), "{done}");
    assert!(bench.admin("gateway list").ok().contains("enrolled until 20"));
    let error = use_token(token).fails(77);
    assert!(error.contains("used already") && error.contains("gateway revoke"), "{error}");

    let newer = bench.admin("gateway enrol gw-1 --json").json();
    bench.admin("gateway revoke gw-1").ok();
    let error = use_token(newer["token"].as_str().unwrap()).fails(77);
    assert!(error.contains("does not know this token"), "{error}");
    assert_eq!(state(), "revoked");

    let mut damaged = token.to_owned();
    damaged.pop();
    assert!(use_token(&damaged).fails(2).contains("damaged in copying"));
    assert!(use_token("hunter2").fails(2).contains("no enrolment token"));
    assert!(bench.admin("gateway enrol gw-1 --valid 1s").fails(2).contains("use 1m to 365d"));
    bench.admin("gateway enrol gw-9").fails(66);
    bench.admin("gateway revoke gw-9").fails(66);
}

#[test]
fn without_a_core_or_a_token_the_gateway_says_what_is_missing() {
    let bench = Bench::new();
    let dir = bench.path("gateway");
    let dir = dir.to_str().unwrap();
    homeward(&["gateway", "enrol", "--core", "127.0.0.1:9"]).fails(2);
    let token = bench.file("token", "hunter2\n");
    let words = ["gateway", "enrol", "--core", "127.0.0.1:9", "--dir", dir, "--token-file", &token];
    assert!(homeward(&words).fails(66).contains("no enrolment token"));
    let shown = Bench::furnished().admin("gateway enrol gw-1 --json").json();
    bench.file("token", shown["token"].as_str().unwrap());
    assert!(homeward(&words).fails(69).contains("cannot connect to the core at 127.0.0.1:9"));
}

#[test]
fn an_agent_with_a_token_file_enrols_by_itself_and_shows_up_at_the_core() {
    let bench = Bench::furnished();
    let config = with_channel(&bench);
    let _core = Running::start(&bench, "core", &config);
    bench.admin("gateway enrol gw-1 --token-out %/gw-1.token").ok();
    bench.file("gw-1.secret", "a secret of a good length");
    let gateway = gateway_config(&bench, "127.0.0.1:9");
    let text = std::fs::read_to_string(&gateway).unwrap();
    let gateway = bench.file(
        "gateway.toml",
        &format!(
            "{text}[channel]\ncore = [{:?}]\ndirectory = {:?}\ntoken_file = {:?}\n",
            address(&config),
            bench.path("gateway"),
            bench.path("gw-1.token"),
        ),
    );
    let mut agent = Running::start(&bench, "gateway", &gateway);
    let connected = || status(&config)["controller"]["totals"]["connected"] == 1;
    while !connected() {
        std::thread::yield_now();
    }
    let software = status(&config)["controller"]["gateways"][0]["software"].clone();
    assert!(software.as_str().unwrap().contains("homeward"), "{software}");
    agent.stop();
    while connected() {
        std::thread::yield_now();
    }
}

#[test]
fn the_doctor_sees_whether_the_control_channel_can_be_opened() {
    let bench = Bench::furnished();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = std::fs::read_to_string(with_channel(&bench)).unwrap();
    let config = bench.file("core.toml", &text);
    let report = homeward(&["doctor", "core", "--config", &config]).ok();
    assert!(report.contains("127.0.0.1:0 (TCP) is free"), "{report}");
    let (head, _) = text.split_once("[controller]").unwrap();
    let busy = format!("{head}[controller]\nlisten = [{address:?}]\n");
    let config = bench.file("core.toml", &busy);
    let done = homeward(&["doctor", "core", "--config", &config]);
    assert_eq!(done.code, 1);
    assert!(done.stdout.contains(&format!("cannot listen on {address} (TCP)")), "{}", done.stdout);
    let error = homeward(&["core", "--config", &config]).fails(69);
    assert!(error.contains(&address) && error.contains("ss -tlpn"), "{error}");
}
