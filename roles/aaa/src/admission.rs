//! Whether a log-in that was proven is let in, and on what terms: a pure function of what is
//! known, the gateway and the station.

use std::sync::Arc;

use homeward_eap::Denied;
use homeward_ledger::User;
use homeward_model::service::Seconds;
use homeward_model::{
    Account, AccountId, ClassOfService, Coverage, Gateway, Login, Mac, Status, Uses,
};
use homeward_radius::Allowed;

use crate::decision::Known;
use crate::projection::Projection;

/// What a log-in is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The log-in.
    pub login: Arc<Login>,
    /// Who pays.
    pub account: AccountId,
    /// On what terms, for no longer than the log-in is good, and with how much of the quota left.
    pub allowed: Allowed,
}

impl Admission {
    /// Who uses it.
    pub fn user(&self) -> User {
        User::Login(self.login.id)
    }

    /// Chargeable-User-Identity (RFC 4372): the account, by a number that says nothing elsewhere.
    pub fn chargeable(&self) -> Vec<u8> {
        format!("{}", self.account).into_bytes()
    }
}

/// Decides whether `login`, once its owner has proven who it is, may come in by `gateway`.
///
/// # Errors
///
/// Why not.
pub fn admit(
    known: &Known<'_>,
    gateway: &Gateway,
    login: &Arc<Login>,
    station: Option<Mac>,
) -> Result<Admission, Denied> {
    let admission = stay(known, gateway, login, station)?;
    if login.uses == Uses::Spent { Err(Denied::Spent) } else { Ok(admission) }
}

/// Decides whether who came in may stay: as [`admit`], but a log-in that is good for one log-on is
/// spent since.
///
/// # Errors
///
/// Why not.
pub fn stay(
    known: &Known<'_>,
    gateway: &Gateway,
    login: &Arc<Login>,
    station: Option<Mac>,
) -> Result<Admission, Denied> {
    let (p, wall) = (known.records, known.now);
    let account = p.account(login.account).ok_or(Denied::Suspended)?;
    let class = p.class(account.class).ok_or(Denied::Suspended)?;
    if login.status == Status::Suspended || account.status == Status::Suspended {
        return Err(Denied::Suspended);
    }
    match (login.mac, station) {
        (Some(_), None) => return Err(Denied::NoStation),
        (Some(bound), Some(station)) if bound != station => return Err(Denied::WrongStation),
        _ => {}
    }
    let at_most = match login.expires {
        Some(expires) if expires <= wall => return Err(Denied::Expired),
        // Whole seconds, at least one: zero would be for ever to some.
        Some(expires) => {
            let left = u32::try_from((expires.0 - wall.0) / 1000).unwrap_or(u32::MAX);
            Some(Seconds(left.max(1)))
        }
        None => None,
    };
    if gateway.status == Status::Suspended || !covered(p, gateway, account, class) {
        return Err(Denied::NotHere);
    }
    let standing = |quota| known.usage.standing(User::Login(login.id), quota, wall);
    let standing = class.terms.quota.as_ref().map(standing);
    if standing.is_some_and(|standing| standing.spent) {
        return Err(Denied::Quota);
    }
    let quota_left = standing.map(|standing| standing.left);
    let allowed = Allowed { terms: class.terms, at_most, quota_left };
    Ok(Admission { login: Arc::clone(login), account: account.id, allowed })
}

/// As a look-up has it: from any of the account's homes, at a gateway of the same operator; who
/// has no home is covered by the operator's whole footprint only.
fn covered(p: &Projection, gateway: &Gateway, account: &Account, class: &ClassOfService) -> bool {
    let mut homes = p.homes(account.id).peekable();
    if homes.peek().is_none() {
        return class.coverage == Coverage::Everywhere;
    }
    homes.any(|home| {
        home.id == gateway.id
            || (home.operator == gateway.operator
                && class.coverage.covers(&home.place, &gateway.place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, FAR, GATEWAY, HOME, MAC};
    use crate::usage::Usage;
    use homeward_accounting::{Day, Figures};
    use homeward_model::{GatewayId, Quota, QuotaPeriod, UnixTime};

    const NOW: UnixTime = UnixTime(1_000_000);

    fn ask(p: &Projection, gateway: GatewayId, login: Login) -> Result<Admission, Denied> {
        let usage = Usage::default();
        admit(&known(p, &usage), p.gateway(gateway).unwrap(), &Arc::new(login), Some(MAC))
    }

    fn known<'a>(p: &'a Projection, usage: &'a Usage) -> Known<'a> {
        Known { records: p, usage, now: NOW }
    }

    #[test]
    fn who_has_used_the_quota_is_refused() {
        let mut p = testing::projection();
        let mut class = testing::class(Coverage::Local);
        class.terms.quota = Some(Quota { octets: 1000, period: QuotaPeriod::Month });
        p.put_class(class);
        let (usage, login) = (Usage::default(), Arc::new(testing::login()));
        let home = p.gateway(HOME).unwrap();
        let used = |octets| Figures { input: octets, ..Figures::ZERO };
        usage.add(User::Login(login.id), &used(999), Day::of(NOW));
        let admission = admit(&known(&p, &usage), home, &login, None).unwrap();
        assert_eq!(admission.allowed.quota_left, Some(1));
        usage.add(User::Login(login.id), &used(1), Day::of(NOW));
        assert_eq!(admit(&known(&p, &usage), home, &login, None).unwrap_err(), Denied::Quota);
    }

    #[test]
    fn who_used_a_log_in_for_one_log_on_stays_and_nobody_comes_in_by_it_again() {
        let (p, usage) = (testing::projection(), Usage::default());
        let spent = Arc::new(Login { uses: Uses::Spent, ..testing::login() });
        let home = p.gateway(HOME).unwrap();
        assert_eq!(admit(&known(&p, &usage), home, &spent, None).unwrap_err(), Denied::Spent);
        assert!(stay(&known(&p, &usage), home, &spent, None).is_ok());
        assert!(ask(&p, HOME, Login { uses: Uses::Once, ..testing::login() }).is_ok());
    }

    #[test]
    fn a_log_in_is_let_in_where_its_class_of_service_reaches() {
        let mut p = testing::projection();
        assert!(ask(&p, HOME, testing::login()).is_ok());
        assert!(ask(&p, GATEWAY, testing::login()).is_ok());
        assert_eq!(ask(&p, FAR, testing::login()).unwrap_err(), Denied::NotHere);
        p.put_class(testing::class(Coverage::National));
        assert!(ask(&p, FAR, testing::login()).is_ok());
        p.remove_network(testing::network().id);
        assert_eq!(ask(&p, HOME, testing::login()).unwrap_err(), Denied::NotHere);
        p.put_class(testing::class(Coverage::Everywhere));
        assert!(ask(&p, FAR, testing::login()).is_ok(), "without a home everything counts");
    }

    #[test]
    fn what_is_suspended_expired_or_bound_elsewhere_is_refused() {
        let mut p = testing::projection();
        let login = testing::login;
        let suspended = Login { status: Status::Suspended, ..login() };
        assert_eq!(ask(&p, HOME, suspended).unwrap_err(), Denied::Suspended);
        let expired = Login { expires: Some(NOW), ..login() };
        assert_eq!(ask(&p, HOME, expired).unwrap_err(), Denied::Expired);
        let other = Login { mac: Some(Mac::new([2; 6])), ..login() };
        assert_eq!(ask(&p, HOME, other).unwrap_err(), Denied::WrongStation);
        let bound = Arc::new(Login { mac: Some(MAC), ..login() });
        let home = p.gateway(HOME).unwrap();
        let usage = Usage::default();
        let denied = admit(&known(&p, &usage), home, &bound, None).unwrap_err();
        assert_eq!(denied, Denied::NoStation);
        assert!(admit(&known(&p, &usage), home, &bound, Some(MAC)).is_ok());
        p.put_account(testing::suspended_account());
        assert_eq!(ask(&p, HOME, login()).unwrap_err(), Denied::Suspended);
        p.put_account(testing::account());
        let gateway = Gateway { status: Status::Suspended, ..p.gateway(HOME).unwrap().clone() };
        p.put_gateway(gateway);
        assert_eq!(ask(&p, HOME, login()).unwrap_err(), Denied::NotHere);
    }

    #[test]
    fn a_session_does_not_outlast_its_log_in() {
        let p = testing::projection();
        for (millis, seconds) in [(1, 1), (999, 1), (61_500, 61), (i64::MAX / 2, u32::MAX)] {
            let login = Login { expires: Some(UnixTime(NOW.0 + millis)), ..testing::login() };
            assert_eq!(ask(&p, HOME, login).unwrap().allowed.at_most, Some(Seconds(seconds)));
        }
        assert_eq!(ask(&p, HOME, testing::login()).unwrap().allowed.at_most, None);
    }
}
