//! Questions to a role that runs, over its status socket.

use std::path::{Path, PathBuf};

use clap::Args;
use homeward_daemon::Request;
use serde_json::Value;

use crate::{output, role};

/// A role that can be asked.
pub(crate) struct Asked {
    /// What it is called.
    pub(crate) role: &'static str,
    /// The socket that a configuration file of its names.
    pub(crate) socket: fn(&Path) -> anyhow::Result<PathBuf>,
}

/// Where it is asked.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// Its status socket [default: as its configuration says]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl At {
    pub(crate) fn path(self, asked: &Asked, config: Option<&Path>) -> anyhow::Result<PathBuf> {
        role::socket(asked.role, self.socket, config, asked.socket)
    }
}

/// Where, and in which form the answer is printed.
#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

impl Ask {
    /// Asks, and prints the answer: as JSON, or as `text` has it.
    pub(crate) fn show(
        self,
        asked: &Asked,
        config: Option<&Path>,
        request: Request,
        text: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<()> {
        let answer = role::ask(&self.at.path(asked, config)?, &request)?;
        if self.json { output::json(&answer) } else { output::text(&text(&answer)) }
    }
}
