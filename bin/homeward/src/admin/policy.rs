//! `homeward admin policy`: what devices are told of the operator's Wi-Fi.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use homeward_daemon::config::{self, Invalid};
use homeward_daemon::{Exit, ExitContext};
use homeward_model::{CredentialTerms, Mac, Name, OffloadPolicy, PolicyScope, Seconds, WlanPolicy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::spelling::Spelled;
use super::{Context, find, spelling};
use crate::output::Table;

/// Larger files are refused: no policy is.
const MAX_FILE: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin policy set --default policy.toml
  homeward admin policy show --default > policy.toml
  homeward admin policy set --class gold gold.toml
  homeward admin policy clear --mac 02:00:5e:10:00:02

A device's own policy counts before that of its account's class of service, and that before the
default: each is whole by itself.")]
pub(super) enum Verb {
    /// Set a policy from a TOML or JSON file, in place of the one there was
    #[command(after_long_help = "Examples:
  homeward admin policy set --default policy.toml
  homeward admin policy set --class gold - < gold.json

A file that says what it must, and one that says all:
  [wlan]                               [terms]
  server_name = \"aaa.example.net\"      lifetime = \"7d\"           # or \"none\"; at least 1m
  [[wlan.networks]]                    renewal_window = \"1d\"     # before the end of it
  ssid = \"Example\"                     one_time = false
                                       bind_mac = true
                                       [wlan]
                                       server_name = \"aaa.example.net\"
                                       eap = \"peap\"              # ttls-pap, ttls-mschapv2
                                       anonymous = \"anonymous@example.net\"
                                       ca = \"\"\"-----BEGIN CERTIFICATE-----...\"\"\"
                                       join = -67                # dBm
                                       leave = -77               # at least 3 below
                                       dwell = 3                 # seconds
                                       [[wlan.networks]]
                                       ssid = \"Example\"
                                       metered = false
                                       join = -70
                                       [[wlan.schedule]]
                                       days = [\"mon\", \"tue\"]
                                       from = \"08:00\"
                                       to = \"18:00\"")]
    Set(Set),
    /// Show a policy, as a file to set it from
    #[command(after_long_help = "Examples:
  homeward admin policy show --default
  homeward admin policy show --class gold --json
  homeward admin policy show --class gold --mac 02:00:5e:10:00:02

With --class and --mac: the one that counts for that device of an account of that class.")]
    Show(Shown),
    /// List policies
    #[command(after_long_help = "Example:
  homeward admin policy list")]
    List,
    /// Take a policy away: the next less specific one counts
    #[command(after_long_help = "Example:
  homeward admin policy clear --class gold")]
    Clear(Scope),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Scope {
    /// For whoever has no other
    #[arg(long)]
    default: bool,
    /// For accounts of this class of service
    #[arg(long, value_name = "NAME")]
    class: Option<Name>,
    /// For this device
    #[arg(long, value_name = "MAC")]
    mac: Option<Mac>,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    scope: Scope,
    /// The file; - is standard input
    file: PathBuf,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Shown {
    /// That for whoever has no other
    #[arg(long, conflicts_with_all = ["class", "mac"])]
    default: bool,
    /// That of this class of service
    #[arg(long, value_name = "NAME")]
    class: Option<Name>,
    /// That of this device
    #[arg(long, value_name = "MAC")]
    mac: Option<Mac>,
}

/// A policy as files have it: spans as people write them, `none` for no limit.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    terms: Terms,
    wlan: WlanPolicy,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Terms {
    lifetime: Span,
    one_time: bool,
    renewal_window: Span,
    bind_mac: bool,
}

impl Default for Terms {
    fn default() -> Self {
        CredentialTerms::default().into()
    }
}

impl From<CredentialTerms> for Terms {
    fn from(terms: CredentialTerms) -> Self {
        Self {
            lifetime: Span(terms.lifetime),
            one_time: terms.one_time,
            renewal_window: Span(Some(terms.renewal_window)),
            bind_mac: terms.bind_mac,
        }
    }
}

impl From<OffloadPolicy> for File {
    fn from(OffloadPolicy { terms, wlan }: OffloadPolicy) -> Self {
        Self { terms: terms.into(), wlan }
    }
}

impl From<&File> for OffloadPolicy {
    fn from(file: &File) -> Self {
        let terms = CredentialTerms {
            lifetime: file.terms.lifetime.0,
            one_time: file.terms.one_time,
            renewal_window: file.terms.renewal_window.0.unwrap_or(Seconds(0)),
            bind_mac: file.terms.bind_mac,
        };
        Self { terms, wlan: file.wlan.clone() }
    }
}

/// A span, or none: a text such as `7d`, or whole seconds.
#[derive(Debug, Clone, Copy)]
struct Span(Option<Seconds>);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0.map_or_else(|| "none".to_owned(), |span| span.show()))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a span such as \"7d\" or \"12h\", whole seconds, or \"none\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
                let span = text.parse::<spelling::OrNone<Seconds>>();
                span.map(|span| Span(span.0)).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Span, E> {
                let span = u32::try_from(seconds).map(Seconds);
                span.map(|span| Span(Some(span))).map_err(|_| {
                    E::custom(format_args!("{seconds} is no number of seconds up to {}", u32::MAX))
                })
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Span, E> {
                self.visit_i64(i64::try_from(seconds).unwrap_or(i64::MAX))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Span, E> {
                Ok(Span(None))
            }
        }
        d.deserialize_any(Visitor)
    }
}

/// A policy, for programs.
#[derive(Debug, Serialize)]
struct View {
    /// `default`, `class` or `mac`.
    scope: &'static str,
    class: Option<Name>,
    mac: Option<Mac>,
    policy: OffloadPolicy,
}

impl View {
    fn of(&self) -> String {
        match (&self.class, self.mac) {
            (Some(class), _) => format!("class {class}"),
            (_, Some(mac)) => format!("mac {}", mac.full()),
            _ => "default".to_owned(),
        }
    }
}

pub(super) async fn run(verb: Verb, cx: &mut Context<'_>) -> anyhow::Result<()> {
    match verb {
        Verb::Set(set) => {
            let policy = read(&set.file)?;
            let scope = scope(cx, &set.scope).await?;
            cx.store.set_policy(scope, &policy).await?;
            let view = view(cx, scope, policy).await?;
            cx.show(&view, || format!("set the policy of {}\n", view.of()))
        }
        Verb::Show(Shown { class: Some(class), mac: Some(mac), .. }) => {
            let class = find::class(cx.store, &class).await?;
            match cx.store.policy_for(class.id, mac).await? {
                Some((scope, policy)) => show(cx, scope, policy).await,
                None => none("that counts for it"),
            }
        }
        Verb::Show(Shown { default, class, mac }) => {
            let given = Scope { default, class, mac };
            let scope = scope(cx, &given).await?;
            match cx.store.policy(scope).await? {
                Some(policy) => show(cx, scope, policy).await,
                None => none("of its own"),
            }
        }
        Verb::List => {
            let mut views = Vec::new();
            for (scope, policy) in cx.store.policies().await? {
                views.push(view(cx, scope, policy).await?);
            }
            cx.show(&views, || table(&views))
        }
        Verb::Clear(given) => {
            let scope = scope(cx, &given).await?;
            let Some(policy) = cx.store.policy(scope).await? else { return none("of its own") };
            cx.store.clear_policy(scope).await?;
            let view = view(cx, scope, policy).await?;
            cx.show(&view, || format!("cleared the policy of {}\n", view.of()))
        }
    }
}

fn none<T>(which: &str) -> anyhow::Result<T> {
    find::missing_what("policy", &format!("there is no policy {which}"))
}

async fn scope(cx: &Context<'_>, given: &Scope) -> anyhow::Result<PolicyScope> {
    Ok(match (&given.class, given.mac) {
        (Some(name), _) => PolicyScope::Class(find::class(cx.store, name).await?.id),
        (None, Some(mac)) => PolicyScope::Mac(mac),
        (None, None) => PolicyScope::Default,
    })
}

async fn view(cx: &Context<'_>, scope: PolicyScope, policy: OffloadPolicy) -> anyhow::Result<View> {
    Ok(match scope {
        PolicyScope::Default => View { scope: "default", class: None, mac: None, policy },
        PolicyScope::Mac(mac) => View { scope: "mac", class: None, mac: Some(mac), policy },
        PolicyScope::Class(id) => {
            let class = cx.store.class(id).await?.map(|class| class.name);
            View { scope: "class", class, mac: None, policy }
        }
    })
}

async fn show(cx: &Context<'_>, scope: PolicyScope, policy: OffloadPolicy) -> anyhow::Result<()> {
    let view = view(cx, scope, policy).await?;
    let text = toml::to_string(&File::from(view.policy.clone()))?;
    cx.show(&view, || format!("# {}\n{text}", view.of()))
}

fn table(views: &[View]) -> String {
    let mut table =
        Table::new(["of", "networks", "eap", "lifetime", "one time", "bound", "join", "leave"]);
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    for view in views {
        let OffloadPolicy { terms, wlan } = &view.policy;
        let networks = wlan.networks.iter().map(|network| spelling::show_ssid(&network.ssid));
        table.row([
            view.of(),
            networks.collect::<Vec<_>>().join(", "),
            wlan.eap.to_string(),
            terms.lifetime.map_or_else(|| "none".to_owned(), |lifetime| lifetime.show()),
            yes(terms.one_time),
            yes(terms.bind_mac),
            wlan.join.0.to_string(),
            wlan.leave.0.to_string(),
        ]);
    }
    table.to_string()
}

/// Reads and checks a file. JSON begins with a brace; TOML never does.
fn read(path: &Path) -> anyhow::Result<OffloadPolicy> {
    let stdin = path == Path::new("-");
    let called = if stdin { Path::new("standard input") } else { path };
    let mut text = String::new();
    let got = if stdin {
        std::io::stdin().take(MAX_FILE + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
    };
    got.with_context(|| format!("cannot read {}", called.display())).exit(Exit::NoInput)?;
    if text.len() as u64 > MAX_FILE {
        let large = anyhow!("{} is larger than 1 MiB, and no policy", called.display());
        return Err(large).exit(Exit::Data);
    }
    let file = if text.trim_start().starts_with('{') {
        json(called, &text)
    } else {
        config::parse(called, &text, check).map_err(anyhow::Error::new)
    };
    file.map(|file| OffloadPolicy::from(&file)).exit(Exit::Data)
}

fn json(path: &Path, text: &str) -> anyhow::Result<File> {
    let file: File =
        serde_json::from_str(text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    check(&file).map_err(|wrong| anyhow!("{}: {wrong}", path.display()))?;
    Ok(file)
}

fn check(file: &File) -> Result<(), Invalid> {
    if file.terms.renewal_window.0.is_none() {
        return Err(Invalid::new("terms.renewal_window", "give a span, such as \"1d\" or \"0s\""));
    }
    let checked = OffloadPolicy::from(file).check();
    checked.map_err(|wrong| Invalid::new(wrong.setting, wrong.what))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        "[wlan]\nserver_name = \"aaa.example.net\"\n[[wlan.networks]]\nssid = \"a\"\n";

    fn parse(text: &str) -> Result<OffloadPolicy, String> {
        let file = config::parse(Path::new("p.toml"), text, check);
        file.map(|file| OffloadPolicy::from(&file)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_policy_that_is_shown_can_be_set_again() {
        for change in [
            "",
            "[terms]\nlifetime = \"none\"\n",
            "[terms]\nlifetime = 3600\nrenewal_window = 60\none_time = true\nbind_mac = false\n",
            "[[wlan.schedule]]\ndays = [\"mon\"]\nfrom = \"22:00\"\nto = \"06:00\"\n",
        ] {
            let policy = parse(&format!("{PLAIN}{change}")).unwrap();
            let shown = toml::to_string(&File::from(policy.clone())).unwrap();
            assert_eq!(parse(&shown), Ok(policy), "{shown}");
        }
        let policy = parse(PLAIN).unwrap();
        assert_eq!(policy.terms, CredentialTerms::default());
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_setting() {
        for (text, line, error) in [
            ("[terms]\nlifetime = \"5s\"\n", 6, "terms.lifetime: 5 s: give 60 or more, or none"),
            ("[terms]\nlifetime = \"often\"\n", 6, "terms.lifetime: "),
            ("[terms]\nlifetime = -5\n", 6, "terms.lifetime: -5 is no number of seconds"),
            (
                "[terms]\nrenewal_window = \"none\"\n",
                6,
                "terms.renewal_window: give a span, such as \"1d\" or \"0s\"",
            ),
            ("[term]\n", 5, "term: unknown field `term`"),
        ] {
            let told = parse(&format!("{PLAIN}{text}")).unwrap_err();
            assert!(told.starts_with(&format!("p.toml:{line}:")) && told.contains(error), "{told}");
        }
    }
}
