//! TCP through a tunnel, both ways, with octets that are looked at.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use crate::ends::Pair;

/// A stream's octets: no two pages are the same.
fn octet(at: usize) -> u8 {
    ((at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Sends `octets` octets abroad and back, and compares.
pub(crate) fn exchange(pair: &Pair, home: SocketAddr, octets: usize) {
    let listener = pair.home.space.run(move || TcpListener::bind(home).expect("an address"));
    let address = listener.local_addr().expect("bound");
    let echo = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a caller");
        copy(stream)
    });
    let stream = pair.foreign.space.run(move || TcpStream::connect(address).expect("home answers"));
    let sender = send(stream.try_clone().expect("a socket"), octets);
    let mut received = Vec::with_capacity(octets);
    (&stream).read_to_end(&mut received).expect("it goes on");
    sender.join().expect("it was sent");
    assert_eq!(echo.join().expect("it was echoed"), octets);
    assert_eq!(received.len(), octets);
    assert!(received.iter().enumerate().all(|(at, o)| *o == octet(at)), "octets changed");
}

fn send(mut stream: TcpStream, octets: usize) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let all: Vec<u8> = (0..octets).map(octet).collect();
        stream.write_all(&all).expect("it goes on");
        stream.shutdown(Shutdown::Write).expect("it goes on");
    })
}

fn copy(mut stream: TcpStream) -> usize {
    let mut room = vec![0; 1 << 16];
    let mut all = 0;
    loop {
        match stream.read(&mut room).expect("it goes on") {
            0 => return all,
            len => {
                stream.write_all(&room[..len]).expect("it goes on");
                all += len;
            }
        }
    }
}
