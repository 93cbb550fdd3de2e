//! The cellular side: the packet gateway, by radclient, and devices that ask, by curl.

use std::io::Write as _;
use std::process::{Command, Stdio};

use homeward_daemon::SystemClock;
use homeward_model::Clock;
use serde_json::{Value, json};

use crate::core::{SECRET, World};

/// The IMSI of SIM `n`.
pub(crate) fn imsi(n: u32) -> String {
    format!("99970{n:010}")
}

/// The Wi-Fi MAC address of device `n`.
pub(crate) fn mac(n: u8) -> String {
    format!("02:00:5e:20:00:{n:02x}")
}

/// What device `n` says when the SIM `sim` is in it.
pub(crate) fn request(sim: u32, n: u8) -> Value {
    json!({ "imsi": imsi(sim), "mac": mac(n) })
}

/// Credentials, as a device reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) whole: Value,
}

impl Given {
    pub(crate) fn of(whole: Value) -> Self {
        let text = |key: &str| whole[key].as_str().unwrap_or_else(|| panic!("{whole}")).to_owned();
        Self { name: text("username"), password: text("password"), whole }
    }
}

/// What a device is answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Said {
    pub(crate) status: String,
    /// All but when it was said.
    pub(crate) head: Vec<String>,
    pub(crate) body: String,
}

impl World {
    /// What radclient makes of an Accounting-Request to where packet gateways account.
    pub(crate) fn radclient_acct(&self, attributes: &str) -> String {
        let mut child = Command::new("radclient")
            .args(["-x", "-r", "1", "-t", "2", self.bearers(), "acct", SECRET])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("radclient is missing: `make setup` installs freeradius-utils");
        child.stdin.take().unwrap().write_all(attributes.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// The packet gateway reports `status` of the session that is called after its address, as 3GPP
    /// TS 29.061 16.4 has it.
    #[track_caller]
    pub(crate) fn reports(&self, status: &str, sim: u32, address: &str) {
        let attribute =
            if address.contains(':') { "Framed-IPv6-Prefix" } else { "Framed-IP-Address" };
        let now = SystemClock.unix().seconds();
        let said = self.radclient_acct(&format!(
            "Acct-Status-Type = {status}\nAcct-Session-Id = \"{sim}-{address}\"\n\
             Event-Timestamp = {now}\nNAS-IP-Address = 127.0.0.1\n\
             Called-Station-Id = \"internet\"\nCalling-Station-Id = \"4477009{sim:05}\"\n\
             3GPP-IMSI = \"{}\"\n3GPP-NSAPI = \"5\"\n{attribute} = {address}\n",
            imsi(sim)
        ));
        assert!(said.contains("Received Accounting-Response"), "{said}");
    }

    /// The SIM has a bearer with that address.
    #[track_caller]
    pub(crate) fn attaches(&self, sim: u32, address: &str) {
        self.reports("Start", sim, address);
    }

    /// It has it no more.
    #[track_caller]
    pub(crate) fn detaches(&self, sim: u32, address: &str) {
        self.reports("Stop", sim, address);
    }

    /// curl, at that address, with the portal's certificate to trust.
    pub(crate) fn curl(&self, from: &str, words: &[&str]) -> String {
        let ca = self.file("ca.pem");
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--interface", from])
            .args(["--cacert", &ca])
            .args(words)
            .output()
            .expect("curl is missing: `make setup` installs it");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "curl {words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Asks for credentials from that address with a body of that media type.
    pub(crate) fn asks_in(&self, from: &str, media: &str, body: &str) -> Said {
        let url = format!("https://{}/offload/v1/credentials", self.portal());
        let kind = format!("Content-Type: {media}");
        let said = self.curl(from, &["--include", "--header", &kind, "--data-raw", body, &url]);
        let (head, body) = said.split_once("\r\n\r\n").expect("a head and a body");
        let mut head: Vec<String> = head.lines().map(str::to_owned).collect();
        let status = head.remove(0);
        head.retain(|line| !line.to_ascii_lowercase().starts_with("date:"));
        Said { status, head, body: body.to_owned() }
    }

    /// Asks in JSON.
    pub(crate) fn asks(&self, from: &str, request: &Value) -> Said {
        self.asks_in(from, "application/json", &request.to_string())
    }

    /// Asks in JSON, and is given credentials.
    #[track_caller]
    pub(crate) fn is_given(&self, from: &str, request: &Value) -> Given {
        let said = self.asks(from, request);
        assert_eq!(said.status, "HTTP/1.1 200 OK", "{said:?}");
        Given::of(serde_json::from_str(&said.body).unwrap())
    }

    /// Asks in JSON, and is refused.
    #[track_caller]
    pub(crate) fn is_refused(&self, from: &str, request: &Value) -> Said {
        let said = self.asks(from, request);
        assert_eq!(said.status, "HTTP/1.1 403 Forbidden", "{said:?}");
        assert_eq!(said.body, "{\"error\":\"refused\"}");
        said
    }
}
