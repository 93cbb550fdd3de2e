//! Sessions that are told in mid-course what they are allowed now, at a NAS of pyrad's.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use homeward_radius::{Code, Packet};
use serde_json::{Value, json};

use crate::core::{Core, SECRET};
use crate::dissector::capture::Capture;

const COA_REQUEST: u8 = 43;
const DISCONNECT_REQUEST: u8 = 40;

/// A NAS that is told what to do with its sessions.
struct Das {
    process: Child,
    port: u16,
    requests: Receiver<Value>,
}

impl Drop for Das {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Das {
    /// One that takes CoA-Requests, refuses them, is silent, or knows no session.
    fn start(how: &str) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = here.join("tests/radius/pyrad");
        let mut process = Command::new(here.join("../../target/tools/python/bin/python"))
            .arg(script.join("das.py"))
            .arg(script.join("das.dictionary"))
            .args([SECRET, how])
            .stdout(Stdio::piped())
            .spawn()
            .expect("pyrad is missing: `make python` installs it");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().expect("a port").unwrap().parse().unwrap();
        let (said, requests) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = lines.map_while(Result::ok);
            let values = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
            values.for_each(|value| drop(said.send(value)));
        });
        Self { process, port, requests }
    }

    /// A core that tells it, with more of `[aaa]`.
    fn core(&self, aaa: &str) -> Core {
        Core::start_with(&format!("disconnect_port = {}\n{aaa}", self.port))
    }

    /// The next request; its code and attributes. What is the same in all is looked at here.
    #[track_caller]
    fn told(&self) -> (u8, Value) {
        let said = self.requests.recv_timeout(Duration::from_secs(15)).expect("a request");
        let mut attributes = said["attributes"].clone();
        let all = attributes.as_object_mut().unwrap();
        assert!(all.remove("Event-Timestamp").is_some(), "{said}");
        assert!(all.remove("Message-Authenticator").is_some(), "{said}");
        (said["code"].as_u64().unwrap().try_into().unwrap(), attributes)
    }
}

impl Core {
    /// Lets a log-in in at the NAS "oak", as that session of it.
    #[track_caller]
    fn session(&self, name: &str, password: &str, session: &str) {
        let answer = self.pap(name, password, &format!("Acct-Session-Id = \"{session}\", "));
        assert!(answer.contains("Received Access-Accept"), "{answer}");
    }

    /// Asks somebody else, signed; what radclient printed.
    fn radclient_to(&self, address: &str, kind: &str, attributes: &str) -> String {
        let file =
            self.secret_file("ask", &format!("{attributes}, Message-Authenticator = 0x00\n"));
        let output = Command::new("radclient")
            .args(["-x", "-r", "1", "-t", "1", "-f", &file, address, kind, SECRET])
            .output()
            .expect("radclient is missing: `make setup` installs freeradius-utils");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn count(&self, name: &str, outcome: &str, count: u32) {
        let line = format!("homeward_aaa_{name}_total{{outcome=\"{outcome}\"}} {count}");
        self.soon(&line, || self.status("metrics"));
    }
}

/// What names the session 5F, and more.
fn of_session(more: &Value) -> Value {
    let mut all = json!({
        "User-Name": ["phone@example.net"],
        "Calling-Station-Id": ["02-00-5E-20-00-07"],
        "NAS-Identifier": ["oak"],
        "Acct-Session-Id": ["5F"],
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

#[test]
fn a_session_is_told_what_its_class_of_service_allows_now_and_goes_on() {
    let das = Das::start("take");
    let core = das.core("");
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    core.session(phone.name, &phone.password, "5F");
    let set = ["--bandwidth-down", "10M", "--session-timeout", "1h", "--vlan", "30"];
    core.admin(&[&["class", "set", "standard", "--quota", "5GB/day"], &set[..]].concat());
    let allowed = json!({
        "WISPr-Bandwidth-Max-Down": [10_000_000],
        "Session-Timeout": [3600],
        "Termination-Action": [1],
        "Tunnel-Type": [13],
        "Tunnel-Medium-Type": [6],
        "Tunnel-Private-Group-Id": ["30"],
        "ChilliSpot-Max-Total-Octets": [705_032_704],
        "ChilliSpot-Max-Total-Gigawords": [1],
        "Mikrotik-Total-Limit": [705_032_704],
        "Mikrotik-Total-Limit-Gigawords": [1],
    });
    assert_eq!(das.told(), (COA_REQUEST, of_session(&allowed)));
    core.count("coa_requests", "changed", 1);
    // What is no limit any more is told as one that nobody reaches.
    core.admin(&["class", "set", "standard", "--bandwidth-down", "none", "--priority", "3"]);
    let allowed = json!({ "WISPr-Bandwidth-Max-Down": [u32::MAX] });
    assert_eq!(das.told(), (COA_REQUEST, of_session(&allowed)));
    // Another class of service for the account, and then an end to it all: nothing came between.
    core.admin(&["class", "create", "gold", "--bandwidth-up", "99M", "--session-timeout", "1h"]);
    core.admin(&["class", "set", "gold", "--vlan", "30", "--quota", "5GB/day"]);
    core.admin(&["account", "set", "smith", "--class", "gold"]);
    let allowed = json!({ "WISPr-Bandwidth-Max-Up": [99_000_000] });
    assert_eq!(das.told(), (COA_REQUEST, of_session(&allowed)));
    core.admin(&["class", "set", "gold", "--rename", "platinum", "--anchor", "local"]);
    core.admin(&["login", "suspend", phone.name]);
    assert_eq!(das.told(), (DISCONNECT_REQUEST, of_session(&json!({}))));
    core.count("disconnects", "ended", 1);
    core.count("coa_requests", "changed", 3);
}

#[test]
fn a_nas_that_refuses_has_the_session_ended_if_it_was_to_have_less() {
    let das = Das::start("refuse");
    let core = das.core("");
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    core.session(phone.name, &phone.password, "5F");
    core.admin(&["class", "set", "standard", "--bandwidth-down", "60M"]);
    assert_eq!(das.told().0, COA_REQUEST);
    core.count("coa_requests", "refused", 1);
    core.admin(&["class", "set", "standard", "--bandwidth-down", "5M"]);
    assert_eq!(das.told().0, COA_REQUEST, "more of it is no reason to end it");
    assert_eq!(das.told(), (DISCONNECT_REQUEST, of_session(&json!({}))));
    core.count("coa_requests", "refused", 2);
    core.count("disconnects", "ended", 1);
}

#[test]
fn a_nas_that_does_not_answer_is_asked_a_few_times_and_then_ends_the_session() {
    let das = Das::start("silent");
    let core = das.core("change_refused = \"end\"\n");
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    core.session(phone.name, &phone.password, "5F");
    core.admin(&["class", "set", "standard", "--bandwidth-down", "60M"]);
    let mut asked = 0;
    let end = loop {
        match das.told() {
            (COA_REQUEST, _) => asked += 1,
            end => break end,
        }
    };
    assert_eq!(end, (DISCONNECT_REQUEST, of_session(&json!({}))));
    assert!((3..20).contains(&asked), "{asked}");
    core.count("coa_requests", "timed-out", 1);
}

#[test]
fn a_session_that_is_gone_is_let_rest() {
    let das = Das::start("gone");
    let core = das.core("change_refused = \"end\"\n");
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    core.session(phone.name, &phone.password, "5F");
    core.admin(&["class", "set", "standard", "--bandwidth-down", "5M"]);
    assert_eq!(das.told().0, COA_REQUEST);
    core.count("coa_requests", "no-session", 1);
    // The next is the next that is asked for.
    core.admin(&["login", "suspend", phone.name]);
    assert_eq!(das.told().0, DISCONNECT_REQUEST);
    core.count("disconnects", "ended", 1);
}

/// FreeRADIUS as a NAS that takes one thing and knows no session with another.
struct FreeRadius {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for FreeRadius {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl FreeRadius {
    fn start(takes: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().display();
        // A port that was free a moment ago.
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "prefix = /usr\nlogdir = {here}\nrun_dir = {here}\nname = freeradius\n\
             libdir = /usr/lib/freeradius\npidfile = {here}/pid\n\
             log {{\n destination = files\n file = {here}/log\n}}\n\
             client local {{\n ipaddr = 127.0.0.1\n secret = \"{SECRET}\"\n \
             require_message_authenticator = yes\n}}\n\
             modules {{\n always ok {{\n  rcode = ok\n }}\n always reject {{\n  rcode = reject\n }}\n}}\n\
             server default {{\n listen {{\n  type = coa\n  ipaddr = 127.0.0.1\n  port = {port}\n }}\n\
             recv-coa {{\n if ({takes}) {{\n  ok\n }}\n else {{\n  update reply {{\n   \
             &Error-Cause := Unsupported-Attribute\n  }}\n  reject\n }}\n}}\nsend-coa {{\n}}\n}}\n"
        );
        fs::write(folder.path().join("radiusd.conf"), config).unwrap();
        let dictionary = "$INCLUDE /usr/share/freeradius/dictionary\n";
        fs::write(folder.path().join("dictionary"), dictionary).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let process = Command::new("freeradius")
            .env("PATH", format!("{path}:/usr/sbin"))
            .arg("-f")
            .arg("-d")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("freeradius is missing: `make setup` installs it");
        Self { process, port, _folder: folder }
    }
}

#[test]
fn freeradius_reads_in_a_coa_request_what_was_meant() {
    let nas = FreeRadius::start(
        "(&User-Name == \"phone@example.net\") && (&Acct-Session-Id == \"5F\") && \
         (&WISPr-Bandwidth-Max-Down == 10000000) && (&Session-Timeout == 3600) && \
         (&Tunnel-Type:0 == VLAN) && (&Tunnel-Medium-Type:0 == IEEE-802) && \
         (&Tunnel-Private-Group-Id:0 == \"30\") && (&Mikrotik-Total-Limit == 705032704) && \
         (&Mikrotik-Total-Limit-Gigawords == 1) && &Event-Timestamp",
    );
    let core = Core::start_with(&format!("disconnect_port = {}\n", nas.port));
    // It is there once it answers.
    core.soon("Received CoA-NAK", || {
        core.radclient_to(&format!("127.0.0.1:{}", nas.port), "coa", "User-Name = \"nobody\"")
    });
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    core.session(phone.name, &phone.password, "5F");
    let set = ["--bandwidth-down", "10M", "--session-timeout", "1h", "--vlan", "30"];
    core.admin(&[&["class", "set", "standard", "--quota", "5GB/day"], &set[..]].concat());
    core.count("coa_requests", "changed", 1);
    core.admin(&["class", "set", "standard", "--bandwidth-down", "11M"]);
    core.count("coa_requests", "refused", 1);
}

#[test]
fn each_of_a_users_sessions_is_told_where_the_nas_does_not_name_devices() {
    let das = Das::start("take");
    let core = das.core("");
    let phone = core.login("phone@example.net", &[]);
    let ask = |session: &str| {
        let ask = format!(
            "User-Name = \"{}\", User-Password = \"{}\", NAS-Identifier = \"oak\", \
             Acct-Session-Id = \"{session}\", Message-Authenticator = 0x00\n",
            phone.name, phone.password
        );
        core.radclient("auth", &ask, SECRET)
    };
    core.soon("Received Access-Accept", || ask("5F"));
    assert!(ask("60").contains("Received Access-Accept"));
    core.admin(&["class", "set", "standard", "--bandwidth-down", "60M"]);
    core.count("coa_requests", "changed", 2);
    core.admin(&["login", "suspend", phone.name]);
    let mut told: Vec<(u8, String)> = (0..4)
        .map(|_| das.told())
        .map(|(code, said)| (code, said["Acct-Session-Id"][0].as_str().unwrap().to_owned()))
        .collect();
    told.sort_unstable();
    let told: Vec<(u8, &str)> = told.iter().map(|(code, id)| (*code, &**id)).collect();
    let (end, change) = (DISCONNECT_REQUEST, COA_REQUEST);
    assert_eq!(told, [(end, "5F"), (end, "60"), (change, "5F"), (change, "60")]);
}

#[test]
fn wireshark_finds_nothing_malformed_in_a_coa_request_with_all_that_is_told() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let core = Core::start_with(&format!("disconnect_port = {port}\n"));
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let times = ["--session-timeout", "1h", "--idle-timeout", "5m", "--vlan", "4094"];
    let rates = ["--bandwidth-up", "1M", "--bandwidth-down", "1M", "--quota", "9GB/week"];
    core.admin(&[&["class", "set", "standard"], &times[..], &rates[..]].concat());
    let mut room = [0; 4096];
    let (len, core) = socket.recv_from(&mut room).expect("a CoA-Request");
    assert_eq!(Packet::decode(&room[..len]).unwrap().code(), Code::CoaRequest);
    // Wireshark looks for this kind at its own port.
    let mut capture = Capture::default();
    capture.add(core, ([127, 0, 0, 1], 3799).into(), &room[..len]);
    let judged = capture.judge(SECRET);
    assert_eq!((judged.complaints, judged.radius), (Vec::<String>::new(), 1));
}

#[test]
fn all_sessions_of_a_class_of_service_are_told() {
    let das = Das::start("take");
    let core = das.core("");
    let phone = core.login("phone@example.net", &[]);
    core.pap_soon(phone.name, &phone.password, "Received Access-Accept");
    let asks: Vec<String> = (0..300)
        .map(|n| {
            format!(
                "User-Name = \"{}\", User-Password = \"{}\", NAS-Identifier = \"oak\", \
                 Calling-Station-Id = \"02-00-5E-30-{:02X}-{:02X}\", Acct-Session-Id = \"{n}\", \
                 Message-Authenticator = 0x00\n",
                phone.name,
                phone.password,
                n / 256,
                n % 256
            )
        })
        .collect();
    let answers = core.radclient("auth", &asks.join("\n"), SECRET);
    assert_eq!(answers.matches("Received Access-Accept").count(), 300);
    core.admin(&["class", "set", "standard", "--bandwidth-down", "60M"]);
    // That of `pap_soon`, which has no Acct-Session-Id, and the three hundred: more than may be
    // under way at a time.
    let mut sessions: Vec<String> = (0..301)
        .map(|_| das.told().1["Acct-Session-Id"][0].as_str().unwrap_or_default().to_owned())
        .collect();
    sessions.sort_unstable();
    sessions.dedup();
    assert_eq!(sessions.len(), 301);
    core.count("coa_requests", "changed", 301);
}
