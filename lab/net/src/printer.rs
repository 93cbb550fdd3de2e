//! A printer of the home: a page over HTTP, and its name by mDNS.
//!
//! The page comes from a mock, for what matters is who reaches it; mDNS is avahi's, the responder
//! of most devices.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::namespace::Namespace;
use crate::process::Process;
use crate::wait::{now, pause};

/// Where mDNS is spoken (RFC 6762 section 3).
const MDNS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);

/// How long the responder may take to come up.
const START: Duration = Duration::from_secs(10);

/// A web server on port 80 of one address, until dropped.
#[derive(Debug)]
pub struct Printer {
    page: String,
    visitors: Arc<Mutex<BTreeSet<IpAddr>>>,
    stop: Arc<AtomicBool>,
}

impl Printer {
    /// Serves a page that says `name` at `address`, which is one of the namespace's.
    ///
    /// # Errors
    /// If the address is not there, or its port 80 is taken.
    pub fn start(name: &str, namespace: &Namespace, address: Ipv4Addr) -> Result<Self> {
        let listener = namespace.enter(|| {
            TcpListener::bind((address, 80)).with_context(|| format!("bind {address}:80"))
        })?;
        listener.set_nonblocking(true)?;
        let printer = Self {
            page: format!("<title>{name}</title>\n"),
            visitors: Arc::default(),
            stop: Arc::default(),
        };
        let (page, visitors, stop) =
            (printer.page.clone(), Arc::clone(&printer.visitors), Arc::clone(&printer.stop));
        std::thread::Builder::new().name("printer".into()).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, from)) => {
                        let mut visitors = visitors.lock().unwrap_or_else(PoisonError::into_inner);
                        visitors.insert(from.ip());
                        drop(visitors);
                        // Who goes away before the answer is there has no use for it.
                        answer(stream, &page).ok();
                    }
                    Err(_) => pause(Duration::from_millis(2)),
                }
            }
        })?;
        Ok(printer)
    }

    /// The page.
    pub fn page(&self) -> &str {
        &self.page
    }

    /// From which addresses it was called.
    pub fn visitors(&self) -> BTreeSet<IpAddr> {
        self.visitors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn answer(mut stream: TcpStream, page: &str) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut asked: Vec<u8> = Vec::new();
    let mut room = [0; 512];
    while !asked.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut room)? {
            0 => bail!("the visitor left"),
            length => asked.extend(room.get(..length).unwrap_or_default()),
        }
    }
    let length = page.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{page}"
    )?;
    Ok(())
}

/// Gets the page at `http://ADDRESS/` from a namespace.
///
/// # Errors
/// If nobody answers within `limit`, or the answer is not 200.
pub async fn get(namespace: &Namespace, address: Ipv4Addr, limit: Duration) -> Result<String> {
    namespace
        .run(move || {
            let to = SocketAddr::from((address, 80));
            let mut stream = TcpStream::connect_timeout(&to, limit)
                .with_context(|| format!("cannot connect to {to}"))?;
            stream.set_read_timeout(Some(limit))?;
            write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
            let mut all = String::new();
            stream.read_to_string(&mut all).context("no answer")?;
            let (head, page) = all.split_once("\r\n\r\n").context("no end of the header")?;
            ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
            Ok(page.to_owned())
        })
        .await
}

/// Announces an IPP printer of that name by mDNS on `interface`: avahi, in its own little world of
/// files, for it knows no other place for them.
///
/// # Errors
/// If avahi is not installed, or does not come up.
pub async fn announce(
    folder: &Path,
    name: &str,
    namespace: &Namespace,
    interface: &str,
) -> Result<Process> {
    let services = folder.join(format!("{name}-services"));
    fs::create_dir_all(&services)?;
    let conf = folder.join(format!("{name}-avahi.conf"));
    fs::write(
        &conf,
        format!(
            "[server]\nhost-name={name}\nuse-ipv4=yes\nuse-ipv6=no\nallow-interfaces={interface}\n\
             enable-dbus=no\n[wide-area]\nenable-wide-area=no\n\
             [publish]\npublish-workstation=no\n[reflector]\nenable-reflector=no\n"
        ),
    )?;
    fs::write(
        services.join("printer.service"),
        format!(
            "<?xml version=\"1.0\" standalone='no'?>\n\
             <!DOCTYPE service-group SYSTEM \"avahi-service.dtd\">\n\
             <service-group><name>{name}</name>\
             <service><type>_ipp._tcp</type><port>631</port></service></service-group>\n"
        ),
    )?;
    // A user namespace has root and nobody else: let avahi's user be root.
    let accounts = folder.join(format!("{name}-accounts"));
    fs::create_dir_all(&accounts)?;
    let names = ["root", "avahi"];
    let (passwd, group) = (accounts.join("passwd"), accounts.join("group"));
    fs::write(&passwd, names.map(|user| format!("{user}:x:0:0::/:/bin/sh\n")).concat())?;
    fs::write(&group, names.map(|group| format!("{group}:x:0:\n")).concat())?;
    let script = format!(
        "mount --bind '{}' /etc/passwd && mount --bind '{}' /etc/group && \
         mount --bind '{}' /etc/avahi/services && mount -t tmpfs none /run && \
         exec avahi-daemon --no-drop-root --no-chroot --no-rlimits --file='{}'",
        passwd.display(),
        group.display(),
        services.display(),
        conf.display()
    );
    let command = ["unshare", "--mount", "sh", "-c", &script];
    let mut avahi = Process::start(folder, &format!("{name}-avahi"), namespace, &command)?;
    avahi.says("successfully established", START).await?;
    Ok(avahi)
}

/// Asks by mDNS for IPP printers on the link of the interface that has `own`; returns the names of
/// those that answer within `limit`, once there is one.
///
/// # Errors
/// If the address is not there.
pub async fn browse(
    namespace: &Namespace,
    own: Ipv4Addr,
    limit: Duration,
) -> Result<BTreeSet<String>> {
    namespace
        .run(move || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, MDNS.port())).into())?;
            socket.join_multicast_v4(MDNS.ip(), &own)?;
            socket.set_multicast_if_v4(&own)?;
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            let socket = UdpSocket::from(socket);
            let mut found = BTreeSet::new();
            let end = now() + limit;
            while found.is_empty() && now() < end {
                socket.send_to(&query(), MDNS)?;
                let mut room = [0; 4096];
                while let Ok(length) = socket.recv(&mut room) {
                    found.extend(instances(room.get(..length).unwrap_or_default()));
                }
            }
            Ok(found)
        })
        .await
}

/// `_ipp._tcp.local` as labels (RFC 1035 section 3.1).
const SERVICE: &[u8] = b"\x04_ipp\x04_tcp\x05local\x00";

/// One question, for the pointers (PTR, IN) of [`SERVICE`].
fn query() -> Vec<u8> {
    [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], SERVICE, &[0, 12, 0, 1]].concat()
}

/// The instances that an answer names: the first label of each pointer of [`SERVICE`], whose name
/// is spelled out, or said to be that of the first record (octet 12 of the message).
fn instances(message: &[u8]) -> Vec<String> {
    let read = || -> Option<Vec<String>> {
        let word = |at: usize| {
            Some(usize::from(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?)))
        };
        let is_answer = message.get(2)? & 0x80 != 0;
        if !is_answer || word(4)? != 0 {
            return None;
        }
        let mut found = Vec::new();
        let mut at = 12;
        for _ in 0..word(6)? {
            let name_end = at + name_length(message.get(at..)?)?;
            let length = word(name_end + 8)?;
            let data = message.get(name_end + 10..name_end + 10 + length)?;
            let owner = message.get(at..name_end)?;
            if word(name_end)? == 12 && (owner == SERVICE || owner == [0xc0, 12]) {
                let label = usize::from(*data.first()?);
                found.push(String::from_utf8_lossy(data.get(1..=label)?).into_owned());
            }
            at = name_end + 10 + length;
        }
        Some(found)
    };
    read().unwrap_or_default()
}

/// Octets of the name that these begin with: labels, ended by a zero or by a pointer.
fn name_length(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *octets.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer & 0xc0 != 0 => return Some(at + 2),
            label => at += 1 + usize::from(label),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_read_from_an_answer_and_not_from_a_question() {
        let mut answer = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        answer.extend(SERVICE);
        // PTR, IN, 120 s, ten octets: "printer" and a pointer to the service's name.
        answer.extend([0, 12, 0, 1, 0, 0, 0, 120, 0, 10]);
        answer.extend(b"\x07printer\xc0\x0c");
        assert_eq!(instances(&answer), ["printer"]);
        // A pointer of another service is not of this one.
        let mut other = answer.clone();
        other[13] = b'!';
        assert_eq!(instances(&other), [""; 0]);
        assert_eq!(instances(&query()), [""; 0]);
        for cut in 0..answer.len() {
            assert_eq!(instances(&answer[..cut]), [""; 0]);
        }
    }
}
