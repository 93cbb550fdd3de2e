//! `homeward admin login`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use homeward_aaa::password;
use homeward_model::{
    Clock, Login, LoginId, Mac, Nai, Name, Seconds, Secret, Status, UnixTime, Uses, Verifier,
};
use homeward_store::{Entity, LoginChange, LoginFilter, NewLogin, VerifierKind};
use serde::Serialize;

use super::names::Names;
use super::spelling::OrNone;
use super::{Context, all, cannot_delete, find, secret, something, spelling};
use crate::output::{Table, fields};

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples:
  homeward admin login create phone-7@example.net --account smith --label phone
  homeward admin login suspend phone-7@example.net")]
pub(super) enum Verb {
    /// Create a log-in: a name and a password for 802.1X, WISPr and PAP
    #[command(after_long_help = "Examples:
  homeward admin login create phone-7@example.net --account smith
  homeward admin login create phone-7@example.net --account smith --mac 02:00:5e:10:00:02 \\
      --expires-in 30d
  homeward admin login create guest-12@example.net --account smith --once --expires-in 1d
  homeward admin login create fred@example.net --account smith --password-file fred.txt

Without a file a password is made, and shown this once; it is good for PEAP, TTLS and PAP. One from
a file counts as a person's: it is kept as an Argon2id hash, which PAP alone can be held against
(by itself, or inside TTLS).")]
    Create(Create),
    /// List log-ins
    #[command(after_long_help = "Examples:
  homeward admin login list --account smith
  homeward admin login list --mac 02:00:5e:10:00:02 --json")]
    List(List),
    /// Show a log-in, without its password
    #[command(after_long_help = "Example:
  homeward admin login show phone-7@example.net")]
    Show(Which),
    /// Change a log-in; what is not named stays
    #[command(after_long_help = "Examples:
  homeward admin login set phone-7@example.net --label 'old phone'
  homeward admin login set phone-7@example.net --mac none --expires-in 90d")]
    Set(Set),
    /// Give a log-in a new password; the old one no longer gets in
    #[command(after_long_help = "Examples:
  homeward admin login repassword phone-7@example.net
  homeward admin login repassword fred@example.net --password-file fred.txt")]
    Repassword(Repassword),
    /// Suspend a log-in: nobody gets in with it, and who is in is disconnected
    #[command(after_long_help = "Example:
  homeward admin login suspend phone-7@example.net")]
    Suspend(Which),
    /// End a log-in's suspension
    #[command(after_long_help = "Example:
  homeward admin login resume phone-7@example.net")]
    Resume(Which),
    /// Delete a log-in
    #[command(after_long_help = "Example:
  homeward admin login delete phone-7@example.net")]
    Delete(Which),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name: user@realm, or user
    name: Nai,
    /// Who pays
    #[arg(long, value_name = "NAME")]
    account: Name,
    /// The one station that may use it [default: any]
    #[arg(long)]
    mac: Option<Mac>,
    /// How long it is good for, such as 30d [default: for life]
    #[arg(long, value_name = "SPAN|none", default_value = "none", hide_default_value = true)]
    expires_in: OrNone<Seconds>,
    /// One log-on spends it: who is in stays, nobody comes in by it again
    #[arg(long)]
    once: bool,
    /// What it is called
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
    #[command(flatten)]
    password: PasswordArgs,
}

#[derive(Debug, Args)]
struct PasswordArgs {
    /// A file with its password, which a person chose, for your eyes only [default: one is made]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Keep the made password itself, sealed, so that CHAP can be held against it
    #[arg(long, conflicts_with = "password_file")]
    chap: bool,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Those of this account
    #[arg(long, value_name = "NAME")]
    account: Option<Name>,
    /// Those that only this station may use
    #[arg(long)]
    mac: Option<Mac>,
    /// Those active or suspended
    #[arg(long)]
    status: Option<Status>,
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Its name
    name: Nai,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    which: Which,
    /// The one station that may use it, or none
    #[arg(long, value_name = "MAC|none")]
    mac: Option<OrNone<Mac>>,
    /// How long from now it is good for, or none: for life
    #[arg(long, value_name = "SPAN|none")]
    expires_in: Option<OrNone<Seconds>>,
    /// What it is called
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Repassword {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    password: PasswordArgs,
}

/// A log-in, without its password.
#[derive(Serialize)]
struct View {
    id: LoginId,
    name: Nai,
    account: Name,
    /// What its password is kept as.
    password: VerifierKind,
    mac: Option<Mac>,
    expires: Option<String>,
    uses: Uses,
    label: String,
    status: Status,
}

/// A log-in with the password that was just made for it, shown this once.
#[derive(Serialize)]
struct WithPassword {
    #[serde(flatten)]
    login: View,
    #[serde(skip_serializing_if = "Option::is_none", rename = "made_password")]
    made: Option<String>,
}

pub(super) async fn run(verb: Verb, cx: &mut Context<'_>) -> anyhow::Result<()> {
    match verb {
        Verb::Create(new) => {
            let account = find::account(cx.store, &new.account).await?.id;
            let (verifier, made) = verifier(cx, &new.password)?;
            let uses = if new.once { Uses::Once } else { Uses::Any };
            let Create { name, mac, label, .. } = new;
            let expires = new.expires_in.0.map(from_now);
            let status = Status::Active;
            let new = NewLogin { account, name, verifier, mac, expires, uses, label, status };
            let login = cx.store.create_login(&new).await?;
            done(cx, &login, "created", made).await
        }
        Verb::List(list) => {
            let account = match &list.account {
                Some(name) => Some(find::account(cx.store, name).await?.id),
                None => None,
            };
            let filter = LoginFilter { account, mac: list.mac, status: list.status };
            let mut names = Names::new(cx.store);
            let mut views = Vec::new();
            for login in all!(cx, logins(filter)) {
                views.push(view(&mut names, &login).await?);
            }
            cx.show(&views, || table(&views))
        }
        Verb::Show(which) => {
            let login = find::login(cx.store, &which.name).await?;
            let view = view(&mut Names::new(cx.store), &login).await?;
            cx.show(&view, || show(&view))
        }
        Verb::Set(set) => {
            let login = find::login(cx.store, &set.which.name).await?;
            let change = LoginChange {
                mac: set.mac.map(|mac| mac.0),
                expires: set.expires_in.map(|span| span.0.map(from_now)),
                label: set.label,
                ..LoginChange::default()
            };
            let login = cx.store.update_login(login.id, &something(change)?).await?;
            done(cx, &login, "changed", None).await
        }
        Verb::Repassword(new) => {
            let login = find::login(cx.store, &new.which.name).await?;
            let (verifier, made) = verifier(cx, &new.password)?;
            let change = LoginChange { verifier: Some(verifier), ..LoginChange::default() };
            let login = cx.store.update_login(login.id, &change).await?;
            done(cx, &login, "gave a new password to", made).await
        }
        Verb::Suspend(which) => status(cx, &which, Status::Suspended, "suspended").await,
        Verb::Resume(which) => status(cx, &which, Status::Active, "resumed").await,
        Verb::Delete(which) => {
            let login = find::login(cx.store, &which.name).await?;
            cx.store
                .delete_login(login.id)
                .await
                .with_context(|| cannot_delete(Entity::Login, which.name.as_str()))?;
            cx.deleted(Entity::Login, login.id.0, which.name.as_str())
        }
    }
}

/// What the password of a file is kept as, else of a new one, which comes along.
fn verifier(
    cx: &mut Context<'_>,
    args: &PasswordArgs,
) -> anyhow::Result<(Verifier, Option<String>)> {
    if let Some(path) = &args.password_file {
        let password = secret::read_password(path)?;
        return Ok((password::of_a_person(password.expose(), &mut cx.entropy)?, None));
    }
    let made = secret::generate(&mut cx.entropy);
    let verifier = match args.chap {
        true => Verifier::Password(Secret::new(made.clone())),
        false => password::machine_made(&made),
    };
    Ok((verifier, Some(made)))
}

fn from_now(span: Seconds) -> UnixTime {
    UnixTime(homeward_daemon::SystemClock.unix().0.saturating_add(i64::from(span.0) * 1000))
}

async fn status(cx: &Context<'_>, which: &Which, status: Status, word: &str) -> anyhow::Result<()> {
    let login = find::login(cx.store, &which.name).await?;
    let login = cx.store.update_login(login.id, &LoginChange::status(status)).await?;
    done(cx, &login, word, None).await
}

async fn done(
    cx: &Context<'_>,
    login: &Login,
    word: &str,
    made: Option<String>,
) -> anyhow::Result<()> {
    let login = view(&mut Names::new(cx.store), login).await?;
    let shown = WithPassword { login, made };
    cx.show(&shown, || {
        let mut text = format!("{word} log-in {}\n", shown.login.name.as_str());
        if let Some(password) = &shown.made {
            text.push_str(&format!("password, shown this once: {password}\n"));
        }
        text
    })
}

async fn view(names: &mut Names<'_>, login: &Login) -> anyhow::Result<View> {
    Ok(View {
        id: login.id,
        name: login.name.clone(),
        account: names.owner(login.account).await?,
        password: VerifierKind::of(&login.verifier),
        mac: login.mac,
        expires: login.expires.map(|expires| expires.to_string()),
        uses: login.uses,
        label: login.label.clone(),
        status: login.status,
    })
}

fn table(logins: &[View]) -> String {
    let mut table =
        Table::new(["login", "account", "password", "mac", "expires", "label", "status"]);
    for login in logins {
        table.row([
            spelling::plain(login.name.as_str()),
            login.account.to_string(),
            login.password.as_str().to_owned(),
            login.mac.map(|mac| mac.full().to_string()).unwrap_or_default(),
            login.expires.clone().unwrap_or_default(),
            spelling::plain(&login.label),
            login.status.to_string(),
        ]);
    }
    table.to_string()
}

fn show(login: &View) -> String {
    fields(&[
        ("login", spelling::plain(login.name.as_str())),
        ("account", login.account.to_string()),
        ("password", login.password.as_str().to_owned()),
        ("mac", login.mac.map_or_else(|| "any".to_owned(), |mac| mac.full().to_string())),
        ("expires", login.expires.clone().unwrap_or_else(|| "never".to_owned())),
        ("uses", login.uses.to_string()),
        ("label", spelling::plain(&login.label)),
        ("status", login.status.to_string()),
    ])
}
