//! The map of the operator's gateways, for hybrid devices (R11): made of where each is heard, and
//! made anew when that has changed, or half of its time is over.

use std::sync::Arc;
use std::time::Duration;

use homeward_channel::ConnectionId;
use homeward_control::codec::limits;
use homeward_control::{CoverageMap, ToGateway, WantMap};
use homeward_coverage as coverage;
use homeward_coverage::{Map, Position, Region};
use homeward_daemon::SystemClock;
use homeward_model::{Clock, Site, Status, UnixTime};
use homeward_store::{GatewayFilter, Page, Result, Store};

use super::{Found, Hub};

/// Gateways read at a time.
const PAGE: u32 = 1000;

/// The map, and who waits for it.
#[derive(Debug)]
pub(super) struct Maps {
    valid: Duration,
    salt: [u8; 8],
    made: Option<(Vec<Site>, Arc<Map>)>,
    /// Whether the store may have other sites by now.
    stale: bool,
    waiting: Vec<(ConnectionId, WantMap)>,
}

impl Maps {
    /// No map yet; each is good for `valid`.
    pub(super) const fn new(valid: Duration, salt: [u8; 8]) -> Self {
        Self { valid, salt, made: None, stale: true, waiting: Vec::new() }
    }

    /// A gateway may have been moved.
    pub(super) const fn changed(&mut self) {
        self.stale = true;
    }

    /// Somebody wants the map: the answer, if it is at hand; else the sites are to be
    /// [read](Self::read), if that is not being done already.
    pub(super) fn want(
        &mut self,
        connection: ConnectionId,
        wanted: WantMap,
        wall: UnixTime,
    ) -> Want {
        if let Some((_, map)) = self.made.as_ref().filter(|_| !self.stale)
            && self.is_young(map, wall)
        {
            return Want::Answer(answer(map, &wanted));
        }
        self.waiting.push((connection, wanted));
        if self.waiting.len() == 1 { Want::Read } else { Want::Wait }
    }

    /// The sites, as they were read, or that they could not be: what those who waited are told.
    pub(super) fn read(
        &mut self,
        sites: Option<Vec<Site>>,
        wall: UnixTime,
    ) -> Vec<(ConnectionId, CoverageMap)> {
        if let Some(sites) = sites {
            self.stale = false;
            let same =
                |(old, map): &(Vec<Site>, Arc<Map>)| *old == sites && self.is_young(map, wall);
            if !self.made.as_ref().is_some_and(same) {
                self.made = make(&sites, self.salt, wall, self.valid).map(|map| (sites, map));
            }
        }
        let map = self.made.as_ref().map(|(_, map)| Arc::clone(map));
        let waiting = std::mem::take(&mut self.waiting);
        let told = |(connection, wanted): (ConnectionId, WantMap)| match &map {
            Some(map) => (connection, answer(map, &wanted)),
            None => (connection, refused("the map cannot be made now: ask later".to_owned())),
        };
        waiting.into_iter().map(told).collect()
    }

    fn is_young(&self, map: &Map, wall: UnixTime) -> bool {
        let age = u64::try_from(wall.0.saturating_sub(map.issued().0)).unwrap_or(u64::MAX);
        Duration::from_millis(age) < self.valid / 2
    }
}

/// What becomes of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// It is answered.
    Answer(CoverageMap),
    /// The sites are to be read.
    Read,
    /// That is being done.
    Wait,
}

impl Hub {
    /// Answers what was asked of the map, at once or when the sites were read.
    pub(super) fn want_map(&mut self, connection: ConnectionId, wanted: WantMap) {
        match self.maps.want(connection, wanted, SystemClock.unix()) {
            Want::Answer(map) => self.send_map(connection, map),
            Want::Wait => {}
            Want::Read => {
                let (store, figures) = (Arc::clone(&self.store), self.figures.clone());
                let found = self.found.clone();
                self.lookups.spawn(async move {
                    let read = sites(&*store).await.inspect_err(|error| {
                        figures.lookup_failed();
                        tracing::warn!(%error, "the gateways' sites could not be read");
                    });
                    drop(found.send(Found::Sites(read.ok())));
                });
            }
        }
    }

    /// What does not fit into the channel's queue is asked for again.
    pub(super) fn send_map(&self, connection: ConnectionId, map: CoverageMap) {
        if let Some(channel) = self.channels.get(&connection) {
            let _ = channel.handle.send(ToGateway::Map(map).to_pb());
        }
    }
}

/// Where the gateways are heard that are in force.
///
/// # Errors
///
/// If the store fails.
pub(super) async fn sites(store: &dyn Store) -> Result<Vec<Site>> {
    let filter = GatewayFilter { status: Some(Status::Active), ..GatewayFilter::default() };
    let (mut sites, mut after) = (Vec::new(), None);
    loop {
        let page = store.gateways(&filter, Page { after, limit: PAGE }).await?;
        after = page.last().map(|gateway| gateway.id);
        let full = page.len() >= PAGE as usize;
        sites.extend(page.into_iter().filter_map(|gateway| gateway.site));
        if !full {
            return Ok(sites);
        }
    }
}

fn make(sites: &[Site], salt: [u8; 8], wall: UnixTime, valid: Duration) -> Option<Arc<Map>> {
    let sites = sites.iter().filter_map(|site| {
        let (latitude, longitude) = site.degrees();
        let position = Position::new(latitude, longitude).ok()?;
        // A VAP's BSSID is another at each time: there is none to know a gateway by.
        Some(coverage::Site { position, range: site.range(), bssid: None })
    });
    let valid = i64::try_from(valid.as_millis()).unwrap_or(i64::MAX);
    let made = Map::new(salt, wall, UnixTime(wall.0.saturating_add(valid)), sites);
    match made {
        Ok(map) => Some(Arc::new(map)),
        Err(error) => {
            tracing::error!(%error, "no map of the gateways");
            None
        }
    }
}

fn answer(map: &Map, wanted: &WantMap) -> CoverageMap {
    if wanted.issued == Some(map.issued()) {
        return CoverageMap::default();
    }
    let regions: Vec<Region> =
        wanted.regions.iter().filter_map(|one| Region::new(one.zoom, one.number)).collect();
    let octets = match regions.is_empty() {
        true => map.encode(),
        false => map.part(&regions).encode(),
    };
    if octets.len() > limits::MAP {
        let (size, most) = (octets.len(), limits::MAP);
        return refused(format!(
            "what is asked for of the map has {size} octets, and {most} can be sent: ask for a region"
        ));
    }
    CoverageMap { octets, problem: String::new() }
}

const fn refused(problem: String) -> CoverageMap {
    CoverageMap { octets: Vec::new(), problem }
}

#[cfg(test)]
mod tests {
    use homeward_control::MapRegion;

    use super::*;

    const VALID: Duration = Duration::from_secs(1000);

    fn site(text: &str) -> Site {
        text.parse().unwrap()
    }

    fn maps() -> Maps {
        Maps::new(VALID, [7; 8])
    }

    fn decoded(answer: &CoverageMap) -> Map {
        Map::decode(&answer.octets, &homeward_coverage::Limits::default()).unwrap()
    }

    const FIRST: ConnectionId = ConnectionId(1);

    #[test]
    fn the_sites_are_read_once_for_all_who_ask_and_again_when_a_gateway_has_changed() {
        let (mut maps, wall) = (maps(), UnixTime(5_000_000));
        assert_eq!(maps.want(FIRST, WantMap::default(), wall), Want::Read);
        assert_eq!(maps.want(ConnectionId(2), WantMap::default(), wall), Want::Wait);
        let told = maps.read(Some(vec![site("51.5,-0.1,60")]), wall);
        assert_eq!(told.iter().map(|(to, _)| to.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(decoded(&told[0].1).len(), 1);
        let Want::Answer(again) = maps.want(FIRST, WantMap::default(), wall) else { panic!() };
        assert_eq!(again, told[0].1);
        maps.changed();
        assert_eq!(maps.want(FIRST, WantMap::default(), wall), Want::Read);
        let told = maps.read(Some(vec![site("51.5,-0.1,60"), site("51.5,-0.2,60")]), wall);
        assert_eq!(decoded(&told[0].1).len(), 2);
    }

    #[test]
    fn whoever_has_the_map_is_sent_none_until_half_of_its_time_is_over() {
        let (mut maps, wall) = (maps(), UnixTime(5_000_000));
        let have = WantMap { issued: Some(wall), ..WantMap::default() };
        maps.want(FIRST, WantMap::default(), wall);
        maps.read(Some(vec![site("51.5,-0.1,60")]), wall);
        assert_eq!(maps.want(FIRST, have.clone(), wall), Want::Answer(CoverageMap::default()));
        // The same sites are the same map.
        maps.changed();
        assert_eq!(maps.want(FIRST, have.clone(), UnixTime(wall.0 + 499_999)), Want::Read);
        let told = maps.read(Some(vec![site("51.5,-0.1,60")]), UnixTime(wall.0 + 499_999));
        assert_eq!(told, [(FIRST, CoverageMap::default())]);
        let later = UnixTime(wall.0 + 500_000);
        assert_eq!(maps.want(FIRST, have, later), Want::Read);
        let told = maps.read(Some(vec![site("51.5,-0.1,60")]), later);
        let map = decoded(&told[0].1);
        assert_eq!((map.issued(), map.expires()), (later, UnixTime(later.0 + 1_000_000)));
    }

    #[test]
    fn a_part_is_what_was_asked_for_and_a_store_that_fails_is_told() {
        let (mut maps, wall) = (maps(), UnixTime(5_000_000));
        assert_eq!(maps.want(FIRST, WantMap::default(), wall), Want::Read);
        let told = maps.read(None, wall);
        assert!(told[0].1.problem.contains("ask later"), "{told:?}");
        let (zoom, number) = Position::new(51.5, -0.1).unwrap().tile().region(8).zoom_number();
        let regions = vec![MapRegion { zoom, number }];
        maps.want(FIRST, WantMap { regions, issued: None }, wall);
        let told = maps.read(Some(vec![site("51.5,-0.1,60"), site("-33.9,151.2,60")]), wall);
        assert_eq!(decoded(&told[0].1).len(), 1);
    }

    #[test]
    fn a_map_that_is_too_large_says_what_to_do() {
        let (mut maps, wall) = (maps(), UnixTime(5_000_000));
        maps.want(FIRST, WantMap::default(), wall);
        let many = (0..800_000).map(|n| {
            site(&format!("{},{},60", f64::from(n / 1000) * 0.001, f64::from(n % 1000) * 0.001))
        });
        let told = maps.read(Some(many.collect()), wall);
        assert!(told[0].1.problem.contains("ask for a region"), "{}", told[0].1.problem);
    }
}
