//! Somebody who has a bearer, and goes through the IMSIs of others.

use crate::cell::{imsi, mac, request};
use crate::core::{World, portal, portal_with};

const GUESSES: u32 = 1000;

/// What a guess came to: status, octets, and seconds to the first of them.
struct Guess {
    sim: u32,
    told: (u32, String),
    seconds: f64,
}

/// Guesses over one connection that is kept open.
fn guess(w: &World, from: &str, sims: &[u32]) -> Vec<Guess> {
    let url = format!("https://{}/offload/v1/credentials", w.portal());
    let transfer = |sim: &u32| {
        let (imsi, mac) = (imsi(*sim), mac(1));
        format!(
            "url = \"{url}\"\nheader = \"Content-Type: application/json\"\ninterface = \"{from}\"\n\
             cacert = \"{}\"\ndata-raw = \"{{\\\"imsi\\\":\\\"{imsi}\\\",\\\"mac\\\":\\\"{mac}\\\"}}\"\n\
             write-out = \" %{{http_code}} %{{time_pretransfer}} %{{time_starttransfer}}\\n\"\nsilent\n",
            w.file("ca.pem")
        )
    };
    let all: Vec<String> = sims.iter().map(transfer).collect();
    let file = w.write("guesses.conf", &all.join("next\n"));
    let said = w.curl(from, &["--config", &file]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), sims.len(), "{said}");
    let read = |(sim, line): (&u32, &&str)| {
        let mut words = line.rsplitn(4, ' ');
        let mut word = || words.next().unwrap().to_owned();
        let (end, begin) = (word(), word());
        let seconds = end.parse::<f64>().unwrap() - begin.parse::<f64>().unwrap();
        let code = word().parse().unwrap();
        Guess { sim: *sim, told: (code, word()), seconds }
    };
    sims.iter().zip(&lines).map(read).collect()
}

#[test]
fn a_thousand_guesses_from_a_live_bearer_tell_nothing_by_word_or_by_time() {
    portal(|w| {
        // Every other one that is guessed is a subscriber's.
        let rows: String =
            (1..=GUESSES / 2).map(|n| format!("{},mobile\n", imsi(100 + 2 * n))).collect();
        let file = w.write("subscribers.csv", &format!("imsi,account\n{rows}"));
        w.admin(&["import", "subscriber", &file]);
        w.attaches(1, "10.45.0.7");
        // And every fourth of them has been given something.
        for n in 0..4u8 {
            let (sim, address) = (102 + 250 * u32::from(n), format!("10.45.1.{n}"));
            w.attaches(sim, &address);
            w.is_given(&address, &request(sim, 10 + n));
        }
        let sims: Vec<u32> = (0..GUESSES).map(|n| 101 + n).collect();
        let guesses = guess(w, "10.45.0.7", &sims);
        let refused = (403, "{\"error\":\"refused\"}".to_owned());
        assert!(guesses.iter().all(|g| g.told == refused));
        assert_eq!(w.counted("other-sim"), u64::from(GUESSES));
        let of = |parity: u32| -> Vec<f64> {
            guesses.iter().filter(|g| g.sim % 2 == parity).map(|g| g.seconds).collect()
        };
        let chance = chance_to_tell(&of(0), &of(1));
        // Of as many samples that are alike, one in a million pairs comes to more than this.
        assert!((chance - 0.5).abs() < 0.1, "the time tells subscribers by {chance}");
    });
}

/// How probable it is that one of the first takes longer than one of the second: a half if the
/// time tells nothing (Mann and Whitney).
fn chance_to_tell(some: &[f64], others: &[f64]) -> f64 {
    let longer = |a: &f64, b: &f64| match a.total_cmp(b) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    let sum: f64 = some.iter().flat_map(|a| others.iter().map(move |b| longer(a, b))).sum();
    sum / (some.len() * others.len()) as f64
}

#[test]
fn a_bearer_has_thirty_guesses_a_minute_and_others_are_not_held_up_by_it() {
    portal_with("", "", |w| {
        w.attaches(1, "10.45.0.7");
        w.attaches(2, "10.45.0.8");
        let sims: Vec<u32> = (0..100).map(|n| 101 + n).collect();
        let guesses = guess(w, "10.45.0.7", &sims);
        let answered = guesses.iter().filter(|g| g.told.0 == 403).count();
        let later = guesses.iter().filter(|g| g.told == (429, String::new())).count();
        assert_eq!((answered, later), (30, 70));
        assert_eq!(guesses[30].told.0, 429, "from the thirty-first on");
        w.is_given("10.45.0.8", &request(2, 2));
    });
}
