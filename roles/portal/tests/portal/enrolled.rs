//! Hand-off keys beside credentials.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use homeward_model::{Nai, Secret};
use homeward_offload::wire::{CredentialRequest, HandoffKeys, Limits, Reply, json, soap, xml};
use homeward_portal::handoff::{Enrols, Root};

use crate::world::{ADDRESS, IMSI, OTHER, World, request};

/// A module that notes whom it enrols.
#[derive(Default)]
struct Module {
    enrolled: Mutex<Vec<Nai>>,
    fails: bool,
}

#[async_trait]
impl Enrols for Module {
    async fn enrol(&self, device: &Nai) -> anyhow::Result<Root> {
        anyhow::ensure!(!self.fails, "the disk is full");
        let mut enrolled = self.enrolled.lock().unwrap();
        enrolled.push(device.clone());
        let version = u32::try_from(enrolled.len()).unwrap();
        Ok(Root { root: Secret::new([u8::try_from(version).unwrap(); 32]), version })
    }
}

/// A request that wants keys.
fn wanting(imsi: &str, last: u8) -> CredentialRequest {
    CredentialRequest { handoff: true, ..request(imsi, last) }
}

fn of(reply: Reply) -> Option<HandoffKeys> {
    match reply {
        Reply::Credentials(answer) => answer.handoff,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_asks_for_keys_has_them_with_its_credentials_and_others_hear_nothing_of_it() {
    let module = Arc::new(Module::default());
    let world = World::that_enrols(module.clone()).await;
    let without = world.ask(ADDRESS, &request(IMSI, 1)).await;
    assert!(!without.text().contains("handoff"), "{}", without.text());
    let given = world.ask(ADDRESS, &wanting(IMSI, 1)).await.credentials();
    let keys = given.handoff.unwrap();
    assert_eq!(given.username, without.credentials().username, "the same credentials");
    assert_eq!((keys.root, keys.version), (Secret::new([1; 32]), 1));
    assert_ne!(keys.name, given.username, "that is another with the next credentials");
    // Who asks without wanting others keeps what it has.
    assert_eq!(world.ask(ADDRESS, &request(IMSI, 1)).await.credentials().handoff, None);
    assert_eq!(module.enrolled.lock().unwrap().as_slice(), std::slice::from_ref(&keys.name));
    // Another station, and so other credentials: the SIM's name stays, and the key is another.
    let anew = world.ask(ADDRESS, &wanting(IMSI, 2)).await.credentials();
    assert_ne!(anew.username, given.username);
    let anew = anew.handoff.unwrap();
    assert_eq!((anew.name, anew.version), (keys.name, 2));
    let text = world.metrics.text();
    assert!(text.contains("homeward_portal_enrolled_total{outcome=\"given\"} 2"), "{text}");
}

#[tokio::test]
async fn keys_come_in_every_form_but_never_by_message() {
    let module = Arc::new(Module::default());
    let world = World::that_enrols(module.clone()).await;
    let asked = wanting(IMSI, 1);
    let path = "POST /offload/v1/credentials";
    let said = world.ask(ADDRESS, &asked).await;
    let reply = json::decode_reply(&said.body, Limits::REPLY).unwrap();
    assert_eq!(of(reply).unwrap().version, 1);
    let body = xml::encode_request(&asked).unwrap();
    let said = world.send(ADDRESS, path, &[("content-type", "application/xml")], &body).await;
    let reply = xml::decode_reply(&said.body, Limits::REPLY).unwrap();
    assert_eq!(of(reply).unwrap().version, 2);
    let version = soap::Version::V12;
    let body = soap::encode_call(version, &asked).unwrap();
    let media = [("content-type", version.content_type())];
    let said = world.send(ADDRESS, "POST /offload/soap", &media, &body).await;
    let reply = soap::decode_reply(&said.body, Limits::REPLY).unwrap();
    assert_eq!(of(reply).unwrap().version, 3);
    // Whatever a message says.
    let by_message = world.message("447700900123", &asked).await.unwrap();
    assert_eq!(by_message.handoff, None);
    assert_eq!(module.enrolled.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn credentials_are_given_where_keys_cannot_be_and_where_there_are_none() {
    let failing = Arc::new(Module { fails: true, ..Module::default() });
    let world = World::that_enrols(failing).await;
    let said = world.ask(ADDRESS, &wanting(IMSI, 1)).await;
    assert_eq!((said.status, said.credentials().handoff), (200, None));
    let text = world.metrics.text();
    assert!(text.contains("homeward_portal_enrolled_total{outcome=\"failed\"} 1"), "{text}");
    let plain = World::with_subscriber().await;
    let said = plain.ask(ADDRESS, &wanting(IMSI, 1)).await;
    assert_eq!((said.status, said.credentials().handoff), (200, None));
}

#[tokio::test]
async fn who_is_refused_is_enrolled_nowhere() {
    let module = Arc::new(Module::default());
    let world = World::that_enrols(module.clone()).await;
    world.subscriber(OTHER).await;
    // Its address is another SIM's, or nobody's.
    for (from, imsi) in [(ADDRESS, OTHER), ("10.9.9.9", IMSI)] {
        assert_eq!(world.ask(from, &wanting(imsi, 1)).await.status, 403);
    }
    assert!(module.enrolled.lock().unwrap().is_empty());
}
