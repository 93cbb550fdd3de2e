//! zeep loads the WSDL, and talks with us in both versions of SOAP.

use homeward_model::WlanPolicy;
use homeward_offload::wire::soap::{self, Call, Code, Fault, Head, Version};
use homeward_offload::wire::{CredentialAnswer, Limits, Refused, schema};
use serde_json::{Value, json};

use crate::{Outside, any};

const ADDRESS: &str = "https://portal.example.net:8443/offload/soap?a=1&b=2";

/// What zeep posted, as we read it.
fn read(posted: &Value) -> Result<Call, Fault> {
    assert_eq!(posted["address"], ADDRESS);
    let header = |name: &str| {
        let headers = posted["headers"].as_object().unwrap();
        let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_str())
    };
    let head = Head { content_type: header("content-type"), soap_action: header("soapaction") };
    soap::decode_call(posted["body"].as_str().unwrap().as_bytes(), head, Limits::REQUEST)
}

fn response(status: u16, version: Version, body: &[u8]) -> Value {
    let body = std::str::from_utf8(body).unwrap();
    json!({ "status": status, "content_type": version.content_type(), "body": body })
}

fn long_answer() -> CredentialAnswer {
    let mut answer = any::plain_answer();
    let policy: WlanPolicy = serde_json::from_value(json!({
        "networks": [
            { "ssid": "Town & <Country>", "metered": true, "join": -60 },
            { "ssid": "hex:00ff" },
        ],
        "eap": "ttls-mschapv2",
        "server_name": "aaa.example.net",
        "ca": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "schedule": [
            { "days": ["mon", "sun"], "from": "08:00", "to": "17:30" },
            { "from": "22:00", "to": "06:00" },
        ],
    }))
    .unwrap();
    answer.policy = policy;
    answer.handoff = Some(any::plain_handoff());
    answer
}

#[test]
fn zeep_is_answered_and_refused_in_both_versions() {
    let arguments = json!({ "imsi": any::IMSI, "imei": any::IMEI, "mac": any::MAC });
    let bad = json!({ "imsi": "99970", "mac": any::MAC });
    let header = "<t:trace xmlns:t='urn:trace' xmlns:e='NS' e:mustUnderstand='1'>1</t:trace>";
    let ports = [("Offload11Port", Version::V11), ("Offload12Port", Version::V12)];
    let calls = ports.iter().flat_map(|(port, version)| {
        let header = header.replace("NS", version.namespace());
        [
            json!({ "port": port, "arguments": arguments }),
            json!({ "port": port, "arguments": arguments }),
            json!({ "port": port, "arguments": bad }),
            json!({ "port": port, "arguments": arguments, "header": header }),
        ]
    });
    let wsdl = schema::wsdl(ADDRESS);
    let job = json!({ "wsdl": wsdl, "calls": calls.collect::<Vec<_>>() });
    let mut zeep = Outside::start("zeep", &job);
    for (_, version) in ports {
        let call = read(&zeep.hear()).unwrap();
        assert_eq!(call, Call { version, request: any::plain_request() });
        let answer = long_answer();
        zeep.say(&response(200, version, &soap::encode_answer(version, &answer).unwrap()));
        let result = &zeep.hear()["result"];
        assert_eq!(result["username"], answer.username.as_str());
        assert_eq!(result["password"], any::PASSWORD);
        assert_eq!(result["expires"], "2026-02-07 12:00:00+00:00");
        assert_eq!(result["one_time"], false);
        let policy = &result["policy"];
        let networks = &policy["networks"]["network"];
        assert_eq!(
            networks[0],
            json!({ "ssid": "Town & <Country>", "metered": true, "join": -60 })
        );
        assert_eq!(networks[1]["ssid"], "hex:00ff");
        assert_eq!(policy["eap"], "ttls-mschapv2");
        assert_eq!(policy["ca"].as_str().unwrap().trim(), answer.policy.ca.unwrap().trim());
        let windows = &policy["schedule"]["window"];
        assert_eq!(windows[0]["days"]["day"], json!(["mon", "sun"]));
        assert_eq!(windows[1]["from"], "22:00");

        assert!(read(&zeep.hear()).is_ok());
        zeep.say(&response(403, version, &soap::encode_refused(version, Refused)));
        let fault = zeep.hear();
        assert_eq!(fault["fault"], "refused");
        assert_eq!(fault["detail"], json!(["{urn:homeward:offload:1}refused"]));

        let wrong = read(&zeep.hear()).unwrap_err();
        assert_eq!((wrong.version(), wrong.code()), (version, Code::Sender));
        zeep.say(&response(wrong.status(), version, &wrong.encode()));
        let fault = zeep.hear();
        assert_eq!(fault["fault"], "imsi: an IMSI is 6 to 15 digits; this has 5 characters");
        let sender = if version == Version::V11 { "Client" } else { "Sender" };
        assert!(fault["code"].as_str().unwrap().ends_with(sender), "{fault}");
        assert_eq!(fault["detail"], json!(["{urn:homeward:offload:1}invalid"]));

        let wrong = read(&zeep.hear()).unwrap_err();
        assert_eq!((wrong.version(), wrong.code()), (version, Code::MustUnderstand));
        zeep.say(&response(wrong.status(), version, &wrong.encode()));
        let fault = zeep.hear();
        assert!(fault["code"].as_str().unwrap().ends_with("MustUnderstand"), "{fault}");
    }
    zeep.end();
}
