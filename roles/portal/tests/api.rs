//! The administrators' API, asked as a handler: who may do what, and what becomes of it.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use homeward_daemon::{Metrics, SystemClock};
use homeward_http::{Handler, Peer};
use homeward_model::{
    Clock, Coverage, Nai, Secret, ServiceTerms, Status, UnixTime, Uses, Verifier,
};
use homeward_portal::api::Api;
use homeward_store::{MemoryStore, NewAccount, NewClass, NewIssue, NewLogin, Store, Way};
use http_body_util::BodyExt;
use hyper::Request;
use serde_json::{Value, json};
use tempfile::TempDir;

const READER: &str = "a token that may read";
const WRITER: &str = "a token that may write";
const IMSI: &str = "999700123456789";

struct World {
    folder: TempDir,
    store: Arc<dyn Store>,
    api: Api,
}

fn sha256(token: &str) -> String {
    HEXLOWER.encode(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()).as_ref())
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        let file = folder.path().join("tokens.toml");
        write(
            &file,
            &format!(
                "[viewer]\nrole = \"read\"\nsha256 = {:?}\n[shop]\nrole = \"write\"\nsha256 = {:?}\n",
                sha256(READER),
                sha256(WRITER)
            ),
        );
        let mut metrics = Metrics::new("core", "1");
        let api = Api::load(&file, Arc::clone(&store), &mut metrics).unwrap();
        let class = NewClass {
            name: "gold".parse().unwrap(),
            coverage: Coverage::default(),
            terms: ServiceTerms::default(),
            retention: None,
        };
        let class = store.create_class(&class).await.unwrap();
        let account =
            NewAccount { name: "smith".parse().unwrap(), class: class.id, status: Status::Active };
        store.create_account(&account).await.unwrap();
        Self { folder, store, api }
    }

    /// Status and body.
    async fn call(&self, token: Option<&str>, what: &str, body: &str) -> (u16, Value) {
        let (method, path) = what.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let peer = Peer { address: "192.0.2.7".parse().unwrap(), apn: None };
        let answer = match self.api.admit(&peer, &head) {
            Ok(()) => self.api.answer(&peer, head, body.to_owned().into()).await,
            Err(refused) => *refused,
        };
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        (status, value)
    }

    async fn reads(&self, path: &str) -> Value {
        let (status, value) = self.call(Some(READER), &format!("GET {path}"), "").await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    async fn writes(&self, what: &str, body: &Value) -> (u16, Value) {
        self.call(Some(WRITER), what, &body.to_string()).await
    }
}

fn write(file: &std::path::Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn without_a_token_that_is_known_nothing_is_answered_but_that_we_are_here() {
    let world = World::start().await;
    assert_eq!(world.call(None, "GET /healthz", "").await, (200, json!("ok\n")));
    for token in [None, Some(""), Some("a token that may"), Some(&*sha256(READER))] {
        for what in ["GET /api/v1/subscribers", "DELETE /api/v1/subscribers/1", "GET /nowhere"] {
            let (status, value) = world.call(token, what, "").await;
            assert_eq!((status, &value["status"]), (401, &json!(401)), "{token:?} {what}");
        }
    }
}

#[tokio::test]
async fn a_token_that_may_read_changes_nothing() {
    let world = World::start().await;
    for what in [
        "POST /api/v1/subscribers",
        "PATCH /api/v1/subscribers/1",
        "DELETE /api/v1/subscribers/1",
        "PUT /api/v1/policies/default",
        "DELETE /api/v1/policies/default",
        "DELETE /api/v1/issued/1",
    ] {
        let body = json!({"imsi": IMSI, "account": "smith"}).to_string();
        let (status, value) = world.call(Some(READER), what, &body).await;
        assert_eq!(status, 403, "{what}: {value}");
    }
    assert_eq!(world.reads("/api/v1/subscribers").await, json!({"items": []}));
    assert_eq!(world.reads("/api/v1/audit").await, json!({"items": []}));
}

#[tokio::test]
async fn a_subscriber_is_created_found_changed_and_deleted_and_the_trail_says_by_whom() {
    let world = World::start().await;
    let new = json!({"imsi": IMSI, "msisdn": "447700900123", "account": "smith"});
    let (status, made) = world.writes("POST /api/v1/subscribers", &new).await;
    let id = made["id"].as_i64().unwrap();
    let whole = json!({"id": id, "imsi": IMSI, "msisdn": "447700900123", "account": "smith",
        "label": "", "status": "active"});
    assert_eq!((status, &made), (201, &whole));
    let at = format!("/api/v1/subscribers/{id}");
    assert_eq!(world.reads(&at).await, whole);
    for query in ["imsi=999700123456789", "msisdn=447700900123", "account=smith&status=active", ""]
    {
        let found = world.reads(&format!("/api/v1/subscribers?{query}")).await;
        assert_eq!(found, json!({"items": [whole]}), "{query}");
    }
    for query in
        ["imsi=999700123456780", "status=suspended", "imsi=999700123456789&status=suspended"]
    {
        let found = world.reads(&format!("/api/v1/subscribers?{query}")).await;
        assert_eq!(found, json!({"items": []}), "{query}");
    }
    let (status, said) = world.writes("POST /api/v1/subscribers", &new).await;
    assert_eq!(status, 409, "{said}");
    let (status, changed) =
        world.writes(&format!("PATCH {at}"), &json!({"msisdn": null, "label": "van"})).await;
    assert_eq!((status, &changed["msisdn"], &changed["label"]), (200, &Value::Null, &json!("van")));
    assert_eq!(changed["imsi"], IMSI);
    assert_eq!(world.writes(&format!("DELETE {at}"), &json!({})).await.0, 204);
    assert_eq!(world.writes(&format!("DELETE {at}"), &json!({})).await.0, 404);
    assert_eq!(world.writes(&format!("PATCH {at}"), &json!({"label": "x"})).await.0, 404);
    let trail = world.reads("/api/v1/audit?actor=api:shop&kind=subscriber").await;
    let done: Vec<&Value> =
        trail["items"].as_array().unwrap().iter().map(|entry| &entry["operation"]).collect();
    assert_eq!(done, ["create", "update", "delete"]);
    assert_eq!(trail["items"][1]["before"]["msisdn"], "447700900123");
    let later = world.reads("/api/v1/audit?after=1&limit=1").await;
    assert_eq!(later["items"].as_array().unwrap().len(), 1);
    assert!(later["next"].is_i64(), "{later}");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_the_reason() {
    let world = World::start().await;
    let subscriber = |account: &str| json!({"imsi": IMSI, "account": account}).to_string();
    for (what, body, status, says) in [
        ("POST /api/v1/subscribers", "{".to_owned(), 400, "EOF"),
        (
            "POST /api/v1/subscribers",
            "{\"imsi\": \"9\", \"account\": \"smith\"}".to_owned(),
            400,
            "6 to 15",
        ),
        (
            "POST /api/v1/subscribers",
            "{\"imsi\": \"999700123456789\", \"account\": \"smith\", \"x\": 1}".to_owned(),
            400,
            "unknown field",
        ),
        ("POST /api/v1/subscribers", subscriber("jones"), 422, "no account named jones"),
        ("GET /api/v1/subscribers?imsi=1", String::new(), 400, "imsi: "),
        ("GET /api/v1/subscribers?colour=red", String::new(), 400, "no parameter colour"),
        ("GET /api/v1/subscribers?limit=0", String::new(), 400, "limit"),
        ("GET /api/v1/subscribers/x", String::new(), 404, "record x"),
        ("PUT /api/v1/subscribers", String::new(), 405, "GET and POST"),
        ("GET /api/v1/audit?kind=grant", String::new(), 400, "kind"),
        ("GET /api/v1/policies/class/none", String::new(), 404, "class none"),
        (
            "PUT /api/v1/policies/default",
            "{\"wlan\":{\"networks\":[],\"server_name\":\"a.b\"}}".to_owned(),
            422,
            "wlan.networks",
        ),
        ("GET /api/v1/nothing", String::new(), 404, "openapi.json"),
        ("GET /else", String::new(), 404, "openapi.json"),
    ] {
        let (found, value) = world.call(Some(WRITER), what, &body).await;
        assert_eq!(found, status, "{what}: {value}");
        assert!(value["detail"].as_str().unwrap().contains(says), "{what}: {value}");
    }
}

#[tokio::test]
async fn a_policy_is_set_shown_and_cleared_for_each_scope() {
    let world = World::start().await;
    let policy =
        json!({"wlan": {"networks": [{"ssid": "Town"}], "server_name": "aaa.example.net"}});
    for (at, scope) in [
        ("default", json!("default")),
        ("class/gold", json!({"class": "gold"})),
        ("mac/02:00:5E:10:00:01", json!({"mac": "02:00:5e:10:00:01"})),
    ] {
        let at = format!("/api/v1/policies/{at}");
        let (status, _) = world.call(Some(READER), &format!("GET {at}"), "").await;
        assert_eq!(status, 404);
        let (status, set) = world.writes(&format!("PUT {at}"), &policy).await;
        assert_eq!((status, &set["scope"]), (200, &scope), "{set}");
        assert_eq!(set["policy"]["terms"]["lifetime"], 604_800);
        assert_eq!(world.reads(&at).await, set);
    }
    let all = world.reads("/api/v1/policies").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
    assert_eq!(world.writes("DELETE /api/v1/policies/class/gold", &json!({})).await.0, 204);
    assert_eq!(world.writes("DELETE /api/v1/policies/class/gold", &json!({})).await.0, 404);
}

#[tokio::test]
async fn what_was_issued_is_shown_without_its_password_and_withdrawn() {
    let world = World::start().await;
    let new = json!({"imsi": IMSI, "account": "smith"});
    world.writes("POST /api/v1/subscribers", &new).await;
    let account = world.store.account_named(&"smith".parse().unwrap()).await.unwrap().unwrap();
    let (name, now): (Nai, UnixTime) =
        ("p2x@wlan.example.net".parse().unwrap(), SystemClock.unix());
    let login = NewLogin {
        account: account.id,
        name,
        verifier: Verifier::Password(Secret::new(b"not to be seen".to_vec())),
        mac: Some("02:00:5e:10:00:01".parse().unwrap()),
        expires: Some(UnixTime(now.0 + 60_000)),
        uses: Uses::Once,
        label: String::new(),
        status: Status::Active,
    };
    let issue = NewIssue {
        login,
        imsi: IMSI.parse().unwrap(),
        imei: None,
        mac: "02:00:5e:10:00:01".parse().unwrap(),
        address: Some("10.1.0.7".parse().unwrap()),
        issued: now,
        renew_from: None,
        way: Way::Https,
    };
    world.store.issue(&[issue]).await.unwrap().remove(0).unwrap();
    let listed = world.reads("/api/v1/issued?imsi=999700123456789").await;
    let one = &listed["items"][0];
    assert_eq!(one["username"], "p2x@wlan.example.net");
    assert_eq!((&one["uses"], &one["way"]), (&json!("once"), &json!("https")));
    assert!(!listed.to_string().contains("not to be seen"), "{listed}");
    let at = format!("DELETE /api/v1/issued/{}", one["login"]);
    assert_eq!(world.writes(&at, &json!({})).await.0, 204);
    assert_eq!(world.writes(&at, &json!({})).await.0, 404);
    assert_eq!(world.reads("/api/v1/issued").await, json!({"items": []}));
    let trail = world.reads("/api/v1/audit?actor=api:shop").await;
    assert!(!trail.to_string().contains("not to be seen"), "{trail}");
}

#[tokio::test]
async fn a_token_that_is_taken_out_of_the_file_is_good_until_the_reload_and_not_after() {
    let world = World::start().await;
    let file = world.folder.path().join("tokens.toml");
    let entry = format!("[other]\nrole = \"read\"\nsha256 = {:?}\n", sha256("another"));
    write(&file, &entry);
    world.reads("/api/v1/subscribers").await;
    world.api.reload().unwrap();
    assert_eq!(world.call(Some(READER), "GET /api/v1/subscribers", "").await.0, 401);
    assert_eq!(world.call(Some("another"), "GET /api/v1/subscribers", "").await.0, 200);
    write(&file, "nonsense");
    assert!(world.api.reload().is_err());
    assert_eq!(world.call(Some("another"), "GET /api/v1/subscribers", "").await.0, 200);
}

#[tokio::test]
async fn all_that_the_document_describes_is_there_and_nothing_is_asked_for_in_vain() {
    let world = World::start().await;
    let document = world.reads("/api/v1/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 9, "{}", paths.len());
    for (path, operations) in paths {
        for method in ["get", "post", "put", "patch", "delete"] {
            let at = path
                .replace("{id}", "1")
                .replace("{login}", "1")
                .replace("{name}", "gold")
                .replace("{mac}", "02:00:5e:10:00:01");
            let what = format!("{} {at}", method.to_uppercase());
            let (status, said) = world.call(Some(WRITER), &what, "").await;
            match operations.get(method) {
                None => assert!([404, 405].contains(&status), "{what} is not described: {status}"),
                Some(operation) => {
                    let described = operation["responses"].get(status.to_string());
                    assert!(described.is_some(), "{what}: {status} is not described: {said}");
                }
            }
        }
    }
}
