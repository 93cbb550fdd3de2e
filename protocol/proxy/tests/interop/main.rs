//! The machine among others' programs: FreeRADIUS as a home server and as a visited network's
//! proxy, radclient and eapol_test as NASes.
#![cfg(test)]

mod driver;
mod freeradius;

use std::net::SocketAddr;
use std::time::Duration;

use driver::{Wired, shared};
use freeradius::{FreeRadius, eapol, radclient};
use homeward_proxy::{Accounting, Clamp, Filter, HomeServer, Pool, Route, Table, Watch, Which};

const NAS: &str = "between the NAS and us";
const HOME: &str = "between us and the home servers";

/// A table with these home servers in one pool, for access; each under its name.
fn table(names: &[&str], answers: Filter) -> Table {
    let mut table = Table::new();
    let mut pools = ["access", "accounting"].map(|kind| {
        let servers = names.iter().map(|name| {
            let name = if kind == "access" { (*name).to_owned() } else { format!("{name}-{kind}") };
            let mut server = HomeServer::datagram(&name, shared(HOME));
            // FreeRADIUS as Debian 12 has it signs answers only where EAP is spoken.
            server.require_message_authenticator = false;
            server.watch = Watch {
                response_window: Duration::from_secs(2),
                zombie_period: Duration::from_millis(900),
                check_interval: Duration::from_millis(200),
                ..Watch::default()
            };
            server
        });
        Pool::new(kind, servers.map(|server| table.server(server)).collect::<Vec<_>>())
    });
    let [access, accounting] = &mut pools;
    let access = table.pool(access.clone()).unwrap();
    let accounting = Accounting::Pool(table.pool(accounting.clone()).unwrap());
    let to = Route { accounting, answers, ..Route::to(access) };
    table.route("example.org".parse().unwrap(), to.into()).unwrap();
    table
}

fn addresses(homes: &[&FreeRadius]) -> Vec<SocketAddr> {
    homes.iter().map(|h| h.access).chain(homes.iter().map(|h| h.accounting)).collect()
}

fn ask(more: &str) -> String {
    format!("User-Name = \"fred@example.org\", {more}, Message-Authenticator = 0x00")
}

fn block(method: &str, phase2: &str, password: &str) -> String {
    format!(
        "eap={method}\n identity=\"fred@example.org\"\n anonymous_identity=\"@example.org\"\n \
         password=\"{password}\"\n phase2=\"{phase2}\""
    )
}

const METHODS: [(&str, &str); 3] =
    [("PEAP", "auth=MSCHAPV2"), ("TTLS", "auth=PAP"), ("TTLS", "auth=MSCHAPV2")];

#[track_caller]
fn succeeds(said: &str) {
    assert!(said.lines().rev().take(4).any(|line| line == "SUCCESS"), "{said}");
    // The keys that arrived at the access point are those that the station has.
    assert!(said.contains("mismatch: 0"), "{said}");
}

#[test]
fn freeradius_as_a_home_server_decides_and_we_carry_it_over() {
    let home = FreeRadius::home("elm", HOME);
    let psk = "Tunnel-Password".parse::<Which>().unwrap();
    let filter = Filter::from_partner().allow([psk]).clamp(Clamp::session_timeout(3600));
    let us = Wired::start(NAS, table(&["elm"], filter), &addresses(&[&home]));

    let said = radclient(us.access, "auth", NAS, &ask("User-Password = \"correct horse\""));
    for part in [
        "Received Access-Accept",
        "Reply-Message = \"elm\"",
        "Session-Timeout = 3600",
        "Tunnel-Password:1 = \"a passphrase of more than sixteen octets\"",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let received = said.split_once("Received").unwrap().1;
    assert!(!received.contains("Tunnel-Private-Group-Id"), "a VLAN is not theirs to set: {said}");
    assert!(!received.contains("Proxy-State"), "{said}");

    let said = radclient(us.access, "auth", NAS, &ask("User-Password = \"wrong\""));
    assert!(said.contains("Received Access-Reject"), "{said}");
    let long = "x".repeat(100);
    let said = radclient(us.access, "auth", NAS, &ask(&format!("User-Password = \"{long}\"")));
    assert!(said.contains("Received Access-Reject"), "{said}");
    // The challenge is the Request Authenticator, which does not go on.
    for (password, verdict) in [("correct horse", "Accept"), ("wrong", "Reject")] {
        let said =
            radclient(us.access, "auth", NAS, &ask(&format!("CHAP-Password = \"{password}\"")));
        assert!(said.contains(&format!("Received Access-{verdict}")), "{said}");
    }
    // Keys that are hidden as passwords are: the same as FreeRADIUS itself says.
    let mschap = ask("MS-CHAP-Password = \"correct horse\"");
    let keys = |said: &str| {
        let line = said.lines().find(|line| line.contains("MS-CHAP-MPPE-Keys"));
        line.unwrap_or_else(|| panic!("no keys: {said}")).trim().to_owned()
    };
    let direct = radclient(home.access, "auth", HOME, &mschap);
    let through = radclient(us.access, "auth", NAS, &mschap);
    assert_eq!(keys(&through), keys(&direct));

    let said = radclient(us.access, "auth", NAS, &ask("Proxy-State = 0x0102, Proxy-State = 0x03"));
    let received = said.split_once("Received Access-Reject").expect(&said).1;
    let states: Vec<_> = received.lines().filter(|l| l.contains("Proxy-State")).collect();
    assert_eq!(states.len(), 2, "{said}");
    assert!(states[0].contains("0x0102") && states[1].contains("0x03"), "{said}");

    let record = "User-Name = \"fred@example.org\", Acct-Status-Type = Start, \
         Acct-Session-Id = \"5c\", Acct-Delay-Time = 0";
    let said = radclient(us.accounting, "acct", NAS, record);
    assert!(said.contains("Received Accounting-Response"), "{said}");

    let unknown =
        "User-Name = \"fred@example.net\", User-Password = \"x\", Message-Authenticator = 0x00";
    let said = radclient(us.access, "auth", NAS, unknown);
    assert!(said.contains("Received Access-Reject") && said.contains("unknown realm"), "{said}");
}

#[test]
fn eap_goes_through_to_freeradius_with_the_same_keys_at_both_ends() {
    let home = FreeRadius::home("elm", HOME);
    let us = Wired::start(NAS, table(&["elm"], Filter::from_partner()), &addresses(&[&home]));
    for (method, phase2) in METHODS {
        succeeds(&eapol(us.access, NAS, &home.ca(), &block(method, phase2, "correct horse")));
        let said = eapol(us.access, NAS, &home.ca(), &block(method, phase2, "wrong"));
        assert!(said.lines().rev().take(4).any(|line| line == "FAILURE"), "{said}");
    }
}

#[test]
fn requests_go_to_the_other_freeradius_while_one_is_gone_and_come_back_with_it() {
    let mut homes = [FreeRadius::home("elm", HOME), FreeRadius::home("oak", HOME)];
    let [elm, oak] = &homes;
    let table = table(&["elm", "oak"], Filter::from_partner());
    let us = Wired::start(NAS, table, &addresses(&[elm, oak]));
    let asked = ask("User-Password = \"correct horse\"");
    let answered_by = |name: &str| {
        let said = radclient(us.access, "auth", NAS, &asked);
        assert!(said.contains(&format!("Reply-Message = \"{name}\"")), "{name}: {said}");
    };
    answered_by("elm");

    // It is gone, and its port says so.
    let mark = us.mark();
    homes[0].kill();
    answered_by("oak");
    us.wait_for(mark, "elm is zombie");
    us.wait_for(mark, "elm is dead");
    answered_by("oak");
    let mark = us.mark();
    homes[0].start();
    us.wait_for(mark, "elm is alive");
    answered_by("elm");

    // It is there and says nothing.
    let mark = us.mark();
    homes[0].signal("-STOP");
    answered_by("oak");
    us.wait_for(mark, "elm is dead");
    let said =
        eapol(us.access, NAS, &homes[1].ca(), &block("PEAP", "auth=MSCHAPV2", "correct horse"));
    succeeds(&said);
    let mark = us.mark();
    homes[0].signal("-CONT");
    us.wait_for(mark, "elm is alive");
    answered_by("elm");

    // Nobody is left.
    let mark = us.mark();
    for home in &mut homes {
        home.kill();
    }
    let said = radclient(us.access, "auth", NAS, &asked);
    assert!(said.contains("Received Access-Reject"), "{said}");
    us.wait_for(mark, "rejected: no-server");
}

#[test]
fn freeradius_as_a_visited_networks_proxy_is_served_through_us() {
    const VISITED: &str = "between the NAS and the visited network";
    let home = FreeRadius::home("elm", HOME);
    let us = Wired::start(NAS, table(&["elm"], Filter::from_partner()), &addresses(&[&home]));
    let visited = FreeRadius::visited(VISITED, us.access, NAS);
    let said =
        radclient(visited.access, "auth", VISITED, &ask("User-Password = \"correct horse\""));
    assert!(said.contains("Received Access-Accept"), "{said}");
    assert!(said.contains("Reply-Message = \"elm\""), "{said}");
    let said = radclient(visited.access, "auth", VISITED, &ask("User-Password = \"wrong\""));
    assert!(said.contains("Received Access-Reject"), "{said}");
    for (method, phase2) in METHODS {
        let network = block(method, phase2, "correct horse");
        succeeds(&eapol(visited.access, VISITED, &home.ca(), &network));
    }
}
