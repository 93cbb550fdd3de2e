//! Accounts that nobody lets in: they have no home network, and their class of service reaches only
//! so far from home. AAA refuses their devices and log-ins at every gateway.

use std::collections::{BTreeMap, BTreeSet};

use homeward_model::{Account, AccountId, ClassId, ClassOfService, Coverage, Name};
use homeward_store::{
    AccountFilter, LoginFilter, NetworkFilter, Page, Result, Store, SubscriberFilter,
};

/// Records fetched at a time.
const PAGE: u32 = 1000;

/// Accounts named in a warning; of more it says how many there are.
const NAMED: usize = 3;

/// What is wrong, and what mends it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) what: String,
    pub(crate) repair: String,
}

/// All pages of a list, each record given to `$take`.
macro_rules! each {
    ($store:expr, $list:ident($filter:expr), $take:expr) => {{
        let mut after = None;
        loop {
            let page = $store.$list(&$filter, Page { after, limit: PAGE }).await?;
            let last = page.len() < PAGE as usize;
            after = page.last().map(|record| record.id).or(after);
            page.into_iter().for_each($take);
            if last {
                break;
            }
        }
    }};
}

/// Of that account, if nobody lets it in: for what it has, or is about to have.
pub(crate) async fn of_account(store: &dyn Store, account: &Account) -> Result<Option<Warning>> {
    let Some(class) = store.class(account.class).await? else { return Ok(None) };
    if class.coverage == Coverage::Everywhere {
        return Ok(None);
    }
    let mut home = false;
    let filter = NetworkFilter { account: Some(account.id), ..NetworkFilter::default() };
    each!(store, networks(filter), |network| home |= network.gateway.is_some());
    Ok((!home).then(|| warning(&class, std::slice::from_ref(&account.name))))
}

/// Whether an account has anything that would be let in or refused.
pub(crate) async fn has_anything(store: &dyn Store, account: AccountId) -> Result<bool> {
    let account = Some(account);
    let subscribers = SubscriberFilter { account, ..SubscriberFilter::default() };
    let logins = LoginFilter { account, ..LoginFilter::default() };
    let networks = NetworkFilter { account, ..NetworkFilter::default() };
    Ok(!store.subscribers(&subscribers, Page::first(1)).await?.is_empty()
        || !store.logins(&logins, Page::first(1)).await?.is_empty()
        || !store.networks(&networks, Page::first(1)).await?.is_empty())
}

/// Of all accounts that have something, or of those with that class of service: a warning for each
/// class.
pub(crate) async fn of_all(store: &dyn Store, class: Option<ClassId>) -> Result<Vec<Warning>> {
    let (mut has, mut at_home) = (BTreeSet::new(), BTreeSet::new());
    each!(store, subscribers(SubscriberFilter::default()), |subscriber| {
        has.insert(subscriber.account);
    });
    each!(store, logins(LoginFilter::default()), |login| {
        has.insert(login.account);
    });
    each!(store, networks(NetworkFilter::default()), |network| {
        has.insert(network.account);
        if network.gateway.is_some() {
            at_home.insert(network.account);
        }
    });
    let mut homeless: BTreeMap<ClassId, Vec<Name>> = BTreeMap::new();
    let filter = AccountFilter { class, ..AccountFilter::default() };
    each!(store, accounts(filter), |account: Account| {
        if has.contains(&account.id) && !at_home.contains(&account.id) {
            homeless.entry(account.class).or_default().push(account.name);
        }
    });
    let mut warnings = Vec::new();
    for (class, accounts) in homeless {
        let class = store.class(class).await?;
        if let Some(class) = class.filter(|class| class.coverage != Coverage::Everywhere) {
            warnings.push(warning(&class, &accounts));
        }
    }
    Ok(warnings)
}

fn warning(class: &ClassOfService, accounts: &[Name]) -> Warning {
    let named: Vec<&str> = accounts.iter().take(NAMED).map(Name::as_str).collect();
    let more = accounts.len() - named.len();
    let (subject, its) = match (&named[..], more) {
        ([one], 0) => (format!("account {one} has"), "its"),
        (some, 0) => (format!("accounts {} have", some.join(", ")), "their"),
        (some, more) => (format!("accounts {} and {more} more have", some.join(", ")), "their"),
    };
    let (name, coverage) = (&class.name, class.coverage);
    Warning {
        what: format!(
            "{subject} no home network, and class of service {name} reaches only so far from home \
             ({coverage}): {its} devices are refused at every gateway"
        ),
        repair: format!(
            "`homeward admin class set {name} --coverage everywhere`, or `homeward admin network \
             create --account {} --ssid SSID --security SECURITY --gateway NAME`",
            named.first().unwrap_or(&"NAME")
        ),
    }
}
