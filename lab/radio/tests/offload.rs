//! A phone that offloads by itself: the whole walk, and its hard days.
//!
//! The topology is drawn in `homeward_radio::offload`.

use anyhow::ensure;
use homeward_radio::Scenario;
use homeward_radio::demo::offload::walk;
use homeward_radio::demo::story::Story;
use homeward_radio::report::offload::failures;

#[test]
fn a_phone_gets_credentials_over_cellular_and_moves_to_wi_fi_and_back_by_itself() {
    Scenario::new().run(|lab| async move {
        let offload = walk(&lab, &mut Story::new()).await?;
        println!("{offload:#?}");
        ensure!(offload.changes.len() == 4, "{:?}", offload.changes);
        let failures = failures(Some(&offload));
        ensure!(failures.is_empty(), "{failures:?}");
        Ok(())
    });
}
