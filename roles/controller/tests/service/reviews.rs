//! What ended while a gateway was away reaches it when it is back.

use std::time::Duration;

use homeward_control::{DeviceUpdate, FromGateway, Hello, ToGateway};
use homeward_controller::HeldLogin;
use homeward_model::Mac;

use crate::world::{Agent, FOREIGN, HOME, PHONE, SMITHNET, World, hello};

const LAPTOP: Mac = Mac::new([2, 0, 0x5e, 0, 0, 9]);

/// The Hello of a gateway that carries log-ins and has the phone.
fn holding() -> Hello {
    let phone = DeviceUpdate {
        mac: PHONE,
        network: SMITHNET,
        connected: true,
        signal: None,
        at_home: false,
        sequence: 1,
        age: Duration::ZERO,
    };
    Hello { carries_logins: true, devices: vec![phone], ..hello(FOREIGN) }
}

#[tokio::test]
async fn aaa_is_asked_of_all_that_a_gateway_holds_and_what_may_not_go_on_is_told() {
    let world = World::start().await;
    world.aaa.0.lock().unwrap().devices.push(PHONE);
    world.aaa.0.lock().unwrap().logins.push("fred@example.net");
    let client = world.enrolled(FOREIGN).await;
    let mut agent = Agent::saying(&client, holding()).await;
    agent.until(|m| matches!(m, ToGateway::Revoke(r) if r.mac == Some(PHONE))).await;
    let held = |mac, name: &str| HeldLogin { mac, name: name.parse().unwrap() };
    let logins = vec![held(PHONE, "anna@example.net"), held(LAPTOP, "fred@example.net")];
    agent.say(FromGateway::Logins(logins)).await;
    let first = agent.until(|m| matches!(m, ToGateway::PutOut(_))).await;
    assert_eq!(first, ToGateway::PutOut(LAPTOP));
    assert_eq!(world.aaa.0.lock().unwrap().asked, [FOREIGN; 2]);
    world.stop().await;
}

#[tokio::test]
async fn aaa_learns_which_gateways_carry_log_ins_and_what_was_told() {
    let world = World::start().await;
    let asks = world.revocations.clone();
    assert_eq!(asks.carries_logins(FOREIGN).await, None, "nobody has heard of it yet");
    assert!(!asks.put_out(FOREIGN, LAPTOP).await);
    let client = world.enrolled(FOREIGN).await;
    let mut agent = Agent::saying(&client, holding()).await;
    let _other = world.connected(HOME).await;
    assert_eq!(asks.carries_logins(FOREIGN).await, Some(true));
    assert_eq!(asks.carries_logins(HOME).await, Some(false));
    assert!(asks.put_out(FOREIGN, LAPTOP).await && !asks.put_out(HOME, LAPTOP).await);
    assert!(asks.revoke(FOREIGN, PHONE).await && !asks.revoke(FOREIGN, LAPTOP).await);
    agent.until(|m| matches!(m, ToGateway::Revoke(r) if r.mac == Some(PHONE))).await;
    drop(agent);
    world.until(|status| status["totals"]["connected"] == 1).await;
    assert!(!asks.put_out(FOREIGN, LAPTOP).await);
    assert_eq!(asks.carries_logins(FOREIGN).await, Some(true), "as it said last");
    world.stop().await;
}
