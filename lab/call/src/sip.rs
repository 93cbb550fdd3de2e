//! What sipp says, as a phone and as who is called; and Kamailio between them.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::{shipped, text};

/// What phone and application say; what is in brackets sipp puts there, or `-key`.
const REGISTER: &str = "REGISTER sip:sip.example SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:[user]@sip.example>;tag=phone[cseq]
To: <sip:[user]@sip.example>
Call-ID: [call_id]
CSeq: [cseq] REGISTER
Contact: <sip:[user]@[local_ip]:[local_port]>
Expires: 300
CREDENTIALS
";
const IN_CALL: &str = "METHOD URI SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
ROUTE
From: <sip:[user]@sip.example>;tag=phone
To: <sip:b@sip.example>TAG
Call-ID: [call_id]
CSeq: [cseq] METHOD
Contact: <sip:[user]@[local_ip]:[local_port]>
CREDENTIALS
";
const ANSWER: &str = "SIP/2.0 200 OK
[last_Via:]
[last_Record-Route:]
[last_From:]
To: <sip:b@sip.example>;tag=b
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:b@[local_ip]:[local_port]>
";
/// A-law (RFC 3551) from where the media is.
const OFFER: &str = "v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio PORT RTP/AVP 8
a=rtpmap:8 PCMA/8000
";

/// Something that sipp does, step by step: the inside of a scenario of its.
pub type Doing = String;

fn send(message: &str, offer: Option<&str>) -> Doing {
    let lines: Vec<&str> = message.lines().filter(|line| !line.is_empty()).collect();
    let head = lines.join("\n");
    let (about, body) = match offer {
        Some(port) => {
            ("Content-Type: application/sdp\nContent-Length: [len]", OFFER.replace("PORT", port))
        }
        None => ("Content-Length: 0", String::new()),
    };
    format!("<send><![CDATA[\n{head}\n{about}\n\n{body}]]></send>\n")
}

fn answered(status: u16) -> Doing {
    let keep = match status {
        401 | 407 => "auth=\"true\"",
        _ => "rrs=\"true\"",
    };
    let first = "<recv response=\"100\" optional=\"true\"/>\n";
    format!("{first}<recv response=\"{status}\" {keep}/>\n")
}

/// Who is called waits for a request, and answers it with 200.
pub fn answers(method: &str) -> Doing {
    let request = format!("<recv request=\"{method}\"/>\n");
    match method {
        "INVITE" => request + &send(ANSWER, Some("[media_port]")) + "<recv request=\"ACK\"/>\n",
        _ => request + &send(ANSWER, None),
    }
}

/// A request of the phone's in a call: once as it is, and again with an answer to the challenge, which
/// has `last` for an answer.
pub fn in_call(method: &str, uri: &str, begun: bool, last: u16) -> Doing {
    let offer = (method == "INVITE").then_some("[rtpstream_audio_port]");
    let of = |method: &str, uri: &str, credentials: &str, tag: &str, route: bool| {
        let route = if route { "Route: <sip:[remote_ip]:[remote_port];lr>" } else { "" };
        let message = IN_CALL.replace("METHOD", method).replace("URI", uri).replace("TAG", tag);
        message.replace("ROUTE", route).replace("CREDENTIALS", credentials)
    };
    let tag = if begun { ";tag=b" } else { "" };
    let request = |credentials| send(&of(method, uri, credentials, tag, begun), offer);
    // That of an error belongs to the transaction, three steps before; the other goes to who answered.
    let acknowledge = |status| match (method, status) {
        ("INVITE", 200) => send(&of("ACK", "[next_url]", "", "[peer_tag_param]", true), None),
        ("INVITE", _) => {
            let ack = of("ACK", uri, "", "[peer_tag_param]", begun);
            send(&ack.replace("[branch]", "[branch-3]"), None)
        }
        _ => Doing::new(),
    };
    [
        request(""),
        answered(407),
        acknowledge(407),
        request("[authentication]"),
        answered(last),
        acknowledge(last),
    ]
    .concat()
}

/// The phone registers: once as it is, and again with an answer to the challenge, which has `last` for an
/// answer.
pub fn register(last: u16) -> Doing {
    let first = send(&REGISTER.replace("CREDENTIALS", ""), None);
    first
        + &answered(401)
        + &send(&REGISTER.replace("CREDENTIALS", "[authentication]"), None)
        + &answered(last)
}

/// The phone talks: that file, A-law, over and over, for so long.
pub fn talks(audio: &Path, seconds: u32) -> Result<Doing> {
    let audio = text(audio)?;
    let milliseconds = u64::from(seconds) * 1000;
    Ok(format!(
        "<nop><action><exec rtp_stream=\"{audio},-1,8\"/></action></nop>\n\
         <pause milliseconds=\"{milliseconds}\"/>\n"
    ))
}

/// What the edge answers to somebody that calls from `own` and has no credentials; nothing, if it is not
/// there.
pub fn bare(own: Ipv4Addr, edge: SocketAddr, method: &str) -> Option<String> {
    let socket = UdpSocket::bind((own, 0)).ok()?;
    socket.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
    let own = socket.local_addr().ok()?;
    let message = format!(
        "{method} sip:sip.example SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{0}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@sip.example>;tag={0}\r\nTo: <sip:a@sip.example>\r\n\
         Call-ID: {0}@a\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n",
        own.port()
    );
    socket.send_to(message.as_bytes(), edge).ok()?;
    let mut room = [0; 2048];
    let length = socket.recv(&mut room).ok()?;
    Some(String::from_utf8_lossy(room.get(..length)?).into_owned())
}

/// What sipp reads.
pub fn scenario(name: &str, doing: &str) -> String {
    format!("<?xml version=\"1.0\"?>\n<scenario name=\"{name}\">\n{doing}</scenario>\n")
}

/// sipp's command line, to do what is in that file once.
///
/// # Errors
/// If the path is no text.
pub fn sipp(file: &Path, own: Ipv4Addr, port: u16, seconds: u32) -> Result<Vec<String>> {
    let (file, own, port) = (text(file)?, own.to_string(), port.to_string());
    let within = format!("{seconds}s");
    let words = [
        &["env", "TERM=dumb", "sipp", "-sf", file, "-m", "1", "-nostdin"][..],
        &["-timeout", &within, "-timeout_error", "-i", &own, "-mi", &own, "-p", &port],
    ];
    Ok(words.concat().into_iter().map(str::to_owned).collect())
}

/// What sipp is told of the phone: its user, who has that password, asks for that URI; this is the `n`th
/// thing that it does in that call, or in none.
pub fn phone(user: &str, password: &str, uri: &str, call: Option<&str>, n: u32) -> Vec<String> {
    let key = ["-au", user, "-ap", password, "-auth_uri", uri, "-key", "user", user];
    let mut words: Vec<String> = key.map(str::to_owned).to_vec();
    // Later in the call, later in its count.
    words.extend(["-base_cseq".to_owned(), (100 * n).to_string()]);
    words.extend(["-cid_str".to_owned(), call.unwrap_or("%u-%p@%s").to_owned()]);
    words
}

/// Kamailio's command line, by the shipped file; its sockets are in `folder`. Its processes end with the
/// first of a process namespace, as `unshare --pid --fork --kill-child` makes one.
///
/// # Errors
/// If a path is no text.
pub fn kamailio(
    folder: &Path,
    listen: (Ipv4Addr, u16),
    guard: &str,
    application: (Ipv4Addr, u16),
) -> Result<Vec<String>> {
    let (file, folder) = (shipped("kamailio.cfg"), text(folder)?.to_owned());
    let words = ["--pid", "--fork", "--kill-child", "--", "/usr/sbin/kamailio", "-f", text(&file)?];
    let mut words: Vec<String> = words.map(str::to_owned).to_vec();
    let more = ["-DD", "-E", "-m", "16", "-M", "4", "-w", &folder, "-Y", &folder];
    words.extend(more.map(str::to_owned));
    for define in [
        format!("LISTEN=udp:{}:{}", listen.0, listen.1),
        format!("GUARD=\"http://{guard}\""),
        format!("APPLICATION=\"sip:{}:{}\"", application.0, application.1),
        format!("APPLICATION_ADDRESS=\"{}\"", application.0),
    ] {
        words.extend(["-A".to_owned(), define]);
    }
    Ok(words)
}
