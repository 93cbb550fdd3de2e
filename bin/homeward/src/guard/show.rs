//! What a running guard answers, as text.

use homeward_handoff::evidence::Checked;
use homeward_model::Name;
use serde_json::Value;

use crate::answer::{list, printable, text};
use crate::output::{Table, fields};

pub(super) fn status(status: &Value) -> String {
    fields(&[
        ("server", text(&status["server"])),
        ("key", text(&status["key"])),
        ("sessions followed", text(&status["sessions"])),
        ("flows admitted", text(&status["flows"])),
    ])
}

/// What a check of a trace came to.
pub(super) fn checked(sessions: &[Checked]) -> String {
    let mut said = String::new();
    for session in sessions {
        let names: Vec<&str> = session.networks.iter().map(Name::as_str).collect();
        let whole = match &session.fault {
            None => "signed by the device and by each network".to_owned(),
            Some(fault) => format!("NOT WHOLE: {fault}"),
        };
        said.push_str(&format!("session {}: {whole}\n", session.session));
        said.push_str(&format!("  went through {}\n", printable(&names.join(", "))));
        for name in &session.revoked {
            said.push_str(&format!("  {name} is revoked now\n"));
        }
        for hop in &session.broken {
            said.push_str(&format!("  hop {hop} was made without the key of the one before\n"));
        }
    }
    if said.is_empty() { "there is no session in it\n".to_owned() } else { said }
}

/// Each session, its hops as a table: what a hop is worth is its last columns.
pub(super) fn trace(answer: &Value) -> String {
    let mut said = String::new();
    for session in list(&answer["sessions"]) {
        said.push_str(&format!("session {}\n", text(&session["session"])));
        let mut table =
            Table::new(["hop", "network", "from", "since", "key before", "signed", "module"]);
        let made = list(&session["hops"]).iter().map(|hop| (hop, false));
        let begun = list(&session["begun"]).iter().map(|hop| (hop, true));
        for (hop, begun) in made.chain(begun) {
            let before = match (hop["broken"].as_bool(), hop["previous"].is_null()) {
                (Some(true), _) => "missing",
                (_, true) => "",
                _ => "integrated",
            };
            let number = text(&hop["hop"]);
            table.row([
                if begun { format!("{number} (begun)") } else { number },
                text(&hop["network"]),
                text(&hop["previous"]),
                text(&hop["at"]),
                before.to_owned(),
                if hop["signed"] == true { "by both" } else { "NO" }.to_owned(),
                text(&hop["standing"]),
            ]);
        }
        said.push_str(&table.to_string());
        for flow in list(&session["flows"]) {
            let (name, until) = (text(&flow["flow"]), text(&flow["until"]));
            said.push_str(&format!("admitted: {name}, until {until}\n"));
        }
        said.push('\n');
    }
    if said.is_empty() { "no session is followed\n".to_owned() } else { said }
}
