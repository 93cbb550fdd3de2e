//! FreeRADIUS as who is told: it drops what is not authentic, and writes down what it reads.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_net::wait::wait_for;
use homeward_net::{Namespace, Process};

pub(crate) struct FreeRadius {
    detail: PathBuf,
    _process: Process,
}

impl FreeRadius {
    /// Listens for accounting on port 1813 of an address of the namespace.
    pub(crate) async fn start(
        folder: &Path,
        namespace: &Namespace,
        address: Ipv4Addr,
        secret: &str,
    ) -> Result<Self> {
        let folder = folder.join("freeradius");
        fs::create_dir_all(&folder)?;
        let (here, detail) = (folder.display(), folder.join("detail"));
        let config = format!(
            "prefix = /usr\nlogdir = {here}\nrun_dir = {here}\nname = freeradius\n\
             libdir = /usr/lib/freeradius\npidfile = {here}/pid\nmax_requests = 1024\n\
             hostname_lookups = no\nlog {{\n destination = stdout\n}}\n\
             security {{\n max_attributes = 200\n reject_delay = 0\n status_server = no\n}}\n\
             thread pool {{\n start_servers = 1\n max_servers = 1\n min_spare_servers = 1\n \
             max_spare_servers = 1\n max_requests_per_server = 0\n}}\n\
             client gateway {{\n ipaddr = 0.0.0.0/0\n secret = \"{secret}\"\n}}\n\
             modules {{\n detail {{\n  filename = {}\n  permissions = 0600\n }}\n}}\n\
             server default {{\n listen {{\n  type = acct\n  ipaddr = {address}\n  port = 1813\n \
             }}\n accounting {{\n  detail\n }}\n}}\n",
            detail.display()
        );
        fs::write(folder.join("radiusd.conf"), config)?;
        fs::write(folder.join("dictionary"), "$INCLUDE /usr/share/freeradius/dictionary\n")?;
        let at = folder.to_str().context("the folder is no text")?;
        let command = ["freeradius", "-f", "-l", "stdout", "-d", at];
        let mut process = Process::start(&folder, "freeradius", namespace, &command)?;
        process.says("Ready to process requests", Duration::from_secs(20)).await?;
        Ok(Self { detail, _process: process })
    }

    /// The reports so far, once there are as many: attributes by name.
    pub(crate) async fn reports(
        &self,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<BTreeMap<String, String>>> {
        wait_for(&format!("{count} reports"), limit, async || {
            let text = fs::read_to_string(&self.detail).unwrap_or_default();
            let all = read(&text);
            Ok((all.len() >= count).then_some(all))
        })
        .await
    }
}

/// A detail file: a date, lines with a tab before them, an empty line.
fn read(text: &str) -> Vec<BTreeMap<String, String>> {
    let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    whole
        .split("\n\n")
        .map(|report| {
            report
                .lines()
                .filter_map(|line| line.strip_prefix('\t')?.split_once(" = "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect::<BTreeMap<_, _>>()
        })
        .filter(|report| !report.is_empty())
        .collect()
}
