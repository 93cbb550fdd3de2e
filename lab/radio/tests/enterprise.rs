//! 802.1X over the air: stock hostapd, real wpa_supplicant, the real core.
//!
//! ```text
//!   core 10.0.0.1 ──┬── cafe    (Town, 802.1X; no agent of ours)
//!                   └── library (Town, 802.1X; no agent of ours)
//!   phone: in reach of one, then of the other
//! ```

use std::time::Duration;

use anyhow::{Result, ensure};
use homeward_radio::operator::Operator;
use homeward_radio::security::{Login, Security};
use homeward_radio::wait::wait_for;
use homeward_radio::{AccessPoint, ApConfig, Gateway, Lab, Network, Scenario};

const SSID: &str = "Town";
const SOON: Duration = Duration::from_secs(40);

/// An access point of somebody else's, which asks the core.
async fn access_point(
    lab: &Lab,
    operator: &Operator,
    name: &str,
    channel: u8,
    security: &Security,
) -> Result<(Gateway, AccessPoint)> {
    let gateway = lab.gateway(name).await?;
    operator.enrol(&gateway, "gb/london/n7", "hostapd").await?;
    let config = ApConfig::new(SSID)
        .security(security.clone())
        .channel(channel)
        .line(&format!("nas_identifier={name}"))
        .line(&format!("own_ip_addr={}", gateway.address()))
        .line("auth_server_addr=10.0.0.1")
        .line("auth_server_port=1812")
        .line("auth_server_shared_secret=a secret for the lab, and only for it")
        .line("acct_server_addr=10.0.0.1")
        .line("acct_server_port=1813")
        .line("acct_server_shared_secret=a secret for the lab, and only for it")
        .line("radius_das_port=3799")
        .line("radius_das_client=10.0.0.1 a secret for the lab, and only for it")
        .line("radius_das_require_event_timestamp=1")
        .line("radius_das_require_message_authenticator=1");
    let ap = gateway.access_point(&config).await?;
    Ok((gateway, ap))
}

/// Waits until so many sessions of the account are open, by gateway.
async fn sessions(operator: &Operator, gateways: &[&str]) -> Result<()> {
    wait_for("the sessions that access points report", SOON, async || {
        let open = operator.admin(&["session", "list", "--account", "smith"]).await?;
        let mut at: Vec<&str> =
            open.as_array().into_iter().flatten().filter_map(|s| s["gateway"].as_str()).collect();
        at.sort_unstable();
        Ok((at == gateways).then_some(()))
    })
    .await
}

#[test]
fn a_phone_with_a_log_in_is_let_in_resumes_at_the_next_access_point_and_is_kept_out_once_suspended()
{
    Scenario::new().run(|lab| async move {
        let operator = Operator::start(&lab).await?;
        operator.enrol_as("home", "02:00:00:00:0a:01", "gb/london/se1", None, "homeward").await?;
        operator.home("smith", "home", "Elm Street 17", "wpa2-psk").await?;
        let login = operator.login("smith", "phone@example.net").await?;
        let security = Security::Enterprise(login.clone());
        let (cafe, cafe_ap) = access_point(&lab, &operator, "cafe", 1, &security).await?;
        let (library, library_ap) = access_point(&lab, &operator, "library", 6, &security).await?;

        let mut phone = lab.station("phone")?;
        phone.near(&[&cafe])?;
        phone.join(&Network::new(SSID, security.clone())).await?;
        assert_eq!(phone.connected_within(SOON).await?.bssid, cafe_ap.bssid());
        phone.dhcp(SOON).await?;
        let status = phone.control()?.request("STATUS", "").await?;
        ensure!(status.contains("eap_tls_version=TLSv1."), "{status}");
        ensure!(status.contains("tls_session_reused=0"), "{status}");
        sessions(&operator, &["cafe"]).await?;

        phone.near(&[&library])?;
        let moved = homeward_radio::wait::now();
        assert_eq!(phone.connected_since(moved, SOON).await?.bssid, library_ap.bssid());
        phone.dhcp(SOON).await?;
        let status = phone.control()?.request("STATUS", "").await?;
        ensure!(status.contains("tls_session_reused=1"), "{status}");

        let mut stranger = lab.station("stranger")?;
        stranger.near(&[&library])?;
        let wrong = Login { password: "a guess".into(), ..login };
        stranger.join(&Network::new(SSID, Security::Enterprise(wrong))).await?;
        stranger.never_connects_within(Duration::from_secs(5)).await?;

        // Who is in is put out, and what it used is charged.
        let suspended = homeward_radio::wait::now();
        operator.admin(&["login", "suspend", "phone@example.net"]).await?;
        phone.disconnected_since(suspended, SOON).await?;
        wait_for("the library's Stop", SOON, async || {
            let open = operator.admin(&["session", "list", "--account", "smith"]).await?;
            let mut at = open.as_array().into_iter().flatten().map(|s| s["gateway"].as_str());
            Ok((!at.any(|gateway| gateway == Some("library"))).then_some(()))
        })
        .await?;
        let usage = operator.admin(&["usage", "login", "phone@example.net"]).await?;
        ensure!(usage["total"]["input"].as_u64() > Some(0), "{usage}");
        phone.leave().await?;
        phone.join(&Network::new(SSID, security)).await?;
        phone.never_connects_within(Duration::from_secs(5)).await
    });
}
