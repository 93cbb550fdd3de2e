//! What the status socket is asked.

use homeward_daemon::config::ConfigError;
use homeward_daemon::{ControlError, Request, SystemClock};
use homeward_model::Clock;
use homeward_offload::manager::Switches;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{COMMANDS, Device, check};
use crate::config::Config;
use crate::handoff::{Handoff, asked};
use crate::home;
use crate::hook::Hook;
use crate::portal::Portal;
use crate::reload;

impl Device {
    /// Answers who asks; they may have gone.
    pub(super) fn asked(
        &mut self,
        request: &Request,
        answer: oneshot::Sender<Result<Value, ControlError>>,
    ) {
        if let Some(answering) = home::asked(self.home.as_ref(), request, || self.status()) {
            tokio::spawn(async move { answer.send(answering.await) });
            return;
        }
        match asked::asked(self.handoff.as_ref(), request) {
            Some(Ok(answering)) => {
                tokio::spawn(async move { answer.send(answering.await) });
            }
            Some(Err(error)) => drop(answer.send(Err(error))),
            None => drop(answer.send(self.answer(request))),
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Value, ControlError> {
        match request.command.as_str() {
            "status" => self.status().map_err(ControlError::failed),
            "why" => {
                let mut why =
                    serde_json::to_value(self.machine.why()).map_err(ControlError::failed)?;
                if let Some(fields) = why.as_object_mut() {
                    fields.insert("at_home".to_owned(), self.at_home.into());
                }
                Ok(why)
            }
            "reload" => {
                let reloaded = self.reload().map_err(ControlError::failed)?;
                serde_json::to_value(reloaded).map_err(ControlError::failed)
            }
            "enrol" => {
                let keys = asked::anew(self.handoff.as_ref())?;
                self.machine.handle_keys(keys, SystemClock.now());
                Ok(json!({ "asks": true }))
            }
            "metrics" => Ok(Value::String(self.metrics.text())),
            "switch" => {
                let wanted: Wanted = request.parse()?;
                let before = self.machine.switches();
                let switches = Switches {
                    offload: wanted.offload.unwrap_or(before.offload),
                    metered: wanted.metered.unwrap_or(before.metered),
                };
                self.vault.keep_switches(switches).map_err(ControlError::failed)?;
                self.machine.handle_setting(switches, SystemClock.now());
                serde_json::to_value(switches).map_err(ControlError::failed)
            }
            other => Err(ControlError::unknown(other, &COMMANDS)),
        }
    }

    /// Takes what may change while a network is used. What takes effect with a restart only is
    /// said, and what could not be done.
    ///
    /// # Errors
    ///
    /// The file is wrong; all is as it was.
    pub(super) fn reload(&mut self) -> Result<Reloaded, ConfigError> {
        let new = Config::load(&self.path).inspect_err(|error| {
            tracing::error!(%error, "configuration not reloaded; the old one stays in force");
        })?;
        let restart = reload::needs_restart(&self.config, &new);
        let mut next = reload::applicable(&self.config, &new);
        let mut failed = Vec::new();
        let date = self.portal.date();
        match Portal::new(&next.portal, Some(date)) {
            Ok(portal) => self.portal = portal,
            Err(error) => {
                failed.push(format!("{error:#}"));
                next.portal = self.config.portal.clone();
            }
        }
        match check(&next.check) {
            Ok(check) => self.check = check,
            Err(error) => {
                failed.push(format!("{error:#}"));
                next.check = self.config.check.clone();
            }
        }
        if next.notify.command != self.config.notify.command {
            self.hook = Hook::start(next.notify.command.clone());
        }
        self.config = next;
        for error in &failed {
            tracing::error!(error, "a setting could not take effect");
        }
        if !restart.is_empty() {
            let keys = restart.join(", ");
            tracing::warn!(keys, "these settings have changed and take effect with a restart only");
        }
        tracing::info!("configuration reloaded");
        Ok(Reloaded { restart, failed })
    }

    fn status(&self) -> serde_json::Result<Value> {
        let uptime = SystemClock.now().since(self.started).as_millis();
        let cellular = self.cellular.as_ref();
        Ok(json!({
            "role": "device",
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_ms": u64::try_from(uptime).unwrap_or(u64::MAX),
            "portal": self.config.portal.url,
            "portal_number": self.config.portal.sms.number,
            "wifi": {
                "interface": self.config.wlan.interface,
                "by": self.by,
                "addresses": self.wifi.addresses,
            },
            "cellular": cellular.map(|line| {
                json!({ "interface": line.interface, "addresses": line.addresses })
            }),
            "steers": self.steering.is_some(),
            "handoff": self.handoff.as_ref().map(Handoff::status),
            "handoff_keys": self.handoff.as_ref().map(Handoff::keys_status),
            "machine": serde_json::to_value(self.machine.status())?,
        }))
    }
}

/// What became of a reload, besides what took effect.
#[derive(Debug, Serialize)]
pub(super) struct Reloaded {
    /// The keys that differ from what is in force, and take effect with a restart only.
    restart: Vec<&'static str>,
    /// What could not be done, and why.
    failed: Vec<String>,
}

/// What a user switches; what is not said stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    offload: Option<bool>,
    metered: Option<bool>,
}
