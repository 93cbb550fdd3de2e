//! No octets make a decoder panic; the fuzz targets' bodies, here on their seeds and on mangled
//! ones.

use homeward_channel::testing::{fuzz_certificate, fuzz_signing_request, fuzz_token};
use homeward_channel::{CertificateError, Presented, SigningRequest, SigningRequestError, Token};
use homeward_model::GatewayId;
use proptest::prelude::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");

fn seed(target: &str, name: &str) -> Vec<u8> {
    std::fs::read(format!("{CORPUS}{target}/{name}")).unwrap()
}

#[test]
fn the_seeds_are_what_they_are_called() {
    for (target, body) in [
        ("channel_token", fuzz_token as fn(&[u8])),
        ("channel_certificate", fuzz_certificate),
        ("channel_request", fuzz_signing_request),
    ] {
        for seed in std::fs::read_dir(format!("{CORPUS}{target}")).unwrap() {
            body(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }
    let token = String::from_utf8(seed("channel_token", "token")).unwrap();
    assert!(token.parse::<Token>().is_ok());
    let gateway = Presented::read(&seed("channel_certificate", "gateway")).unwrap();
    assert_eq!(gateway.gateway, GatewayId(7));
    for name in ["authority", "core"] {
        let read = Presented::read(&seed("channel_certificate", name));
        assert_eq!(read, Err(CertificateError::NoGateway), "{name}");
    }
    assert!(SigningRequest::read(&seed("channel_request", "request")).is_ok());
    let read = SigningRequest::read(&seed("channel_request", "forged"));
    assert_eq!(read.err(), Some(SigningRequestError::Signature));
}

#[test]
fn a_signing_request_of_another_kind_of_key_is_refused() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let read = SigningRequest::read(request.der());
    assert_eq!(read.err(), Some(SigningRequestError::Key));
    assert_eq!(SigningRequest::read(&[0; 5000]).err(), Some(SigningRequestError::Malformed));
}

proptest! {
    #[test]
    fn a_seed_with_some_octets_changed_is_no_trouble(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut: prop::sample::Index,
    ) {
        for (target, name, body) in [
            ("channel_certificate", "gateway", fuzz_certificate as fn(&[u8])),
            ("channel_request", "request", fuzz_signing_request),
            ("channel_token", "token", fuzz_token),
        ] {
            let mut octets = seed(target, name);
            body(&octets[..cut.index(octets.len())]);
            for (at, value) in &changes {
                let at = at.index(octets.len());
                octets[at] = *value;
            }
            body(&octets);
        }
    }
}
