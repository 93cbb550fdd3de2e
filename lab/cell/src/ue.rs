//! Devices, their SIMs, and the bearers they have.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
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

impl Device {
    /// Has the interface of its bearer use an address, and routes `all` of that family through it.
    pub(crate) fn go_on_air(&self, address: &str, all: &str) -> Result<()> {
        let Self { interface, metric, .. } = self;
        self.namespace.ip(&format!(
            "addr add {address} dev {interface}\nlink set {interface} up\n\
             route add {all} dev {interface} metric {metric}"
        ))
    }
}

/// A device that is attached: it has a bearer, of IPv4 or (`Ue<Ipv6Addr>`) of IPv6. Dropped, its
/// SGSN dies as by [`Ue::kill`].
#[derive(Debug)]
pub struct Ue<A = Ipv4Addr> {
    pub(crate) device: Device,
    pub(crate) sim: Sim,
    pub(crate) apn: Apn,
    pub(crate) address: A,
    pub(crate) sgsn: Ipv4Addr,
    pub(crate) emulator: Process,
}

impl<A: Copy> Ue<A> {
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

    /// The address that the packet gateway gave it; of IPv6, the one that it made of its prefix.
    pub fn address(&self) -> A {
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

/// What a bearer can carry.
pub(crate) trait Carried: Copy + FromStr + fmt::Display + Send + Sync + 'static {
    /// How the emulator is told which.
    const PDP_TYPE: &'static str;
    /// What the emulator says before the device's address.
    const MARK: &'static str;
    /// What it says behind it, on the same line.
    const BEHIND: &'static str;
}

impl Carried for Ipv4Addr {
    const PDP_TYPE: &'static str = "v4";
    const MARK: &'static str = "received EUA with IP address: ";
    const BEHIND: &'static str = "";
}

impl Carried for Ipv6Addr {
    const PDP_TYPE: &'static str = "v6";
    // Not what it was assigned, but what it made of the router advertisement.
    const MARK: &'static str = "Adding addr ";
    const BEHIND: &'static str = " to tun";
}

/// The address in what the emulator said, once it has one; an error once it was refused.
pub(crate) fn address_in<A: Carried>(said: &str) -> Result<Option<A>> {
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
    let Some(line) = after(A::MARK) else { return Ok(None) };
    let word = if A::BEHIND.is_empty() {
        line
    } else {
        line.split_once(A::BEHIND).map_or(line, |(word, _)| word)
    };
    let address = word.parse().ok().with_context(|| format!("{word:?} is no address"))?;
    Ok(Some(address))
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

    #[test]
    fn an_ipv6_address_is_the_one_that_is_used() {
        let said = "PDP ctx: received EUA with IP address: fd00:60:0:1:fd00:60:0:1\n\
                    <0003> sgsnemu.c:1768 Adding addr fd00:60:0:1::2 to tun ue0\n";
        assert_eq!(address_in(said).unwrap(), Some("fd00:60:0:1::2".parse::<Ipv6Addr>().unwrap()));
        let before = said.split_once('\n').unwrap().0;
        assert_eq!(address_in::<Ipv6Addr>(before).unwrap(), None);
    }

    #[test]
    fn a_refusal_is_an_error() {
        let said = "Received create PDP context response. Cause value: 211\n";
        let error = address_in::<Ipv4Addr>(said).unwrap_err().to_string();
        assert!(error.contains("cause 211"), "{error}");
    }
}
