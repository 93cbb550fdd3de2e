//! Bodies of fuzz targets.

use std::net::IpAddr;

use crate::proxy;

/// Any octets as a PROXY header: read or refused, and an address that is one.
pub fn fuzz_proxy_header(octets: &[u8]) {
    if let Ok(Some(address)) = proxy::decode(octets) {
        assert_eq!(address, address.to_canonical());
        // What was read is in the octets, where the specification has it.
        let v4 = |v4: std::net::Ipv4Addr| {
            let at = octets.get(16..20) == Some(&v4.octets()[..]);
            at || octets.get(28..32) == Some(&v4.octets()[..])
        };
        let found = match address {
            IpAddr::V4(address) => v4(address),
            IpAddr::V6(address) => octets.get(16..32) == Some(&address.octets()[..]),
        };
        assert!(found, "an address out of nowhere");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_corpus_of_proxy_headers_is_read_without_a_fault() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/http_proxy");
        let files: Vec<_> = fs::read_dir(corpus).unwrap().collect();
        assert!(files.len() >= 4, "only {} files", files.len());
        for file in files {
            fuzz_proxy_header(&fs::read(file.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_a_proxy_header_or_refused(octets: Vec<u8>, whole: bool) {
            let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
            header.extend(&octets);
            fuzz_proxy_header(if whole { &header } else { &octets });
        }
    }
}
