//! zeep, which knows nothing of the portal but where its WSDL is.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::cell::{imsi, mac, request};
use crate::core::{World, portal};

/// What zeep makes of each of the calls from that address.
fn zeep(w: &World, from: &str, calls: &Value) -> Vec<Value> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut client = Command::new(here.join("../../target/tools/python/bin/python"))
        .arg(here.join("tests/portal/soap/client.py"))
        .args([&format!("https://{}/offload/soap?wsdl", w.portal()), from, &w.file("ca.pem")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("zeep is missing: `make python` installs it");
    client.stdin.take().unwrap().write_all(calls.to_string().as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn zeep_is_given_the_same_credentials_by_either_version_of_soap_and_hears_of_refusals() {
    portal(|w| {
        w.attaches(1, "10.45.0.7");
        let given = w.is_given("10.45.0.7", &request(1, 1));
        let call = |port: &str, sim| json!({ "port": port, "imsi": imsi(sim), "mac": mac(1) });
        let ports = ["Offload11Port", "Offload12Port"];
        let calls: Vec<Value> = ports.iter().flat_map(|p| [call(p, 1), call(p, 2)]).collect();
        let said = zeep(w, "10.45.0.7", &json!(calls));
        for (port, said) in ports.iter().zip(said.chunks(2)) {
            let result = &said[0]["result"];
            assert_eq!(
                (&result["username"], &result["password"]),
                (&json!(given.name), &json!(given.password)),
                "{port}: {said:?}"
            );
            assert_eq!(said[1]["detail"], json!(["{urn:homeward:offload:1}refused"]), "{port}");
        }
        assert_eq!((w.counted("issued"), w.counted("kept"), w.counted("other-sim")), (1, 2, 2));
    });
}
