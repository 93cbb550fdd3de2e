//! How well coverage is foreseen on generated walks: the machine, each of its detectors alone, and
//! two that do not look ahead.
//!
//! ```text
//! cargo run --release -p homeward-coverage --example walks -- [--walks N] [--seed S] [--json]
//! cargo run --release -p homeward-coverage --example walks -- --filters [--walks N] [--seed S]
//! ```
//!
//! With `--filters` it is how well a signal is followed, and foreseen 5 s ahead.
#![expect(clippy::print_stdout, reason = "a table is what it is run for")]

use std::process::ExitCode;

use homeward_coverage::Settings;
use homeward_coverage::testing::filters::{self, Filter};
use homeward_coverage::testing::score::{Figures, Who, on_walks};

struct Options {
    walks: u64,
    seed: u64,
    json: bool,
    filters: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { walks: 500, seed: 1, json: false, filters: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let given = words.next().unwrap_or_default();
            given.parse().map_err(|_| format!("{word} {given:?}: give a whole number"))
        };
        match word.as_str() {
            "--walks" => options.walks = number()?,
            "--seed" => options.seed = number()?,
            "--json" => options.json = true,
            "--filters" => options.filters = true,
            _ => {
                return Err(format!(
                    "{word:?}: use [--walks N] [--seed S] [--json] or [--filters]"
                ));
            }
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            println!("walks: {error}");
            return ExitCode::FAILURE;
        }
    };
    if options.filters {
        filters(&options);
        return ExitCode::SUCCESS;
    }
    let (names, all): (Vec<_>, Vec<_>) = Who::all().into_iter().unzip();
    let seeds = options.seed..options.seed.saturating_add(options.walks);
    let figures: Vec<_> = names.into_iter().zip(on_walks(seeds, &all)).collect();
    if options.json {
        for (who, figures) in figures {
            println!("{}", serde_json::json!({ "who": who, "figures": figures }));
        }
    } else {
        table(&figures);
    }
    ExitCode::SUCCESS
}

fn filters(options: &Options) {
    let seeds = options.seed..options.seed.saturating_add(options.walks);
    let (names, all): (Vec<_>, Vec<_>) = Filter::all().into_iter().unzip();
    println!("{} walks; errors in dB\n\n{:<20}    now   then   within", options.walks, "");
    for (name, errors) in
        names.iter().zip(filters::errors(seeds, &all, Settings::default().tracking))
    {
        let within = errors.within.map(|share| format!("{:.0} %", 100.0 * share));
        let within = within.unwrap_or_default();
        println!("{name:<20} {:>6.2} {:>6.2} {within:>8}", errors.now, errors.then);
    }
}

fn table(all: &[(&str, Figures)]) {
    let first = all.first().map(|(_, figures)| (figures.walks, figures.outages));
    let (walks, outages) = first.unwrap_or_default();
    println!(
        "{walks} walks, {outages} outages; shares in %, times in s, switches and tunnels a walk\n"
    );
    println!(
        "                    Leave         Prepare       lead          switches      tunnels  on Wi-Fi  off it  tunnel"
    );
    println!(
        "                    prec. recall  prec. recall  median   p10  mean    most  made     while out while in held"
    );
    for (who, f) in all {
        println!(
            "{who:<18} {:>6.1} {:>6.1} {:>6.1} {:>6.1} {:>7.1} {:>5.1} {:>6.2} {:>6} {:>6.2} {:>9.1} {:>8.1} {:>7.1}",
            100.0 * f.leave_precision,
            100.0 * f.leave_recall,
            100.0 * f.prepare_precision,
            100.0 * f.prepare_recall,
            f.lead_median,
            f.lead_p10,
            f.switches,
            f.most_switches,
            f.tunnels,
            f.exposed,
            f.wasted,
            100.0 * f.held,
        );
    }
}
