//! For tests and fuzzing: reports by hand, and the body of the fuzz target.

use homeward_model::{Instant, Name, UnixTime};
use homeward_radius::Packet;

use crate::{Change, Kind, News, Report, Settings, Source, Table, Whose};

/// A source that is believed as far as possible.
///
/// # Panics
/// If that is no name.
pub fn source(gateway: &str) -> Source {
    let Ok(gateway) = gateway.parse::<Name>() else { panic!("{gateway:?} is not a name") };
    Source { gateway, apns: Vec::new(), imsi_in_user_name: true }
}

/// Target `bearer_report`: any octets as an Accounting-Request, and as all that a table knows.
pub fn fuzz_report(data: &[u8]) {
    let Ok(packet) = Packet::decode(data) else { return };
    let report = match Report::decode(&packet, &source("gw")) {
        Ok(report) => report,
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.label().is_empty());
            return;
        }
    };
    assert!(report.kind.is_boot() || !report.session.is_empty());
    let received = UnixTime(1_800_000_000_000);
    let mut table = Table::new(Settings::default());
    let applied = table.handle(&report, received, Instant::ORIGIN);
    let puts = applied.changes.iter().filter(|c| matches!(c, Change::Put(_))).count();
    assert_eq!(puts, table.len(), "what is there is kept");
    if applied.news == News::Began {
        for net in &report.addresses {
            let whose = table.whose(net.addr(), report.apn.as_ref());
            assert!(matches!(whose, Whose::One(b) if Some(b.imsi) == report.imsi));
        }
        let again = table.handle(&report, received, Instant::ORIGIN);
        assert_eq!(again.news, News::Goes, "a repetition begins nothing");
        let stop = Report { kind: Kind::Stop, ..report.clone() };
        table.handle(&stop, received, Instant::ORIGIN);
    }
    assert!(table.is_empty(), "and a Stop leaves nothing");
    let again = table.handle(&report, received, Instant::ORIGIN);
    assert!(again.news != News::Began, "nor does it come back");
}
