//! RFC 7616 section 3.9.1, "Example with SHA-256 and MD5", and what is not taken.
#![cfg(test)]

use homeward_digest::{Algorithm, Credentials, challenge};

const SHA: &str = r#"Digest username="Mufasa",
    realm="http-auth@example.org",
    uri="/dir/index.html",
    algorithm=SHA-256,
    nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    nc=00000001,
    cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    qop=auth,
    response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;

fn md5() -> String {
    SHA.replace("SHA-256", "MD5").replace(
        "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        "8ca523f5e9506fed4657c9700eebdbec",
    )
}

#[test]
fn the_answers_of_the_rfc_are_right_and_others_are_not() {
    for (text, algorithm) in [(SHA, Algorithm::Sha256), (&md5(), Algorithm::Md5)] {
        let read = Credentials::read(text).unwrap();
        assert_eq!((read.username, read.uri), ("Mufasa", "/dir/index.html"));
        assert_eq!((read.algorithm, read.count), (algorithm, 1));
        assert!(read.answer("GET", "Circle of Life"));
        assert!(!read.answer("POST", "Circle of Life"));
        assert!(!read.answer("GET", "circle of life"));
        for (from, to) in [
            ("Mufasa", "Simba"),
            ("example.org", "example.net"),
            ("/dir/", "/dur/"),
            ("nc=00000001", "nc=00000002"),
            ("7ypf", "8ypf"),
            ("f2/w", "f3/w"),
            ("f2/w", "f2\u{e9}"),
        ] {
            let altered = text.replace(from, to);
            let right = Credentials::read(&altered).map(|c| c.answer("GET", "Circle of Life"));
            assert_eq!(right, Ok(false), "{to}");
        }
    }
}

#[test]
fn a_client_that_names_no_algorithm_means_md5() {
    let text = md5().replace("algorithm=MD5,", "");
    assert!(Credentials::read(&text).unwrap().answer("GET", "Circle of Life"));
    let text = md5()
        .replace("algorithm=MD5,", "ALGORITHM = \"md5\" ,")
        .replace("qop=auth", "qop=\"auth\"");
    assert!(Credentials::read(&text).unwrap().answer("GET", "Circle of Life"));
}

#[test]
fn what_may_mean_two_things_or_is_hashed_in_another_way_is_not_taken() {
    for (from, to) in [
        ("Digest ", "Basic "),
        ("Digest ", "Digest"),
        ("qop=auth", "qop=auth-int"),
        ("qop=auth,", ""),
        ("nc=00000001,", ""),
        ("nc=00000001", "nc=1"),
        ("nc=00000001", "nc=+0000001"),
        ("algorithm=SHA-256", "algorithm=SHA-256-sess"),
        ("algorithm=SHA-256", "algorithm=MD5"),
        ("response=\"75", "response=\""),
        ("username=\"Mufasa\"", "username=\"Mufasa\", username=\"Simba\""),
        ("username=\"Mufasa\"", "username=\"Mufasa\", userhash=true"),
        ("username=\"Mufasa\"", "username=\"Mu\\fasa\""),
        ("username=\"Mufasa\"", "username=\"Mufasa"),
        ("username=\"Mufasa\",", ""),
        ("username=\"Mufasa\",", "username=\"Mufasa\";"),
        ("cnonce", "cnonc\u{e9}"),
        (",\n    opaque", ",,\n    opaque"),
    ] {
        let text = SHA.replace(from, to);
        assert_ne!(text, SHA, "{from}");
        assert!(Credentials::read(&text).is_err(), "{to}");
    }
    let long = SHA.replace("Mufasa", &"x".repeat(homeward_digest::credentials::MAX_LENGTH));
    assert!(Credentials::read(&long).is_err());
}

#[test]
fn a_challenge_says_what_is_wanted() {
    assert_eq!(
        challenge("sip.example", "0a", Algorithm::Sha256, false),
        r#"Digest realm="sip.example", nonce="0a", algorithm=SHA-256, qop="auth""#
    );
    assert!(challenge("sip.example", "0a", Algorithm::Md5, true).ends_with(", stale=true"));
}
