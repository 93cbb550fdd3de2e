//! Runs the program that wants to know what happens, one event at a time and in order.

use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::mpsc;

/// A program that takes longer is ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// What waits for it; beyond that, events are dropped.
const QUEUE: usize = 64;

/// Tells the program.
#[derive(Debug, Clone)]
pub(crate) struct Hook(Option<mpsc::Sender<Vec<(String, String)>>>);

impl Hook {
    /// One that runs `command` (a program and its arguments) in a task of its own; none where it
    /// is empty.
    pub(crate) fn start(command: Vec<String>) -> Self {
        let Some((program, arguments)) = command.split_first() else { return Self(None) };
        let (program, arguments) = (program.clone(), arguments.to_vec());
        let (out, mut waiting) = mpsc::channel::<Vec<(String, String)>>(QUEUE);
        tokio::spawn(async move {
            while let Some(facts) = waiting.recv().await {
                let mut command = Command::new(&program);
                command.args(&arguments).envs(facts).stdin(Stdio::null()).kill_on_drop(true);
                match tokio::time::timeout(PATIENCE, command.status()).await {
                    Ok(Ok(status)) if status.success() => {}
                    Ok(Ok(status)) => tracing::warn!(program, %status, "the hook failed"),
                    Ok(Err(error)) => tracing::warn!(program, %error, "the hook cannot be run"),
                    Err(_) => tracing::warn!(program, "the hook took too long and was ended"),
                }
            }
        });
        Self(Some(out))
    }

    /// Tells it what happened: a map, as JSON has it, with the `notice` in it.
    pub(crate) fn tell(&self, notice: &impl Serialize) {
        let Some(out) = &self.0 else { return };
        if out.try_send(facts(notice)).is_err() {
            tracing::warn!("the hook is behind; it is not told of everything");
        }
    }
}

/// What the program finds in its environment.
fn facts(notice: &impl Serialize) -> Vec<(String, String)> {
    let Ok(Value::Object(facts)) = serde_json::to_value(notice) else { return Vec::new() };
    let facts = facts.into_iter().filter(|(_, value)| !value.is_null());
    facts
        .map(|(name, value)| {
            let text = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            // The kernel takes no zero in there.
            (format!("HOMEWARD_{}", name.to_uppercase()), text.replace('\0', "\u{fffd}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_offload::manager::Notice;

    #[test]
    fn a_notice_is_spelled_out_in_the_environment() {
        let notice = Notice::Offloaded { ssid: "Town".parse().unwrap(), metered: true };
        let mut facts = facts(&notice);
        facts.sort();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            facts,
            [
                pair("HOMEWARD_METERED", "true"),
                pair("HOMEWARD_NOTICE", "offloaded"),
                pair("HOMEWARD_SSID", "Town"),
            ]
        );
    }

    #[tokio::test]
    async fn the_program_is_run_with_the_facts_for_each_event_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!("echo \"$HOMEWARD_NOTICE $HOMEWARD_SSID\" >> {}", out.display());
        let hook = Hook::start(vec!["/bin/sh".to_owned(), "-c".to_owned(), script]);
        for name in ["One", "Two"] {
            hook.tell(&Notice::Joining { ssid: name.parse().unwrap() });
        }
        let there = async {
            loop {
                let said = tokio::fs::read_to_string(&out).await.unwrap_or_default();
                if said.lines().count() == 2 {
                    break said;
                }
                tokio::task::yield_now().await;
            }
        };
        let said = tokio::time::timeout(Duration::from_secs(20), there).await.unwrap();
        assert_eq!(said, "joining One\njoining Two\n");
    }
}
