//! The ePDG lets in who brings the key of the network before, and nobody else.

use homeward_call::PATIENCE;
use homeward_handoff::WalkError;
use homeward_net::wait::wait_for;

use crate::lab::{End, Lab};

#[tokio::test]
async fn a_tunnel_takes_the_key_of_the_network_before_to_the_last_octet() {
    let lab = Lab::start("").await;
    let mut device = lab.session();
    lab.hop(&mut device, 0).unwrap();
    assert!(device.ppk().is_none(), "nothing was fetched at the first hop");
    assert!(lab.known(End::Epdg).await.is_empty());
    // One that the device makes up, under the name that is to come.
    let to_come = format!("hop-2@{}", device.session());
    let refused = lab.dials(&to_come, &[7; 32]).await.unwrap_err();
    assert!(refused.contains("establishing CHILD_SA 'home' failed"), "{refused}");

    lab.hop(&mut device, 1).unwrap();
    assert_eq!(
        lab.known(End::Epdg).await,
        [to_come.as_str()],
        "it is there before the device hears"
    );
    let (id, key) = device.ppk().map(|ppk| (ppk.id.to_string(), *ppk.key.expose())).unwrap();
    assert_eq!(id, to_come);
    for octet in [0, 31] {
        let mut wrong = key;
        wrong[octet] ^= 1;
        lab.dials(&id, &wrong).await.unwrap_err();
    }
    let (device_said, epdg_said) = (lab.said(End::Device), lab.said(End::Epdg));
    let count = |said: &str, what: &str| said.matches(what).count();
    assert_eq!(
        count(&device_said, "received AUTHENTICATION_FAILED notify error"),
        2,
        "{device_said}"
    );
    assert_eq!(
        count(&epdg_said, "verification of AUTH payload with EAP MSK failed"),
        2,
        "{epdg_said}"
    );
    assert!(!lab.passes().await);
    lab.dials(&id, &key).await.unwrap();
    assert!(lab.passes().await);
    assert!(lab.said(End::Epdg).contains(&format!("using PPK for PPK_ID '{id}'")));
    // It is under this name alone.
    lab.dials("hop-3@0179605b9e28735568dd5c439468550a", &key).await.unwrap_err();
    lab.dials(&id, &key).await.unwrap();

    // Elsewhere, the key is over; what is connected is not.
    lab.hop(&mut device, 0).unwrap();
    let gone = async || Ok(lab.known(End::Epdg).await.is_empty().then_some(()));
    wait_for("the key to be unloaded", PATIENCE, gone).await.unwrap();
    assert!(lab.passes().await);
    lab.dials(&id, &key).await.unwrap_err();
    assert!(!lab.passes().await);

    // Back again, it is another.
    lab.hop(&mut device, 1).unwrap();
    let again = device.ppk().map(|ppk| (ppk.id.to_string(), *ppk.key.expose())).unwrap();
    assert_eq!(again.0, format!("hop-4@{}", device.session()));
    assert_ne!(again.1, key);
    assert_eq!(lab.known(End::Epdg).await, [again.0.as_str()]);
    lab.dials(&again.0, &key).await.unwrap_err();
    lab.dials(&again.0, &again.1).await.unwrap();
    assert!(lab.passes().await);
    // And again after a hop from here to here, which is only told to the module itself.
    lab.hop(&mut device, 1).unwrap();
    let last = format!("hop-5@{}", device.session());
    let alone = async || Ok((lab.known(End::Epdg).await == [last.as_str()]).then_some(()));
    wait_for("the key of the last hop alone", PATIENCE, alone).await.unwrap();
    for end in [End::Device, End::Epdg] {
        assert!(!lab.said(end).contains(lab.password()));
    }
}

#[tokio::test]
async fn an_epdg_that_forgot_is_told_again_and_one_that_is_away_has_the_device_come_again() {
    let mut lab = Lab::start("check = \"200ms\"\n").await;
    let mut device = lab.session();
    lab.hop(&mut device, 0).unwrap();
    lab.hop(&mut device, 1).unwrap();
    let id = device.ppk().unwrap().id.to_string();
    // As an operator does who changed something else.
    lab.reads_its_file(End::Epdg);
    let there = async |lab: &Lab| {
        let known = async || Ok(lab.known(End::Epdg).await.contains(&id).then_some(()));
        wait_for("the key to be loaded anew", PATIENCE, known).await.unwrap();
    };
    there(&lab).await;
    let epdg = lab.status(1)["epdg"].take();
    assert_eq!((&epdg["answers"], &epdg["demands"]), (&true.into(), &1.into()), "{epdg}");

    lab.charons[End::Epdg as usize].process.kill();
    let mut other = lab.session();
    lab.hop(&mut other, 0).unwrap();
    let refused = lab.hop(&mut other, 1).unwrap_err();
    let refused = refused.downcast_ref();
    assert!(matches!(refused, Some(WalkError::Refused { again: true })), "{refused:?}");
    assert_eq!(other.hops(), 1, "it stays where it is");
    let epdg = lab.status(1)["epdg"].take();
    assert_eq!((&epdg["answers"], &epdg["demands"]), (&false.into(), &1.into()), "{epdg}");

    lab.charons[End::Epdg as usize].process.restart().unwrap();
    lab.is_up(End::Epdg).await;
    there(&lab).await;
    lab.hop(&mut other, 1).unwrap();
    assert_eq!(lab.known(End::Epdg).await.len(), 2);
    // The module is started anew: it knows what it demands, and what it does not any more.
    lab.restart_core().await;
    lab.reads_its_file(End::Epdg);
    there(&lab).await;
    lab.hop(&mut device, 0).unwrap();
    let gone = async || Ok((!lab.known(End::Epdg).await.contains(&id)).then_some(()));
    wait_for("the key to be unloaded", PATIENCE, gone).await.unwrap();
    lab.restart_core().await;
    assert_eq!(lab.status(1)["epdg"]["demands"], 1, "who went elsewhere is remembered, too");
    let key = *other.ppk().unwrap().key.expose();
    lab.dials(&other.ppk().unwrap().id.to_string(), &key).await.unwrap();
    assert!(lab.passes().await);
}

#[tokio::test]
async fn a_network_that_has_other_ways_in_lets_devices_in_without_its_epdg() {
    let mut lab = Lab::start("check = \"200ms\"\nrequired = false\n").await;
    lab.charons[End::Epdg as usize].process.kill();
    let mut device = lab.session();
    lab.hop(&mut device, 0).unwrap();
    lab.hop(&mut device, 1).unwrap();
    lab.charons[End::Epdg as usize].process.restart().unwrap();
    lab.is_up(End::Epdg).await;
    let id = device.ppk().unwrap().id.to_string();
    let known = async || Ok(lab.known(End::Epdg).await.contains(&id).then_some(()));
    wait_for("the key to be loaded once it is back", PATIENCE, known).await.unwrap();
}
