//! Whether a request is answered, and with what.
//!
//! [`decide`] looks at the [`Facts`] and gives one of three:
//!
//! ```text
//!           no live bearer of that SIM, no subscriber, no policy … ──► Refuse(Reason)
//!  Facts ──►what the SIM has is good for this very device       ──► Keep(the same answer)
//!           anything else                                       ──► Issue, of which Issue::make
//!                                                                   makes a name and a password
//! ```
//!
//! What is kept is what there is: whoever asks twice, or whose answer was lost, gets the same
//! credentials. Issuing ends what the SIM and the station had before; the store does that
//! (`Issuing::issue`), in the transaction that creates the new.
//!
//! Over the data bearer, the source address proves which SIM it is: the packet gateway gave it to
//! that SIM and lets nobody else use it. A short message proves less, for senders can be forged;
//! so it gets only credentials that are good once and not for long, and never those that the SIM
//! has for longer.

mod make;
mod reason;

use std::collections::BTreeMap;

use homeward_model::{
    Account, ClassId, CredentialTerms, Imei, Imsi, Login, Mac, Msisdn, OffloadPolicy, PolicyScope,
    Seconds, Status, Subscriber, UnixTime, Uses, Verifier,
};

use crate::wire::{CredentialAnswer, CredentialRequest};
pub use make::{Made, PASSWORD_LEN, Realm, RealmError, USER_LEN};
pub use reason::{Reason, Why};

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long credentials are good that were asked for by short message, at most; those of a
    /// policy with a shorter lifetime are good as long as that says.
    pub sms_lifetime: Seconds,
}

impl Default for Settings {
    /// An hour: to come to where the Wi-Fi is, and to ask again over it.
    fn default() -> Self {
        Self { sms_lifetime: Seconds(3600) }
    }
}

/// A bearer that is live now, as the packet gateway reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Whose it is.
    pub imsi: Imsi,
    /// With which equipment, where the gateway says so.
    pub imei: Option<Imei>,
}

/// By which way a request came, and what that proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way<'a> {
    /// Over the data bearer: the live one that has the source address.
    Bearer(Option<&'a Bearer>),
    /// By short message.
    Sms {
        /// Its sender, as the SMSC says.
        sender: Msisdn,
        /// The live bearer of that telephone number.
        bearer: Option<&'a Bearer>,
    },
}

impl<'a> Way<'a> {
    const fn bearer(self) -> Option<&'a Bearer> {
        match self {
            Self::Bearer(bearer) | Self::Sms { bearer, .. } => bearer,
        }
    }
}

/// What was issued before and has not been ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given<'a> {
    /// The log-in.
    pub login: &'a Login,
    /// To whom.
    pub imsi: Imsi,
    /// With which equipment it was asked for.
    pub imei: Option<Imei>,
    /// For which station.
    pub mac: Mac,
    /// When.
    pub issued: UnixTime,
    /// From when on it may be replaced.
    pub renew_from: Option<UnixTime>,
}

/// The policies there are.
pub type Policies = BTreeMap<PolicyScope, OffloadPolicy>;

/// The policy that counts for a station of an account of that class of service: the most specific
/// one, whole.
pub fn policy_for(policies: &Policies, class: ClassId, mac: Mac) -> Option<&OffloadPolicy> {
    [PolicyScope::Mac(mac), PolicyScope::Class(class), PolicyScope::Default]
        .iter()
        .find_map(|scope| policies.get(scope))
}

/// All that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What is asked.
    pub request: &'a CredentialRequest,
    /// How it came.
    pub way: Way<'a>,
    /// The subscriber with the request's IMSI.
    pub subscriber: Option<&'a Subscriber>,
    /// The account that pays for it.
    pub account: Option<&'a Account>,
    /// The policies there are.
    pub policies: &'a Policies,
    /// What the request's IMSI has.
    pub given: Option<Given<'a>>,
    /// What the request's station has, by whatever SIM.
    pub station: Option<Given<'a>>,
    /// Now.
    pub now: UnixTime,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<'a> {
    /// The device is told again what it has.
    Keep(Box<CredentialAnswer>),
    /// The device is given new ones, and the old ones end.
    Issue(Issue<'a>),
    /// No. From outside there is one refusal; the reason is for logs and figures.
    Refuse(Reason),
}

/// Credentials to be made: [`Issue::make`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue<'a> {
    /// Why the device does not keep what it has.
    pub why: Why,
    /// Who pays.
    pub account: &'a Account,
    /// To whom.
    pub imsi: Imsi,
    /// With which equipment, as far as anybody said.
    pub imei: Option<Imei>,
    /// For which station.
    pub mac: Mac,
    /// What they are like: the policy's terms, but for short messages.
    pub terms: CredentialTerms,
    /// What the device is told beside them.
    pub policy: &'a OffloadPolicy,
}

/// Decides on a request.
pub fn decide<'a>(settings: &Settings, facts: &Facts<'a>) -> Decision<'a> {
    match admit(facts) {
        Ok(admitted) => answer(settings, facts, &admitted),
        Err(reason) => Decision::Refuse(reason),
    }
}

/// Whose request it is, once that is proven.
struct Admitted<'a> {
    account: &'a Account,
    imei: Option<Imei>,
    policy: &'a OffloadPolicy,
}

fn admit<'a>(facts: &Facts<'a>) -> Result<Admitted<'a>, Reason> {
    let CredentialRequest { imsi, imei, mac, .. } = *facts.request;
    let bearer = facts.way.bearer();
    if let Some(bearer) = bearer {
        if bearer.imsi != imsi {
            return Err(Reason::OtherSim);
        }
        let equipment = bearer.imei.zip(imei);
        if equipment.is_some_and(|(theirs, said)| !theirs.same_equipment(&said)) {
            return Err(Reason::OtherEquipment);
        }
    }
    let subscriber = facts.subscriber.filter(|subscriber| subscriber.imsi == imsi);
    match facts.way {
        Way::Bearer(None) => return Err(Reason::NoBearer),
        // Without a bearer of its own, the number must be the one on record.
        Way::Sms { sender, bearer: None }
            if subscriber.and_then(|subscriber| subscriber.msisdn) != Some(sender) =>
        {
            return Err(Reason::OtherSender);
        }
        Way::Bearer(Some(_)) | Way::Sms { .. } => {}
    }
    if mac.is_group() {
        return Err(Reason::GroupAddress);
    }
    let subscriber = subscriber.ok_or(Reason::NoSubscriber)?;
    if subscriber.status != Status::Active {
        return Err(Reason::SubscriberSuspended);
    }
    let account = facts.account.filter(|account| account.id == subscriber.account);
    let account = account.ok_or(Reason::NoAccount)?;
    if account.status != Status::Active {
        return Err(Reason::AccountSuspended);
    }
    let policy = policy_for(facts.policies, account.class, mac).ok_or(Reason::NoPolicy)?;
    let imei = imei.or_else(|| bearer.and_then(|bearer| bearer.imei));
    Ok(Admitted { account, imei, policy })
}

fn answer<'a>(settings: &Settings, facts: &Facts<'a>, admitted: &Admitted<'a>) -> Decision<'a> {
    let Admitted { account, imei, policy } = *admitted;
    let CredentialRequest { imsi, mac, .. } = *facts.request;
    let terms = terms(settings, facts.way, policy);
    let given = facts.given.filter(|given| given.imsi == imsi);
    let why = match given {
        Some(given) => match fault(&given, facts, admitted, &terms) {
            None => match kept(&given, policy) {
                Some(answer) => return Decision::Keep(Box::new(answer)),
                None => Why::Unreadable,
            },
            Some(why) => why,
        },
        None if facts.station.is_some_and(|given| given.mac == mac) => Why::OtherSim,
        // The device names what it had, and nobody has it any more.
        None if facts.request.previous.is_some() => Why::Withdrawn,
        None => Why::First,
    };
    Decision::Issue(Issue { why, account, imsi, imei, mac, terms, policy })
}

/// The policy's terms, as they are for that way.
fn terms(settings: &Settings, way: Way<'_>, policy: &OffloadPolicy) -> CredentialTerms {
    let terms = policy.terms.clone();
    match way {
        Way::Bearer(_) => terms,
        Way::Sms { .. } => {
            let most = settings.sms_lifetime;
            let lifetime = Some(terms.lifetime.map_or(most, |lifetime| lifetime.min(most)));
            CredentialTerms { lifetime, one_time: true, ..terms }
        }
    }
}

/// Why what was given is not for this device, or not any more.
fn fault(
    given: &Given<'_>,
    facts: &Facts<'_>,
    admitted: &Admitted<'_>,
    terms: &CredentialTerms,
) -> Option<Why> {
    let Login { account, mac, expires, uses, status, .. } = given.login;
    let equipment = given.imei.zip(admitted.imei);
    let lifetime = terms.lifetime.map(|Seconds(seconds)| i64::from(seconds) * 1000);
    let longer = |most| expires.is_none_or(|at| at.0.saturating_sub(given.issued.0) > most);
    let faults = [
        (Why::NewStation, given.mac != facts.request.mac),
        (Why::NewEquipment, equipment.is_some_and(|(then, now)| !then.same_equipment(&now))),
        (Why::Expired, expires.is_some_and(|at| at <= facts.now)),
        (Why::Spent, *uses == Uses::Spent),
        (Why::Suspended, *status != Status::Active),
        (Why::Renewal, given.renew_from.is_some_and(|at| at <= facts.now)),
        // Terms that have become narrower than what was given. Wider ones can wait.
        (Why::Terms, *account != admitted.account.id),
        (Why::Terms, terms.one_time && *uses == Uses::Any),
        (Why::Terms, terms.bind_mac && *mac != Some(given.mac)),
        (Why::Terms, lifetime.is_some_and(longer)),
    ];
    faults.into_iter().find_map(|(why, is)| is.then_some(why))
}

/// What was given, as an answer; `None` where its password is not to be had.
fn kept(given: &Given<'_>, policy: &OffloadPolicy) -> Option<CredentialAnswer> {
    let Verifier::Password(password) = &given.login.verifier else { return None };
    Some(CredentialAnswer {
        username: given.login.name.clone(),
        password: password.clone(),
        expires: given.login.expires,
        renew_from: given.renew_from,
        one_time: given.login.uses == Uses::Once,
        policy: policy.wlan.clone(),
        handoff: None,
    })
}
