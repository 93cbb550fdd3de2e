//! RA-Guard (RFC 6105) that is not evaded by extension headers or fragments (RFC 7113).

use homeward_port::testing::build::{self, destination_options, fragment_header, ipv6};
use homeward_port::{MAX_EXTENSIONS, Reason, Verdict};

use super::{ALL_NODES_V6, Bench, OWN_LINK_LOCAL, OWN_V6, ROUTER_V6, dropped};

/// `headers` times destination options, then the payload.
fn chain(headers: usize, last: u8, payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    for n in 1..=headers {
        octets.extend(destination_options(if n == headers { last } else { 60 }));
    }
    octets.extend(payload);
    octets
}

#[test]
fn an_advertisement_behind_extension_headers_is_found() {
    let mut bench = Bench::settled();
    let advertisement = build::router_advertisement();
    for headers in 1..=MAX_EXTENSIONS {
        let packet = ipv6(OWN_LINK_LOCAL, ALL_NODES_V6, 60, &chain(headers, 58, &advertisement));
        assert_eq!(bench.up_v6(&packet), dropped(Reason::Router), "{headers}");
        let ping = ipv6(OWN_LINK_LOCAL, ALL_NODES_V6, 60, &chain(headers, 58, &[128; 8]));
        assert_eq!(bench.up_v6(&ping), Verdict::Pass, "{headers}");
    }
    for first in [0, 43, 135, 139, 140] {
        let packet = ipv6(OWN_LINK_LOCAL, ALL_NODES_V6, first, &chain(1, 58, &advertisement));
        assert_eq!(bench.up_v6(&packet), dropped(Reason::Router), "behind {first}");
    }
    let authentication = [&[58, 4][..], &[0; 22], &advertisement].concat();
    let packet = ipv6(OWN_LINK_LOCAL, ALL_NODES_V6, 51, &authentication);
    assert_eq!(bench.up_v6(&packet), dropped(Reason::Router), "behind an authentication header");
}

#[test]
fn a_chain_longer_than_any_host_sends_is_dropped_unread() {
    let mut bench = Bench::settled();
    let packet = ipv6(OWN_LINK_LOCAL, ALL_NODES_V6, 60, &chain(MAX_EXTENSIONS + 1, 58, &[128; 8]));
    assert_eq!(bench.up_v6(&packet), dropped(Reason::HeaderChain));
}

#[test]
fn an_advertisement_in_fragments_is_found_in_the_first_or_not_sent_at_all() {
    let mut bench = Bench::settled();
    let advertisement = build::router_advertisement();
    // The advertisement behind a fragment header: in one fragment, or as the first of two.
    for more in [false, true] {
        let octets = [&fragment_header(58, 0, more)[..], &advertisement].concat();
        let packet = ipv6(OWN_LINK_LOCAL, ALL_NODES_V6, 44, &octets);
        assert_eq!(bench.up_v6(&packet), dropped(Reason::Router));
    }
    // The first fragment has options only, the advertisement is in the second.
    let whole = chain(2, 58, &advertisement);
    let first = [&fragment_header(60, 0, true)[..], &whole[..16]].concat();
    let packet = ipv6(OWN_LINK_LOCAL, ALL_NODES_V6, 44, &first);
    assert_eq!(bench.up_v6(&packet), dropped(Reason::HeaderChain), "half a chain");
    let first = [&fragment_header(60, 0, true)[..], &whole[..8]].concat();
    let packet = ipv6(OWN_LINK_LOCAL, ALL_NODES_V6, 44, &first);
    assert_eq!(bench.up_v6(&packet), dropped(Reason::HeaderChain), "a third of it");
    // The first fragment ends before the ICMPv6 type.
    let first = [&fragment_header(60, 0, true)[..], &chain(1, 58, &[])].concat();
    let packet = ipv6(OWN_LINK_LOCAL, ALL_NODES_V6, 44, &first);
    assert_eq!(bench.up_v6(&packet), dropped(Reason::HeaderChain), "no type");
}

#[test]
fn fragments_of_what_is_allowed_pass() {
    let mut bench = Bench::settled();
    let ping = [&[128, 0, 0, 0, 0, 0, 0, 0][..], &[7; 1000]].concat();
    let first = [&fragment_header(58, 0, true)[..], &ping[..504]].concat();
    assert_eq!(bench.up_v6(&ipv6(OWN_V6, ROUTER_V6, 44, &first)), Verdict::Pass);
    let second = [&fragment_header(58, 63, false)[..], &ping[504..]].concat();
    assert_eq!(bench.up_v6(&ipv6(OWN_V6, ROUTER_V6, 44, &second)), Verdict::Pass);
    // A second fragment as early as can be, that only looks like an advertisement.
    let second = [&fragment_header(58, 1, false)[..], &build::router_advertisement()].concat();
    assert_eq!(bench.up_v6(&ipv6(OWN_V6, ROUTER_V6, 44, &second)), Verdict::Pass);
    assert_eq!(
        bench.up_v6(&ipv6(ROUTER_V6, ROUTER_V6, 44, &second)),
        dropped(Reason::SourceAddress),
        "a later fragment has a source, too"
    );
}

#[test]
fn neighbour_discovery_in_fragments_is_dropped() {
    let mut bench = Bench::settled();
    for message in [
        build::solicitation(ROUTER_V6, None),
        build::advertisement(0x20, OWN_V6, None),
        build::router_solicitation(None),
    ] {
        assert_eq!(bench.up_v6(&ipv6(OWN_V6, ROUTER_V6, 58, &message)), Verdict::Pass);
        let octets = [&fragment_header(58, 0, false)[..], &message].concat();
        let packet = ipv6(OWN_V6, ROUTER_V6, 44, &octets);
        assert_eq!(bench.up_v6(&packet), dropped(Reason::Fragment));
    }
    let dhcp = build::udp(546, 547, &[1, 0, 0, 1]);
    let octets = [&fragment_header(17, 0, false)[..], &dhcp].concat();
    let packet = ipv6(OWN_V6, ROUTER_V6, 44, &octets);
    assert_eq!(bench.up_v6(&packet), dropped(Reason::Fragment), "DHCP likewise");
}

#[test]
fn headers_that_we_do_not_know_but_a_host_might_are_dropped() {
    let mut bench = Bench::settled();
    for next in [253, 254, 142, 200] {
        let packet = ipv6(OWN_V6, ROUTER_V6, next, &chain(1, 58, &build::router_advertisement()));
        assert_eq!(bench.up_v6(&packet), dropped(Reason::HeaderChain), "{next}");
    }
}

#[test]
fn headers_that_claim_more_than_there_is_are_dropped() {
    let mut bench = Bench::settled();
    for next in [0, 43, 44, 51, 60] {
        for payload in [&[][..], &[58], &[58, 255, 0, 0, 0, 0, 0]] {
            let packet = ipv6(OWN_V6, ROUTER_V6, next, payload);
            assert_eq!(bench.up_v6(&packet), dropped(Reason::HeaderChain), "{next} {payload:?}");
        }
    }
}
