//! What a mobile network knows of its subscribers beside their bearers.
//!
//! A GGSN is told number and equipment in the Create PDP Context Request; this one does not show
//! them. So the lab writes down what it has the emulator say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use homeward_model::{Imei, Imsi, Msisdn};
use serde::{Deserialize, Serialize};

/// Number and equipment of a SIM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its telephone number.
    pub msisdn: Option<Msisdn>,
    /// The device that it is in.
    pub imei: Option<Imei>,
}

/// The SIMs by IMSI, as a JSON file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Register(BTreeMap<Imsi, Entry>);

impl Register {
    /// What is known of a SIM.
    pub fn get(&self, imsi: &Imsi) -> Option<&Entry> {
        self.0.get(imsi)
    }

    /// Notes a SIM, in the place of what was known of it.
    pub fn insert(&mut self, imsi: Imsi, entry: Entry) {
        self.0.insert(imsi, entry);
    }

    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read, or is no register.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no register", path.display()))
    }

    /// Writes the file, so that who reads it meanwhile sees the one before or this one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let aside = path.with_extension("new");
        fs::write(&aside, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&aside, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
