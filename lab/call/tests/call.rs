//! A call goes from network to network, and is over once one of them is not to be trusted.
#![cfg(test)]

use std::path::Path;

use homeward_call::call::{HARBOUR, LTE, Stage, TOWN};
use homeward_net::place::profile_dir;
use homeward_net::{Lab, lab};
use serde_json::Value;

async fn stage(lab: &Lab, moves: usize) -> anyhow::Result<Stage> {
    let own = std::env::current_exe()?;
    let homeward = profile_dir(&own).unwrap_or(Path::new(".")).join("homeward");
    Stage::build(lab, &homeward, moves).await
}

#[test]
fn a_call_goes_from_lte_to_wifi_and_back_and_to_a_third_network_with_a_proof_of_each_hop() {
    lab(|lab| async move {
        let mut stage = stage(&lab, 4).await?;
        stage.call().await?;
        let mut moves = Vec::new();
        for to in [TOWN, LTE, HARBOUR] {
            moves.push(stage.go(to).await?);
        }
        moves.push(stage.vanishes(HARBOUR).await?);
        for (moved, media) in moves.iter().zip(stage.media(&moves).await?) {
            println!(
                "{} {:?} {} {} {media:?}",
                moved.to, moved.tunnel_ms, moved.proven_ms, moved.answered_ms
            );
            assert!(media.up.heard > 0 && media.down.heard > 0, "{media:?}");
        }
        assert_eq!(walked(&stage.evidence()?), [LTE, TOWN, LTE, HARBOUR, LTE]);
        stage.hang_up().await
    });
}

#[test]
fn a_network_that_is_away_is_vouched_for_by_the_service_and_one_that_is_broken_into_ends_the_call()
{
    lab(|lab| async move {
        let mut stage = stage(&lab, 1).await?;
        stage.call().await?;
        // The service made the phone's first key for LTE as well, and gives it to town (H4).
        stage.roles().kill(LTE)?;
        let moves = [stage.go(TOWN).await?];
        let media = stage.media(&moves).await?;
        assert!(media[0].up.heard > 0 && media[0].down.heard > 0, "{media:?}");
        assert_eq!(walked(&stage.evidence()?), [LTE, TOWN]);
        // In the network, the tunnel goes by itself from path to path, and the chain is what it was.
        stage.second_way()?;
        for _ in 0..2 {
            let media = stage.cut().await?;
            assert!(media.up.heard > 0 && media.down.heard > 0, "{media:?}");
            println!("MOBIKE: {media:?}");
        }
        assert_eq!(walked(&stage.evidence()?), [LTE, TOWN]);
        let silent = stage.revoke(TOWN).await?;
        println!("nothing is heard {silent:.0} ms after the revocation");
        let trace = stage.trace()?;
        assert!(trace.to_string().contains("revoked"), "{trace}");
        Ok(())
    });
}

/// The networks of a trace's only session, each of which had the key of the one before.
fn walked(trace: &Value) -> Vec<String> {
    let hops = trace["sessions"][0]["hops"].as_array().cloned().unwrap_or_default();
    for pair in hops.windows(2) {
        assert_eq!(pair[1]["previous"], pair[0]["network"]);
    }
    assert!(hops.iter().all(|hop| hop["broken"] == false), "{hops:?}");
    hops.iter().filter_map(|hop| hop["network"].as_str().map(str::to_owned)).collect()
}
