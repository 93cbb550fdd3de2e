//! A gateway's way into the control channel: enrolment, revocation, and how it stands.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use homeward_channel::Token;
use homeward_daemon::{Exit, ExitContext, Period, SystemClock, private};
use homeward_model::{Clock, Name, Status, UnixTime};
use homeward_store::GatewayAccess;
use serde::Serialize;

use crate::admin::names::GatewayView;
use crate::admin::{Context, find};

#[derive(Debug, Args)]
pub(in crate::admin) struct Enrol {
    /// The gateway's name
    name: Name,
    /// How long the token is good
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = valid)]
    valid: Period,
    /// Write the token to this file (mode 0600), instead of showing it
    #[arg(long, value_name = "FILE")]
    token_out: Option<PathBuf>,
}

/// How a gateway stands with the control channel.
#[derive(Debug, Clone, Serialize)]
pub(in crate::admin) struct ChannelView {
    /// `none`, `token`, `token-expired`, `enrolled`, `expired`, `revoked`.
    state: &'static str,
    /// When the certificate was given out.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued: Option<String>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
    /// When it first opened a channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_used: Option<String>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
    /// When the token that is still to be used runs out.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_expires: Option<String>,
}

/// A gateway and how it stands.
#[derive(Debug, Clone, Serialize)]
pub(in crate::admin) struct WithChannel {
    #[serde(flatten)]
    pub(in crate::admin) gateway: GatewayView,
    pub(in crate::admin) channel: ChannelView,
}

impl ChannelView {
    pub(in crate::admin) fn new(access: &GatewayAccess, now: UnixTime) -> Self {
        let time = |time: UnixTime| Some(time.to_string());
        let token = access.token.filter(|(_, used)| used.is_none()).map(|(expires, _)| expires);
        let mut view = Self {
            state: match token {
                Some(expires) if expires > now => "token",
                Some(_) => "token-expired",
                None => "none",
            },
            issued: None,
            not_after: None,
            first_used: None,
            revoked: None,
            token_expires: token.filter(|expires| *expires > now).and_then(time),
        };
        let Some(credential) = access.current() else { return view };
        view.issued = time(credential.issued);
        view.not_after = time(credential.not_after);
        view.first_used = credential.used.and_then(time);
        view.revoked = credential.ended.and_then(|(at, _)| time(at));
        view.state = match credential.ended {
            Some(_) => "revoked",
            None if credential.not_after <= now => "expired",
            None => "enrolled",
        };
        view
    }

    /// In a few words, for a table.
    pub(in crate::admin) fn brief(&self) -> String {
        let until = |time: &Option<String>| match time {
            Some(time) => format!("{} until {time}", self.state),
            None => self.state.to_owned(),
        };
        match self.state {
            "none" => String::new(),
            "token" => until(&self.token_expires),
            "enrolled" => until(&self.not_after),
            other => other.to_owned(),
        }
    }

    /// In lines.
    pub(in crate::admin) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("control channel", self.state.replace('-', " "))];
        for (name, value) in [
            ("certificate issued", &self.issued),
            ("certificate ends", &self.not_after),
            ("first used", &self.first_used),
            ("revoked", &self.revoked),
            ("token good until", &self.token_expires),
        ] {
            lines.extend(value.clone().map(|value| (name, value)));
        }
        lines
    }
}

/// A span that a token may be good for.
fn valid(text: &str) -> Result<Period, String> {
    let period: Period = text.parse().map_err(|e: homeward_daemon::UnitError| e.to_string())?;
    let minutes = period.0.as_secs() / 60;
    if (1..=365 * 24 * 60).contains(&minutes) {
        Ok(period)
    } else {
        Err(format!("{text} is too short or too long: use 1m to 365d"))
    }
}

/// A token that was just made, shown this once.
#[derive(Serialize)]
struct Shown<'a> {
    gateway: &'a Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<&'a Path>,
    expires: String,
    pin: String,
}

pub(in crate::admin) async fn enrol(enrol: Enrol, cx: &mut Context<'_>) -> anyhow::Result<()> {
    let gateway = find::gateway(cx.store, &enrol.name).await?;
    let name = &gateway.name;
    if gateway.status == Status::Suspended {
        return Err(anyhow!(
            "gateway {name} is suspended and could not enrol; `homeward admin gateway resume {name}` lifts it"
        ));
    }
    let authority = homeward_controller::authority::load_or_found(cx.store).await?;
    let token = Token::generate(authority.pin(), &mut cx.entropy);
    let life = i64::try_from(enrol.valid.0.as_millis()).unwrap_or(i64::MAX);
    let expires = UnixTime(SystemClock.unix().0.saturating_add(life));
    cx.store.put_token(gateway.id, token.hash().0, expires).await?;
    let text = token.expose();
    if let Some(path) = &enrol.token_out {
        private::write(path, format!("{}\n", text.as_str()).as_bytes())
            .context("the token is lost; run the command again")
            .exit(Exit::CannotCreate)?;
    }
    let file = enrol.token_out.as_deref();
    let (device, option) = (
        gateway.device_of.is_some(),
        if file.is_some() { "--token-file FILE" } else { "--token TOKEN" },
    );
    // A hybrid device is no gateway to run: its own agent takes the token.
    let next = match device {
        true => "hand it to the device, which enrols with it at port 4719 of the core".to_owned(),
        false => format!("on the gateway: homeward gateway enrol --core HOST:4719 {option}"),
    };
    let shown = Shown {
        gateway: name,
        token: Some(text.as_str()).filter(|_| file.is_none()),
        token_file: file,
        expires: expires.to_string(),
        pin: authority.pin().to_string(),
    };
    cx.show(&shown, || match file {
        Some(path) => format!(
            "enrolment token of gateway {name} written to {}; it is good once, until {expires}\n{next}\n",
            path.display()
        ),
        None => format!(
            "enrolment token of gateway {name}, shown this once; it is good once, until {expires}:\n\
             {}\n{next}\n",
            text.as_str()
        ),
    })
}

pub(in crate::admin) async fn revoke(name: &Name, cx: &Context<'_>) -> anyhow::Result<()> {
    let gateway = find::gateway(cx.store, name).await?;
    let ended = cx.store.revoke_access(gateway.id).await?;
    let told = serde_json::json!({ "gateway": gateway.name, "revoked": ended });
    cx.show(&told, || match ended {
        0 => format!("gateway {name} had no certificate that was still good\n"),
        _ => format!("revoked gateway {name}: its certificate is refused from now on\n"),
    })
}
