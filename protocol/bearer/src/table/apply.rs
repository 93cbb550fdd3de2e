//! What a report does to the table.

use std::cmp::Ordering;

use homeward_accounting::Kind;
use homeward_model::{Apn, Imsi, Instant, UnixTime};
use ipnet::IpNet;

use super::{Applied, Bearer, Cause, Change, News, Session, State, Table};
use crate::Report;
use crate::report::When;

/// When and from whom a report came.
#[derive(Debug, Clone, Copy)]
struct Scene {
    gateway: usize,
    when: When,
    received: UnixTime,
    now: Instant,
}

/// Who asks for an address.
#[derive(Debug, Clone, Copy)]
struct Claim<'a> {
    gateway: usize,
    apn: &'a Option<Apn>,
    imsi: Option<Imsi>,
    nsapi: Option<u8>,
    /// Since when it is theirs.
    began: When,
}

impl Table {
    /// Applies a report that came at `received` by our clock on the wall.
    pub fn handle(&mut self, report: &Report, received: UnixTime, now: Instant) -> Applied {
        let gateway = self.gateway(&report.gateway);
        let when = report.when(received, &self.settings);
        let scene = Scene { gateway, when, received, now };
        let mut changes = Vec::new();
        let news = match report.kind {
            Kind::On | Kind::Off => self.restart(report, scene, &mut changes),
            Kind::Start | Kind::Interim => self.carry(report, scene, &mut changes),
            Kind::Stop => self.stop(report, scene, &mut changes),
        };
        Applied { news, changes }
    }

    fn known(&self, report: &Report, scene: Scene) -> Option<usize> {
        self.gateways.get(scene.gateway)?.sessions.get(&report.session).copied()
    }

    /// The gateway begins anew, or is about to end.
    fn restart(&mut self, report: &Report, scene: Scene, changes: &mut Vec<Change>) -> News {
        let Scene { gateway, when, received, now } = scene;
        let Some(of) = self.gateways.get_mut(gateway) else { return News::Unknown };
        // What is made in the same second as On came after it; as Off, before it.
        let after = UnixTime(when.at.0.saturating_add(i64::from(report.kind == Kind::Off)));
        of.raise(When { at: after, ..when });
        let sent = received.0.saturating_sub(i64::from(report.delay).saturating_mul(1000));
        of.raise(When { at: UnixTime(sent), dated: false });
        let name = of.name.clone();
        let live = of
            .sessions
            .values()
            .copied()
            .filter(|key| self.sessions.get(*key).is_some_and(Session::is_live));
        let live: Vec<usize> = live.collect();
        let (survivors, gone): (Vec<usize>, Vec<usize>) = live.into_iter().partition(|key| {
            // The gateway has spoken of it since.
            let since =
                |s: &Session| when.dated && s.dated && (s.last > when.at || s.began >= after);
            self.sessions.get(*key).is_some_and(since)
        });
        let mut ended = Vec::new();
        for key in gone {
            self.end(key, Cause::Restart, now, &mut ended);
        }
        if survivors.is_empty() {
            changes.push(Change::Cleared { gateway: name });
        } else {
            changes.append(&mut ended);
        }
        News::Restarted
    }

    /// A session has ended.
    fn stop(&mut self, report: &Report, scene: Scene, changes: &mut Vec<Change>) -> News {
        let Scene { gateway, when, now, .. } = scene;
        let mut news = News::Unknown;
        match self.known(report, scene) {
            Some(key) => {
                let Some(session) = self.sessions.get_mut(key) else { return News::Unknown };
                let another = report.imsi.is_some() && session.imsi.is_some();
                let another = another && report.imsi != session.imsi;
                if another || session.began_after(when) {
                    // Of an earlier session that had the same identifier.
                    return News::Late;
                }
                if session.dated == when.dated {
                    session.last = session.last.max(when.at);
                } else {
                    (session.last, session.began, session.dated) = (when.at, when.at, when.dated);
                }
                if session.is_live() {
                    news = News::Ended;
                }
                self.end(key, Cause::Stop, now, changes);
            }
            None if self.gateways.get(gateway).is_some_and(|g| g.is_below(when)) => {
                return News::Late;
            }
            None => {
                // Its Start may be on its way still.
                let until = now + self.settings.remember;
                let key = self.insert(Session {
                    gateway,
                    id: report.session.clone(),
                    imsi: report.imsi,
                    nsapi: report.nsapi,
                    dated: when.dated,
                    began: report.began(when.at),
                    last: when.at,
                    state: State::Ended { cause: Cause::Stop, until },
                    bearers: Vec::new(),
                });
                self.end(key, Cause::Stop, now, changes);
            }
        }
        if report.last_context && self.end_siblings(report, scene, changes) {
            news = News::Ended;
        }
        news
    }

    /// Ends the other contexts of a connection that is gone as a whole.
    fn end_siblings(&mut self, report: &Report, scene: Scene, changes: &mut Vec<Change>) -> bool {
        let mut found: Vec<usize> = Vec::new();
        for net in &report.addresses {
            found.extend(self.index.at(net).iter().copied().filter(|key| {
                let there = self.holds_there(*key, net, scene.gateway, &report.apn);
                let same = |s: &Session| s.imsi == report.imsi && !s.began_after(scene.when);
                there && self.sessions.get(*key).is_some_and(same)
            }));
        }
        for key in &found {
            if self.sessions.get(*key).is_some_and(Session::is_live) {
                self.end(*key, Cause::Stop, scene.now, changes);
            }
        }
        !found.is_empty()
    }

    /// A session begins or goes on.
    fn carry(&mut self, report: &Report, scene: Scene, changes: &mut Vec<Change>) -> News {
        let when = scene.when;
        let began = report.began(when.at);
        let known = self.known(report, scene);
        let known = known.and_then(|key| Some((key, self.sessions.get(key)?)));
        let live = known.is_some_and(|(_, session)| session.is_live());
        if !live && self.gateways.get(scene.gateway).is_some_and(|g| g.is_below(when)) {
            return News::Late;
        }
        let Some((key, session)) = known else {
            return self.begin(report, scene, began, None, changes);
        };
        let order = session.order(when);
        let another = report.imsi.is_some() && session.imsi.is_some();
        let another = another && report.imsi != session.imsi;
        let cause = match session.state {
            State::Live { .. } if order == Some(Ordering::Less) => return News::Late,
            State::Live { .. } if !another => {
                return self.go_on(key, report, scene, changes);
            }
            State::Live { .. } if order == Some(Ordering::Equal) => return News::Late,
            // The identifier is used anew.
            State::Live { .. } => {
                self.end(key, Cause::Stop, scene.now, changes);
                return self.begin(report, scene, began, Some(key), changes);
            }
            State::Ended { cause, .. } => cause,
        };
        let newer = order == Some(Ordering::Greater);
        let (back, began) = match cause {
            // Only the gateway's own clock can tell something new from something late.
            Cause::Stop | Cause::Restart => (newer && when.dated, began),
            // It is older than whoever has its addresses now, unless it begins anew.
            Cause::Silence | Cause::Replaced => {
                let same = session.dated == when.dated && report.kind != Kind::Start && !another;
                let began = if same { began.min(session.began) } else { began };
                (newer || order.is_none(), began)
            }
        };
        if !back {
            return News::Late;
        }
        self.begin(report, scene, began, Some(key), changes)
    }

    /// Begins a session, in the place of what is known of an ended one of the same identifier.
    fn begin(
        &mut self,
        report: &Report,
        scene: Scene,
        began: UnixTime,
        ended: Option<usize>,
        changes: &mut Vec<Change>,
    ) -> News {
        let Scene { gateway, when, received, now } = scene;
        let Some(imsi) = report.imsi else { return News::NoImsi };
        if report.addresses.is_empty() {
            return News::NoAddress;
        }
        let claim = Claim {
            gateway,
            apn: &report.apn,
            imsi: report.imsi,
            nsapi: report.nsapi,
            began: When { at: began, dated: when.dated },
        };
        let won = self.claim(&report.addresses, &claim, None, now, changes);
        if won.is_empty() {
            return News::Late;
        }
        if self.live.saturating_add(won.len()) > self.settings.bearers {
            return News::Full;
        }
        if let Some(ended) = ended {
            self.take(ended);
        }
        let until = now + self.settings.silence;
        let key = self.insert(Session {
            gateway,
            id: report.session.clone(),
            imsi: report.imsi,
            nsapi: report.nsapi,
            dated: when.dated,
            began,
            last: when.at,
            state: State::Live { until },
            bearers: Vec::new(),
        });
        self.silent.insert((until, key));
        for address in won {
            let bearer = Bearer {
                gateway: report.gateway.clone(),
                apn: report.apn.clone(),
                address,
                imsi,
                imei: report.imei,
                msisdn: report.msisdn,
                session: report.session.clone(),
                since: began,
                seen: received,
            };
            changes.push(Change::Put(bearer.clone()));
            self.hold(key, bearer);
        }
        News::Began
    }

    /// A live session goes on: with what the report says of it, and else as it was.
    fn go_on(
        &mut self,
        key: usize,
        report: &Report,
        scene: Scene,
        changes: &mut Vec<Change>,
    ) -> News {
        let Scene { gateway, when, received, now } = scene;
        let until = now + self.settings.silence;
        let Some(session) = self.sessions.get_mut(key) else { return News::Unknown };
        let began = report.began(when.at);
        let anew = report.kind == Kind::Start && session.order(when) == Some(Ordering::Greater);
        if session.dated != when.dated || anew {
            session.began = began;
        } else {
            session.began = session.began.min(began);
        }
        (session.last, session.dated) = (when.at, when.dated);
        session.nsapi = report.nsapi.or(session.nsapi);
        let Some(model) = session.bearers.first().cloned() else { return News::Unknown };
        let had: Vec<IpNet> = session.bearers.iter().map(|b| b.address).collect();
        let model = Bearer {
            apn: report.apn.clone().or(model.apn),
            imei: report.imei.or(model.imei),
            msisdn: report.msisdn.or(model.msisdn),
            seen: received,
            ..model
        };
        let claim = Claim {
            gateway,
            apn: &model.apn,
            imsi: session.imsi,
            nsapi: session.nsapi,
            began: When { at: session.began, dated: when.dated },
        };
        self.set_state(key, State::Live { until });
        let wanted = wanted(&had, &report.addresses);
        for net in &had {
            if !wanted.contains(net) || !self.holds_there(key, net, gateway, &model.apn) {
                self.drop_bearer(key, net, changes);
            }
        }
        let new = |net: &&IpNet| !self.holds_there(key, net, gateway, &model.apn);
        let new: Vec<IpNet> = wanted.iter().filter(new).copied().collect();
        let won = self.claim(&new, &claim, Some(key), now, changes);
        let Some(session) = self.sessions.get_mut(key) else { return News::Unknown };
        for bearer in &mut session.bearers {
            if bearer.msisdn != model.msisdn {
                self.index.remove_number(bearer.msisdn, key);
                self.index.add_number(model.msisdn, key);
            }
            (bearer.imei, bearer.msisdn, bearer.seen) = (model.imei, model.msisdn, model.seen);
            changes.push(Change::Put(bearer.clone()));
        }
        let mut news = News::Goes;
        for address in won {
            if self.live >= self.settings.bearers {
                news = News::Full;
                break;
            }
            let bearer = Bearer { address, ..model.clone() };
            changes.push(Change::Put(bearer.clone()));
            self.hold(key, bearer);
        }
        if self.sessions.get(key).is_some_and(|s| s.bearers.is_empty()) {
            self.end(key, Cause::Replaced, now, changes);
            news = if news == News::Full { news } else { News::Late };
        }
        news
    }

    /// Which of the addresses are whose who asks for them: those that no session that began later
    /// holds. Takes them from whoever holds them.
    fn claim(
        &mut self,
        addresses: &[IpNet],
        claim: &Claim<'_>,
        own: Option<usize>,
        now: Instant,
        changes: &mut Vec<Change>,
    ) -> Vec<IpNet> {
        let mut won = Vec::new();
        for net in addresses {
            let rivals = self.rivals(net, claim, own);
            let later =
                |key: &usize| self.sessions.get(*key).is_some_and(|s| s.began_after(claim.began));
            if rivals.iter().any(|(_, key)| later(key)) {
                continue;
            }
            for (held, key) in rivals {
                self.drop_bearer(key, &held, changes);
                if self.sessions.get(key).is_some_and(|s| s.bearers.is_empty()) {
                    self.end(key, Cause::Replaced, now, changes);
                }
            }
            won.push(*net);
        }
        won
    }

    /// Who of the same gateway and access point name holds something of that.
    fn rivals(&self, net: &IpNet, claim: &Claim<'_>, own: Option<usize>) -> Vec<(IpNet, usize)> {
        let mut all = self.index.overlapping(net);
        all.retain(|(held, key)| {
            let sibling = |s: &Session| held == net && s.is_sibling(claim.imsi, claim.nsapi);
            Some(*key) != own
                && self.holds_there(*key, held, claim.gateway, claim.apn)
                && !self.sessions.get(*key).is_some_and(sibling)
        });
        all
    }
}

/// What a session has after a report: of a family that the report names, what it names, and of one
/// that it does not name, what it had.
fn wanted(had: &[IpNet], named: &[IpNet]) -> Vec<IpNet> {
    let is4 = |net: &&IpNet| net.addr().is_ipv4();
    let of4: Vec<IpNet> = named.iter().filter(is4).copied().collect();
    let of6: Vec<IpNet> = named.iter().filter(|n| !is4(n)).copied().collect();
    let mut wanted = if of4.is_empty() { had.iter().filter(is4).copied().collect() } else { of4 };
    if of6.is_empty() {
        wanted.extend(had.iter().filter(|n| !is4(n)));
    } else {
        wanted.extend(of6);
    }
    wanted
}
