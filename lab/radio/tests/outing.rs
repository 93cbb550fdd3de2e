//! A phone with a tunnel of its own home, on its way out of the house and back.
//!
//! The topology is drawn in `homeward_radio::outing`.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

use std::time::Duration;

use anyhow::ensure;
use homeward_radio::Scenario;
use homeward_radio::demo::outing::{HOLD, walk};
use homeward_radio::demo::story::Story;
use homeward_radio::outing::RADIOS;
use homeward_radio::report::offload::Way;
use homeward_radio::report::outing::failures;

#[test]
fn a_phone_keeps_its_home_address_and_its_connections_from_home_past_strangers_out_of_coverage_and_back()
 {
    Scenario::new().radios(RADIOS).within(Duration::from_secs(400)).run(|lab| async move {
        let outing = walk(&lab, &mut Story::new(), HOLD).await?;
        for step in &outing.moves {
            println!("{step:?}");
        }
        for decision in &outing.decisions {
            println!("{decision:?}");
        }
        println!("{} MB in all", outing.downloaded() as f64 / 1e6);
        lab.save_json("outing.json", &outing)?;
        let ways: Vec<Way> = outing.moves.iter().map(|step| step.by).collect();
        ensure!(ways == [Way::Wifi, Way::Wifi, Way::Cellular, Way::Wifi], "{ways:?}");
        let failures = failures(Some(&outing));
        ensure!(failures.is_empty(), "{failures:?}");
        Ok(())
    });
}
