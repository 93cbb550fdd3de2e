//! In which forms the portal is asked.

use homeward_offload::wire::{Limits, Reply, json, soap, xml};

use crate::world::{ADDRESS, IMSI, OTHER, World, request};

const CREDENTIALS: &str = "POST /offload/v1/credentials";

#[tokio::test]
async fn the_same_is_given_in_every_form() {
    let world = World::with_subscriber().await;
    let asked = request(IMSI, 1);
    let by_json = world.ask(ADDRESS, &asked).await.credentials();
    let media = [("content-type", "application/xml; charset=utf-8")];
    let body = xml::encode_request(&asked).unwrap();
    let said = world.send(ADDRESS, CREDENTIALS, &media, &body).await;
    let reply = xml::decode_reply(&said.body, Limits::REPLY).unwrap();
    assert_eq!((said.status, reply), (200, Reply::Credentials(Box::new(by_json.clone()))));
    for version in [soap::Version::V11, soap::Version::V12] {
        let body = soap::encode_call(version, &asked).unwrap();
        let media = [("content-type", version.content_type())];
        let said = world.send(ADDRESS, "POST /offload/soap", &media, &body).await;
        assert_eq!(said.headers["content-type"], version.content_type());
        let reply = soap::decode_reply(&said.body, Limits::REPLY).unwrap();
        assert_eq!((said.status, reply), (200, Reply::Credentials(Box::new(by_json.clone()))));
    }
    assert_eq!((world.counted("issued"), world.counted("kept")), (1, 3));
}

#[tokio::test]
async fn a_refusal_is_one_in_every_form() {
    let world = World::with_subscriber().await;
    let asked = request(OTHER, 1);
    let said = world.ask(ADDRESS, &asked).await;
    assert_eq!(said.status, 403);
    assert_eq!(json::decode_reply(&said.body, Limits::REPLY), Ok(Reply::Refused));
    let body = xml::encode_request(&asked).unwrap();
    let media = [("content-type", "text/xml")];
    let said = world.send(ADDRESS, CREDENTIALS, &media, &body).await;
    assert_eq!(said.status, 403);
    assert_eq!(xml::decode_reply(&said.body, Limits::REPLY), Ok(Reply::Refused));
    for (version, status) in [(soap::Version::V11, 500), (soap::Version::V12, 400)] {
        let body = soap::encode_call(version, &asked).unwrap();
        let media = [("content-type", version.content_type())];
        let said = world.send(ADDRESS, "POST /offload/soap", &media, &body).await;
        assert_eq!(said.status, status);
        assert_eq!(soap::decode_reply(&said.body, Limits::REPLY), Ok(Reply::Refused));
    }
}

#[tokio::test]
async fn what_is_no_request_is_said_to_be_none() {
    let world = World::with_subscriber().await;
    for (media, body, status) in [
        ("application/json", "{}", 400),
        ("application/json", "{\"imsi\":", 400),
        ("application/xml", "<!DOCTYPE x [<!ENTITY a \"b\">]><x>&a;</x>", 400),
        ("text/plain", "{}", 415),
        ("", "{}", 415),
    ] {
        let media_type = [("content-type", media)];
        let said = world.send(ADDRESS, CREDENTIALS, &media_type, body.as_bytes()).await;
        assert_eq!(said.status, status, "{media} {body}");
    }
    let media = [("content-type", "text/xml")];
    let said = world.send(ADDRESS, "POST /offload/soap", &media, b"<x/>").await;
    assert_eq!(said.status, 500);
    for (what, status) in [
        ("GET /offload/v1/credentials", 405),
        ("PUT /offload/soap", 405),
        ("POST /healthz", 405),
        ("GET /", 404),
        ("GET /offload/soap", 404),
        ("GET /offload/soap?xsd", 404),
        ("GET /api/v1/subscribers", 404),
    ] {
        assert_eq!(world.send(ADDRESS, what, &[], b"").await.status, status, "{what}");
    }
}

#[tokio::test]
async fn what_describes_the_forms_is_there_for_anybody() {
    let world = World::start().await;
    let host = [("host", "portal.example.net:8443")];
    let wsdl = world.send("192.0.2.1", "GET /offload/soap?wsdl", &host, b"").await;
    assert_eq!(wsdl.status, 200);
    assert!(
        wsdl.text().contains("https://portal.example.net:8443/offload/soap"),
        "{}",
        wsdl.text()
    );
    let xsd = world.send("192.0.2.1", "GET /offload/v1/offload.xsd", &[], b"").await;
    assert!(xsd.text().contains("schema"));
    let openapi = world.send("192.0.2.1", "GET /offload/v1/openapi.json", &[], b"").await;
    let openapi: serde_json::Value = serde_json::from_slice(&openapi.body).unwrap();
    assert!(openapi["paths"]["/offload/v1/credentials"]["post"].is_object(), "{openapi}");
    assert_eq!(world.send("192.0.2.1", "GET /healthz", &[], b"").await.text(), "ok\n");
}
