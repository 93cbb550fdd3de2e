//! A modem that answers AT commands (3GPP TS 27.007, 27.005) as a script has it.

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use homeward_net::Namespace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) const IMSI: &str = "999700123456789";
pub(crate) const IMEI: &str = "356938035643809";

/// What the modem is at.
pub(crate) struct State {
    /// As `+CREG` has it: 1 is at home, 2 looking, 3 denied, 5 a guest.
    pub(crate) registration: u8,
    /// As `+CSQ` has it: of 31.
    pub(crate) quality: u8,
    /// What is stored, by its place: PDUs in hex.
    pub(crate) stored: BTreeMap<u8, String>,
    /// What was sent: PDUs in hex.
    pub(crate) sent: Vec<String>,
    /// Whether the network takes messages.
    pub(crate) sends: bool,
    /// Whether it names its network in letters, not in digits.
    letters: bool,
}

/// The modem.
pub(crate) struct AtModem {
    name: String,
    state: Arc<Mutex<State>>,
    /// Lines that nobody asked for; sent to whoever is connected.
    news: watch::Sender<Vec<String>>,
    task: JoinHandle<()>,
}

impl AtModem {
    /// Listens on an abstract socket of the namespace.
    pub(crate) fn start(place: &Namespace, name: &str) -> Result<Self> {
        // To ModemManager, the prefix is a part of the socket's name.
        let name = format!("abstract:{name}");
        let listener = place.enter(|| {
            let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })?;
        let listener = UnixListener::from_std(listener)?;
        let state = Arc::new(Mutex::new(State {
            registration: 1,
            quality: 20,
            stored: BTreeMap::new(),
            sent: Vec::new(),
            sends: true,
            letters: false,
        }));
        let (news, told) = watch::channel(Vec::new());
        let task = tokio::spawn(serve(listener, Arc::clone(&state), told));
        Ok(Self { name, state, news, task })
    }

    /// As ModemManager is told of it.
    pub(crate) fn port(&self) -> String {
        self.name.clone()
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes how it stands with its network, and says so.
    pub(crate) fn register(&self, how: u8) {
        self.with(|state| state.registration = how);
        self.tell(&[
            format!("+CREG: {how},\"000C\",\"00000001\",7"),
            format!("+CGREG: {how},\"000C\",\"00000001\",7"),
            format!("+CEREG: {how},\"000C\",\"00000001\",7"),
        ]);
    }

    /// A message comes from the network.
    pub(crate) fn deliver(&self, at: u8, pdu: &str) {
        self.with(|state| state.stored.insert(at, pdu.to_owned()));
        self.tell(&[format!("+CMTI: \"SM\",{at}")]);
    }

    fn tell(&self, lines: &[String]) {
        self.news.send_modify(|all| all.extend_from_slice(lines));
    }
}

impl Drop for AtModem {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: UnixListener,
    state: Arc<Mutex<State>>,
    mut news: watch::Receiver<Vec<String>>,
) {
    let mut told = 0;
    while let Ok((stream, _)) = listener.accept().await {
        let (mut input, mut output) = stream.into_split();
        let mut line = Vec::new();
        // Whether a message's octets follow, up to Ctrl-Z.
        let mut pdu = false;
        let mut room = [0; 512];
        loop {
            let length = tokio::select! {
                length = input.read(&mut room) => length.unwrap_or(0),
                _ = news.changed() => {
                    let lines: Vec<_> = news.borrow_and_update().iter().skip(told).cloned().collect();
                    told += lines.len();
                    for line in lines {
                        say(&mut output, &format!("\r\n{line}\r\n")).await;
                    }
                    continue;
                }
            };
            if length == 0 {
                break;
            }
            for octet in &room[..length] {
                match octet {
                    0x1a if pdu => {
                        pdu = false;
                        let text = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
                        let sent = take_message(&state, &text);
                        say(&mut output, &sent).await;
                    }
                    b'\r' if !pdu => {
                        let text = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
                        let command = text.trim().to_owned();
                        pdu = command.starts_with("AT+CMGS=");
                        let answer = match pdu {
                            true => "\r\n> ".to_owned(),
                            false => answer(&state, &command),
                        };
                        say(&mut output, &answer).await;
                    }
                    other => line.push(*other),
                }
            }
        }
    }
}

async fn say(output: &mut OwnedWriteHalf, text: &str) {
    // Whoever is gone is noticed at the next read.
    output.write_all(text.as_bytes()).await.ok();
}

fn take_message(state: &Mutex<State>, pdu: &str) -> String {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if !state.sends {
        return "\r\n+CMS ERROR: 38\r\n".to_owned(); // network out of order
    }
    state.sent.push(pdu.trim().to_owned());
    format!("\r\n+CMGS: {}\r\n\r\nOK\r\n", state.sent.len())
}

fn answer(state: &Mutex<State>, command: &str) -> String {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    match reply(&mut state, command.strip_prefix("AT").unwrap_or(command)) {
        Some(text) if text.is_empty() => "\r\nOK\r\n".to_owned(),
        Some(text) => format!("\r\n{text}\r\n\r\nOK\r\n"),
        None => "\r\nERROR\r\n".to_owned(),
    }
}

fn reply(state: &mut State, command: &str) -> Option<String> {
    let how = state.registration;
    let fixed = match command {
        "+CPIN?" => "+CPIN: READY",
        "+CIMI" => IMSI,
        "+CGSN" => IMEI,
        "+CGMI" => "Homeward",
        "+CGMM" => "Script",
        "+CGMR" => "1",
        "+GCAP" => "+GCAP: +CGSM",
        "I" => "Script",
        "+CFUN?" => "+CFUN: 1",
        "+CSCS=?" => "+CSCS: (\"IRA\",\"GSM\",\"UCS2\")",
        "+CSCS?" => "+CSCS: \"IRA\"",
        "+WS46=?" => "+WS46: (12,22,28)",
        "+WS46?" => "+WS46: 28",
        "+CLCK=?" => "+CLCK: (\"SC\")",
        "+CLCK=\"SC\",2" => "+CLCK: 0",
        "+CNUM" => "+CNUM: ,\"+447700900123\",145",
        "+CGDCONT=?" => "+CGDCONT: (1-16),\"IP\",,,(0,1),(0,1)",
        "+CGDCONT?" => "+CGDCONT: 1,\"IP\",\"internet\",\"\",0,0",
        "+CGACT?" => "+CGACT: 1,0",
        "+CMGF=?" => "+CMGF: (0,1)",
        "+CMGF?" => "+CMGF: 0",
        "+CNMI=?" => "+CNMI: (0-3),(0-3),(0-3),(0-2),(0,1)",
        "+CPMS=?" => "+CPMS: (\"SM\"),(\"SM\"),(\"SM\")",
        "+CPMS?" => "+CPMS: \"SM\",0,20,\"SM\",0,20,\"SM\",0,20",
        "+CREG=?" | "+CGREG=?" | "+CEREG=?" => "+CREG: (0-2)",
        "+CESQ=?" => "+CESQ: (0-63,99),(0-7,99),(0-96,255),(0-49,255),(0-34,255),(0-97,255)",
        // The sixth is RSRP: 60 is -81 dBm.
        "+CESQ" => "+CESQ: 99,99,255,255,20,60",
        "+CRSM=176,12258,0,0,10" => "+CRSM: 144,0,\"98944747000000000010\"",
        _ => "",
    };
    if !fixed.is_empty() {
        return Some(fixed.to_owned());
    }
    let registered = |name: &str| Some(format!("+{name}: 2,{how},\"000C\",\"00000001\",7"));
    match command {
        "+CREG?" => registered("CREG"),
        "+CGREG?" => registered("CGREG"),
        "+CEREG?" => registered("CEREG"),
        "+COPS?" if state.letters => Some("+COPS: 0,0,\"Script\",7".to_owned()),
        "+COPS?" => Some("+COPS: 0,2,\"99970\",7".to_owned()),
        "+CSQ" => Some(format!("+CSQ: {},99", state.quality)),
        "+CMGL=4" => {
            let entry = |(at, pdu): (&u8, &String)| {
                format!("+CMGL: {at},1,,{}\r\n{pdu}", pdu.len() / 2 - 1)
            };
            Some(state.stored.iter().map(entry).collect::<Vec<_>>().join("\r\n"))
        }
        "" | "E0" | "V1" | "Z" | "X4" | "&C1" => Some(String::new()),
        _ => {
            let (name, value) = command.split_once('=')?;
            state.letters = if name == "+COPS" { value == "3,0" } else { state.letters };
            match name {
                "+CMGR" => {
                    let pdu = state.stored.get(&value.parse().ok()?)?;
                    Some(format!("+CMGR: 1,,{}\r\n{pdu}", pdu.len() / 2 - 1))
                }
                "+CMGD" => state.stored.remove(&value.parse().ok()?).map(|_| String::new()),
                "+CPMS" => Some("+CPMS: 0,20,0,20,0,20".to_owned()),
                "+CFUN" | "+CMEE" | "+CSCS" | "+CREG" | "+CGREG" | "+CEREG" | "+CMGF" | "+CNMI"
                | "+CMER" | "+COPS" | "+IFC" | "+CUSD" | "+CLIP" | "+CRC" | "+CCWA"
                | "+CGDCONT" | "+CGEREP" => Some(String::new()),
                _ => None,
            }
        }
    }
}
