//! The limits and times of the offload machine, as far as the operator's policy does not say them.

use homeward_daemon::Period;
use homeward_daemon::config::Invalid;
use homeward_model::Rssi;
use homeward_offload::manager::Settings;
use serde::Deserialize;

/// Makes the table of [`Settings`]: each key is a field's name, and what is not given is the
/// default.
macro_rules! limits {
    (
        at least a second: $($second:ident)*;
        any span: $($span:ident)*;
        at least one: $($count:ident: $number:ty,)*;
        any: $($free:ident: $kind:ty,)*;
    ) => {
        /// Limits and times; see [`Settings`] for what each is.
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[expect(missing_docs, reason = "each is said of the field of Settings with its name")]
        pub struct Limits {
            $(pub $second: Option<Period>,)*
            $(pub $span: Option<Period>,)*
            $(pub $count: Option<$number>,)*
            $(pub $free: Option<$kind>,)*
        }

        impl Limits {
            /// The machine's settings.
            pub fn settings(&self) -> Settings {
                let mut settings = Settings::default();
                $(if let Some(Period(span)) = self.$second { settings.$second = span; })*
                $(if let Some(Period(span)) = self.$span { settings.$span = span; })*
                $(if let Some(count) = self.$count { settings.$count = count; })*
                $(if let Some(free) = self.$free { settings.$free = free; })*
                settings
            }

            /// Checks what its types do not say.
            ///
            /// # Errors
            ///
            /// Names the first key that is wrong.
            pub(super) fn check(&self) -> Result<(), Invalid> {
                $(if self.$second.is_some_and(|Period(span)| span.as_secs() == 0) {
                    return Err(Invalid::new(concat!("limits.", stringify!($second)), "give 1s or more"));
                })*
                $(if self.$count == Some(0) {
                    return Err(Invalid::new(concat!("limits.", stringify!($count)), "give 1 or more"));
                })*
                Ok(())
            }
        }
    };
}

limits! {
    at least a second:
        request away away_most refused refused_most useless rejected rejected_most
        scan_far scan_near program associate authenticate address verify recheck leave
        penalty penalty_most;
    any span: spread smoothing gap measure measure_ready bare verify_pause linger short;
    at least one: requests_per_hour: u16, verify_tries: u8, max_bsses: usize,;
    any: floor: Rssi, early: bool,;
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_daemon::config;
    use std::time::Duration;

    fn parse(text: &str) -> Result<Limits, String> {
        #[derive(Deserialize)]
        struct File {
            limits: Limits,
        }
        let text = format!("[limits]\n{text}");
        let file: Result<File, _> =
            config::parse("device.toml".as_ref(), &text, |file: &File| file.limits.check());
        file.map(|file| file.limits).map_err(|error| error.to_string())
    }

    #[test]
    fn each_limit_is_taken_and_what_is_not_given_is_the_default() {
        let limits =
            parse("penalty = \"5s\"\nbare = \"300ms\"\nverify_tries = 3\nfloor = -80").unwrap();
        let expected = Settings {
            penalty: Duration::from_secs(5),
            bare: Duration::from_millis(300),
            verify_tries: 3,
            floor: Rssi(-80),
            ..Settings::default()
        };
        assert_eq!(limits.settings(), expected);
        assert_eq!(parse("").unwrap().settings(), Settings::default());
    }

    #[test]
    fn what_would_make_it_spin_is_refused_and_named() {
        for (text, key) in [
            ("request = \"900ms\"", "limits.request"),
            ("scan_near = \"0s\"", "limits.scan_near"),
            ("requests_per_hour = 0", "limits.requests_per_hour"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(key), "{said}");
        }
    }

    #[test]
    fn the_file_that_ships_names_every_limit_with_its_default() {
        let shipped = include_str!("../../../../packaging/device.toml");
        let (_, after) = shipped.split_once("[limits]\n").unwrap();
        let (table, _) = after.split_once("\n[").unwrap();
        let given: Vec<&str> = table
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')))
            .collect();
        let limits = parse(&given.join("\n")).unwrap();
        assert_eq!(limits.settings(), Settings::default());
        let printed = format!("{limits:?}");
        assert!(!printed.contains("None"), "not every one: {printed}");
    }
}
