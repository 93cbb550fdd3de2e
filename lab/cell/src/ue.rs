//! Devices, their SIMs, and the bearers they have.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_model::{Apn, Imei, Imsi, Msisdn};
use homeward_net::{Namespace, Process};
use nix::sys::signal::Signal;

/// How long a detach may take.
const DETACH: Duration = Duration::from_secs(10);

/// A SIM, with the telephone number that its network knows it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sim {
    /// Its IMSI. One that begins with a zero is mangled on its way by the emulator; 999-70 is a
    /// private network's (ITU-T E.212).
    pub imsi: Imsi,
    /// Its number.
    pub msisdn: Msisdn,
}

impl Sim {
    /// The SIM number `n` of the test network 999-70: IMSI 99970 and ten digits, the number
    /// 4477009 and five.
    ///
    /// # Errors
    /// Never.
    pub fn numbered(n: u32) -> Result<Self> {
        let n = n % 100_000;
        let (imsi, msisdn) = (format!("99970{n:010}"), format!("4477009{n:05}"));
        Ok(Self { imsi: imsi.parse()?, msisdn: msisdn.parse()? })
    }
}

/// A device with a modem: a namespace in which its bearer's interface appears. Clones are the same
/// device.
#[derive(Debug, Clone)]
pub struct Device {
    /// Its name, for logs.
    pub name: String,
    /// What its modem says of itself, software version included (16 digits, IMEISV).
    pub imei: Imei,
    /// Where its interfaces are.
    pub namespace: Namespace,
    /// The name of the bearer's interface there.
    pub interface: String,
    /// The metric of the default route through it. The default is what NetworkManager gives a
    /// modem, so that Wi-Fi (600) goes first.
    pub metric: u32,
}

impl Device {
    /// A device in a namespace of its own.
    ///
    /// # Errors
    /// If the kernel makes no namespace.
    pub fn create(name: &str, imei: Imei) -> Result<Self> {
        Ok(Self::in_namespace(name, imei, Namespace::create(name)?))
    }

    /// A device whose other interfaces are in that namespace already.
    pub fn in_namespace(name: &str, imei: Imei, namespace: Namespace) -> Self {
        Self { name: name.to_owned(), imei, namespace, interface: "wwan0".to_owned(), metric: 700 }
    }
}

/// A device that is attached: it has a bearer. Dropped, its SGSN dies as by [`Ue::kill`].
#[derive(Debug)]
pub struct Ue {
    pub(crate) device: Device,
    pub(crate) sim: Sim,
    pub(crate) apn: Apn,
    pub(crate) address: Ipv4Addr,
    pub(crate) sgsn: Ipv4Addr,
    pub(crate) emulator: Process,
}

impl Ue {
    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Where the device is.
    pub fn namespace(&self) -> &Namespace {
        &self.device.namespace
    }

    /// The SIM that is in it.
    pub fn sim(&self) -> Sim {
        self.sim
    }

    /// The access point that it attached to.
    pub fn apn(&self) -> &Apn {
        &self.apn
    }

    /// The name of the bearer's interface.
    pub fn interface(&self) -> &str {
        &self.device.interface
    }

    /// The address that the packet gateway gave it.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The address of its SGSN, on the side of the packet gateway.
    pub fn sgsn(&self) -> Ipv4Addr {
        self.sgsn
    }

    /// What its SGSN has said.
    pub fn log(&self) -> String {
        self.emulator.log()
    }

    /// Ends the bearer in good order: the GGSN has confirmed it when this returns, and the
    /// interface is gone.
    ///
    /// # Errors
    /// If the GGSN does not confirm it.
    pub async fn detach(mut self) -> Result<Device> {
        self.emulator.signal(Signal::SIGTERM)?;
        self.emulator
            .says("Received delete PDP context response. Cause value: 128", DETACH)
            .await
            .context("the GGSN does not confirm the detach")?;
        // It would wait for another 20 s before it ends.
        self.emulator.kill();
        Ok(self.device.clone())
    }

    /// The SGSN dies: the device loses its bearer, and the GGSN keeps a stale context until it
    /// finds out.
    pub fn kill(mut self) -> Device {
        self.emulator.kill();
        self.device.clone()
    }

    /// Gets a document by HTTP through the bearer, as curl does.
    ///
    /// # Errors
    /// What curl complains of.
    pub async fn curl(&self, arguments: &[&str]) -> Result<String> {
        let mut words = vec!["--silent".to_owned(), "--show-error".to_owned()];
        words.extend(arguments.iter().map(|word| (*word).to_owned()));
        self.namespace()
            .run(move || {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                homeward_net::tool::run_tool("curl", &words)
            })
            .await
    }
}

/// The address in what the emulator said, once it has one; an error once it was refused.
pub(crate) fn address_in(said: &str) -> Result<Option<Ipv4Addr>> {
    let after = |mark: &str| {
        let (_, rest) = said.split_once(mark)?;
        let (word, _) = rest.split_once('\n')?;
        Some(word.trim())
    };
    // 128 is "request accepted" (3GPP TS 29.060 7.7.1).
    let cause = after("create PDP context response. Cause value: ");
    ensure!(
        cause.is_none_or(|cause| cause == "128"),
        "the GGSN refuses the bearer with cause {} (3GPP TS 29.060 7.7.1)",
        cause.unwrap_or_default()
    );
    let Some(word) = after("received EUA with IP address: ") else { return Ok(None) };
    Ok(Some(word.parse().with_context(|| format!("{word:?} is no IPv4 address"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_sim_is_of_the_test_network() {
        let sim = Sim::numbered(7).unwrap();
        assert_eq!(sim.imsi.as_str(), "999700000000007");
        assert_eq!(sim.msisdn.as_str(), "447700900007");
    }

    #[test]
    fn the_address_is_read_once_the_whole_line_is_there() {
        let said = "Received create PDP context response.\n\
                    PDP ctx: received EUA with IP address: 10.60.0.2\nAdding IP";
        assert_eq!(address_in(said).unwrap(), Some(Ipv4Addr::new(10, 60, 0, 2)));
        for end in 0..=said.len() {
            let so_far = address_in(&said[..end]).unwrap();
            assert!(so_far.is_none() || so_far == Some(Ipv4Addr::new(10, 60, 0, 2)), "{end}");
        }
    }
}
