//! `homeward admin class`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use homeward_model::{
    Anchor, BondingModes, ClassOfService, Coverage, Days, Encryption, Name, Priority, Quota, Rssi,
    Seconds, ServiceTerms, Vlan,
};
use homeward_store::{ClassChange, Entity, NewClass};

use super::spelling::{self, OrNone, Rate, Spelled, cell};
use super::{Context, all, cannot_delete, find, something};
use crate::homeless;
use crate::output::{Table, fields};

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin class create gold --coverage national --bandwidth-down 50M
  homeward admin class list")]
pub(super) enum Verb {
    /// Create a class of service
    #[command(after_long_help = "Examples:
  homeward admin class create basic
  homeward admin class create gold --coverage everywhere --priority 5 --bandwidth-up 10M \\
      --bandwidth-down 50M --quota 20GB/month --session-timeout 1h
  homeward admin class create out --anchor local      Internet only, no way home
  homeward admin class create guests --vlan 30        of the NAS that lets them in by a log-in

A NAS that lets in a log-in is told the rates (WISPr-Bandwidth-Max-Up and -Down), the timeouts, the
VLAN (Tunnel-Private-Group-Id), and what is left of the quota (ChilliSpot-Max-Total-Octets and
Mikrotik-Total-Limit, each with its Gigawords); of those it heeds what it knows.")]
    Create(Create),
    /// List classes of service
    #[command(after_long_help = "Example:
  homeward admin class list --json")]
    List,
    /// Show a class of service
    #[command(after_long_help = "Example:
  homeward admin class show gold")]
    Show {
        /// Its name
        name: Name,
    },
    /// Change a class of service; what is not named stays
    #[command(after_long_help = "Examples:
  homeward admin class set gold --bandwidth-down 100M
  homeward admin class set gold --quota none --rename platinum
  homeward admin class set gold --retention 90d       of sessions that ended, on and old ones

Sessions that run have it too: NASes are sent a CoA-Request (RFC 5176), and change_refused of the
core says what becomes of a session whose NAS does not take it. Homeward's own gateways ask anew
within a minute.")]
    Set(Set),
    /// Delete a class of service that no account has
    #[command(after_long_help = "Example:
  homeward admin class delete basic")]
    Delete {
        /// Its name
        name: Name,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name
    name: Name,
    /// Where it is valid, seen from home: local, national or everywhere [default: national]
    #[arg(long)]
    coverage: Option<Coverage>,
    /// How long what is recorded of sessions is kept after they ended, in days, such as 90d; none
    /// leaves it to keep_sessions of the core
    #[arg(long, value_name = "SPAN")]
    retention: Option<OrNone<Days>>,
    #[command(flatten)]
    terms: Terms,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Its name
    name: Name,
    /// A new name
    #[arg(long, value_name = "NAME")]
    rename: Option<Name>,
    /// Where it is valid, seen from home: local, national or everywhere
    #[arg(long)]
    coverage: Option<Coverage>,
    /// How long what is recorded of sessions is kept after they ended, in days, such as 90d; none
    /// leaves it to keep_sessions of the core
    #[arg(long, value_name = "SPAN")]
    retention: Option<OrNone<Days>>,
    #[command(flatten)]
    terms: Terms,
}

/// What is granted.
#[derive(Debug, Default, Args)]
struct Terms {
    /// Rank under congestion: 0 (last) to 7 (first)
    #[arg(long, value_parser = priority)]
    priority: Option<Priority>,
    /// The most a device may send, in bit/s, such as 10M; none is unlimited
    #[arg(long, value_name = "RATE")]
    bandwidth_up: Option<OrNone<Rate>>,
    /// The most a device may receive, in bit/s, such as 50M; none is unlimited
    #[arg(long, value_name = "RATE")]
    bandwidth_down: Option<OrNone<Rate>>,
    /// The most traffic per day, week or month, such as 20GB/month; none is unlimited
    #[arg(long)]
    quota: Option<OrNone<Quota>>,
    /// Whether traffic between gateways is encrypted: required or off
    #[arg(long)]
    encryption: Option<Encryption>,
    /// Where a roamer's traffic leaves: home (through its home gateway) or local (at the gateway
    /// that serves it)
    #[arg(long)]
    anchor: Option<Anchor>,
    /// How two paths may be used at once: mirrored, striped, both with a comma, or none
    #[arg(long, value_name = "MODES", value_parser = spelling::bonding)]
    bonding: Option<BondingModes>,
    /// The signal below which a device is handed on, in dBm, such as -75; none leaves it to the gateway
    #[arg(long, value_name = "DBM", allow_hyphen_values = true)]
    handoff_threshold: Option<OrNone<Rssi>>,
    /// How long a session lasts before it is authorised anew, such as 1h; none is unlimited
    #[arg(long, value_name = "SPAN")]
    session_timeout: Option<OrNone<Seconds>>,
    /// How long a device may be silent, such as 5m; none leaves it to the gateway
    #[arg(long, value_name = "SPAN")]
    idle_timeout: Option<OrNone<Seconds>>,
    /// The VLAN into which a NAS puts what logs in, 1 to 4094; none leaves it to the NAS
    #[arg(long)]
    vlan: Option<OrNone<Vlan>>,
}

/// Reads a priority.
pub(super) fn priority(text: &str) -> Result<Priority, String> {
    let rank = text.parse::<u8>().map_err(|_| format!("{text:?} is no priority: write 0 to 7"))?;
    Priority::try_from(rank)
}

impl Terms {
    /// Overrides what was given.
    fn apply(&self, terms: &mut ServiceTerms) {
        let rate = |rate: OrNone<Rate>| rate.0.map(|Rate(bits)| bits);
        terms.priority = self.priority.unwrap_or(terms.priority);
        terms.bandwidth.up = self.bandwidth_up.map_or(terms.bandwidth.up, rate);
        terms.bandwidth.down = self.bandwidth_down.map_or(terms.bandwidth.down, rate);
        terms.quota = self.quota.map_or(terms.quota, |q| q.0);
        terms.encryption = self.encryption.unwrap_or(terms.encryption);
        terms.anchor = self.anchor.unwrap_or(terms.anchor);
        terms.bonding = self.bonding.unwrap_or(terms.bonding);
        terms.handoff_threshold = self.handoff_threshold.map_or(terms.handoff_threshold, |t| t.0);
        terms.session_timeout = self.session_timeout.map_or(terms.session_timeout, |t| t.0);
        terms.idle_timeout = self.idle_timeout.map_or(terms.idle_timeout, |t| t.0);
        terms.vlan = self.vlan.map_or(terms.vlan, |v| v.0);
    }
}

pub(super) async fn run(verb: Verb, cx: &mut Context<'_>) -> anyhow::Result<()> {
    match verb {
        Verb::Create(new) => {
            let mut terms = ServiceTerms::default();
            new.terms.apply(&mut terms);
            let coverage = new.coverage.unwrap_or_default();
            let retention = new.retention.and_then(|days| days.0);
            let new = NewClass { name: new.name, coverage, terms, retention };
            let class = cx.store.create_class(&new).await?;
            cx.show(&class, || format!("created class of service {}\n", class.name))
        }
        Verb::List => {
            let classes = all!(cx, classes());
            cx.show(&classes, || table(&classes))
        }
        Verb::Show { name } => {
            let class = find::class(cx.store, &name).await?;
            cx.show(&class, || show(&class))
        }
        Verb::Set(set) => {
            let class = find::class(cx.store, &set.name).await?;
            let mut terms = class.terms;
            set.terms.apply(&mut terms);
            let change = something(ClassChange {
                name: set.rename,
                coverage: set.coverage,
                terms: Some(terms).filter(|terms| *terms != class.terms || set.terms.any()),
                retention: set.retention.map(|days| days.0),
            })?;
            let class = cx.store.update_class(class.id, &change).await?;
            cx.show(&class, || format!("changed class of service {}\n", class.name))?;
            if set.coverage.is_some() {
                cx.warn(homeless::of_all(cx.store, Some(class.id)).await?);
            }
            Ok(())
        }
        Verb::Delete { name } => {
            let class = find::class(cx.store, &name).await?;
            cx.store
                .delete_class(class.id)
                .await
                .with_context(|| cannot_delete(Entity::Class, &class.name))?;
            cx.deleted(Entity::Class, class.id.0, class.name.as_str())
        }
    }
}

impl Terms {
    /// Whether anything was given at all, if only what is there already.
    fn any(&self) -> bool {
        self.priority.is_some()
            || self.bandwidth_up.is_some()
            || self.bandwidth_down.is_some()
            || self.quota.is_some()
            || self.encryption.is_some()
            || self.anchor.is_some()
            || self.bonding.is_some()
            || self.handoff_threshold.is_some()
            || self.session_timeout.is_some()
            || self.idle_timeout.is_some()
            || self.vlan.is_some()
    }
}

fn table(classes: &[ClassOfService]) -> String {
    let mut table = Table::new([
        "name",
        "coverage",
        "priority",
        "up",
        "down",
        "quota",
        "encryption",
        "anchor",
        "bonding",
    ]);
    for class in classes {
        let terms = &class.terms;
        table.row([
            class.name.to_string(),
            class.coverage.to_string(),
            u8::from(terms.priority).to_string(),
            cell(terms.bandwidth.up.map(Rate).as_ref()),
            cell(terms.bandwidth.down.map(Rate).as_ref()),
            cell(terms.quota.as_ref()),
            terms.encryption.to_string(),
            terms.anchor.to_string(),
            spelling::show_bonding(terms.bonding).to_owned(),
        ]);
    }
    table.to_string()
}

/// A class of service in lines.
pub(super) fn show(class: &ClassOfService) -> String {
    let terms = &class.terms;
    let or = |text: String, none: &str| if text.is_empty() { none.to_owned() } else { text };
    let rate = |bits: Option<u32>| {
        or(bits.map(|b| format!("{}bit/s", Rate(b).show())).unwrap_or_default(), "unlimited")
    };
    fields(&[
        ("name", class.name.to_string()),
        ("id", class.id.to_string()),
        ("coverage", class.coverage.to_string()),
        ("priority", u8::from(terms.priority).to_string()),
        ("bandwidth up", rate(terms.bandwidth.up)),
        ("bandwidth down", rate(terms.bandwidth.down)),
        ("quota", or(cell(terms.quota.as_ref()), "unlimited")),
        ("encryption", terms.encryption.to_string()),
        ("anchor", terms.anchor.to_string()),
        ("bonding", spelling::show_bonding(terms.bonding).to_owned()),
        (
            "hand-off threshold",
            or(terms.handoff_threshold.map(|t| t.to_string()).unwrap_or_default(), "the gateway's"),
        ),
        ("session timeout", or(cell(terms.session_timeout.as_ref()), "unlimited")),
        ("idle timeout", or(cell(terms.idle_timeout.as_ref()), "the gateway's")),
        ("vlan", or(cell(terms.vlan.as_ref()), "the NAS's")),
        ("sessions kept", or(cell(class.retention.as_ref()), "the core's keep_sessions")),
    ])
}
