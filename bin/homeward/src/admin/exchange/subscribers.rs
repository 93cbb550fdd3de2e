//! The import of subscribers: planned line by line, the new ones written in batches.

use std::collections::BTreeMap;

use homeward_model::{AccountId, Imsi, Name, SubscriberId};
use homeward_store::{Error, NewSubscriber, SubscriberChange};

use super::devices::label;
use super::records::{Seen, differs, no_such, read_status};
use super::sheet::parsed;
use super::{Import, Step};
use crate::admin::Context;
use crate::admin::spelling::msisdn;

/// Lines of one transaction: each waits for the disk.
const BATCH: usize = 500;

type Plan = Vec<(u64, Step<NewSubscriber, (SubscriberId, SubscriberChange)>)>;

pub(super) async fn subscribers(import: &mut Import<'_>, cx: &Context<'_>) -> anyhow::Result<()> {
    let plan = plan(import, cx).await?;
    import.checked()?;
    let mut rest = plan.into_iter().peekable();
    while rest.peek().is_some() {
        let batch: Plan = rest.by_ref().take(BATCH).collect();
        if !import.dry_run {
            write(import, cx, &batch).await?;
        }
        for (_, step) in &batch {
            import.count(step);
        }
    }
    Ok(())
}

async fn plan(import: &mut Import<'_>, cx: &Context<'_>) -> anyhow::Result<Plan> {
    let mut plan = Vec::new();
    let (mut seen, mut numbers) = (Seen::new(), Seen::new());
    let mut accounts: BTreeMap<Name, Option<AccountId>> = BTreeMap::new();
    for row in &import.sheet.rows {
        let mut r = import.sheet.reader(row, &mut import.problems);
        let (imsi, account) = (r.need("imsi", parsed::<Imsi>), r.need("account", parsed::<Name>));
        let (number, label) = (r.given("msisdn", msisdn), r.given("label", label));
        let status = read_status(&mut r);
        let (Some(imsi), Some(name)) = (imsi, account) else { continue };
        seen.once(imsi, row, &mut r, "imsi");
        if let Some(Some(number)) = number {
            numbers.once(number, row, &mut r, "msisdn");
        }
        let account = match accounts.get(&name) {
            Some(known) => *known,
            None => {
                let found = cx.store.account_named(&name).await?.map(|account| account.id);
                accounts.insert(name.clone(), found);
                found
            }
        };
        let Some(account) = account else {
            r.problem("account", no_such("account", &name));
            continue;
        };
        let old = cx.store.subscriber_with_imsi(imsi).await?;
        if let Some(Some(number)) = number
            && let Some(other) = cx.store.subscriber_with_msisdn(number).await?
            && other.imsi != imsi
        {
            r.problem("msisdn", format!("is that of subscriber {} already", other.imsi.as_str()));
        }
        let step = match old {
            None => Step::Create(NewSubscriber {
                imsi,
                msisdn: number.flatten(),
                account,
                label: label.flatten().unwrap_or_default(),
                status: status.unwrap_or_default(),
            }),
            Some(old) => {
                import.may_update(row.line, "imsi", format_args!("subscriber {}", imsi.as_str()));
                let change = SubscriberChange {
                    imsi: None,
                    msisdn: number.and_then(|number| differs(number, &old.msisdn)),
                    account: differs(account, &old.account),
                    label: label
                        .map(Option::unwrap_or_default)
                        .and_then(|l| differs(l, &old.label)),
                    status: status.and_then(|status| differs(status, &old.status)),
                };
                match change == SubscriberChange::default() {
                    true => Step::Same,
                    false => Step::Update((old.id, change)),
                }
            }
        };
        plan.push((row.line, step));
    }
    Ok(plan)
}

/// Writes a batch: the new ones in one transaction, then changes one by one.
async fn write(import: &Import<'_>, cx: &Context<'_>, batch: &Plan) -> anyhow::Result<()> {
    let (mut new, mut lines) = (Vec::new(), Vec::new());
    for (line, step) in batch {
        if let Step::Create(one) = step {
            new.push(one.clone());
            lines.push(*line);
        }
    }
    if !new.is_empty() {
        match cx.store.create_subscribers(&new).await {
            Ok(_) => {}
            Err(Error::Batch { index, source }) => {
                let line = lines.get(index).copied().unwrap_or_default();
                return Err(import.refused(line, *source));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for (line, step) in batch {
        if let Step::Update((id, change)) = step {
            let done = cx.store.update_subscriber(*id, change).await;
            done.map_err(|error| import.refused(*line, error))?;
        }
    }
    Ok(())
}
