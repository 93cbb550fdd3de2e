//! The page: one HTML document that needs nothing but itself.
//!
//! It is also well-formed XML, which is how the tests prove that no text of a report gets out
//! of its place.

use super::markup::{Esc, put};
use super::{
    Mark, Milestone, Outcome, Owner, Reached, Refused, Report, SeenIn, Service, Walk, absence,
    absent, call, dots, figure, handoff, octets, offload, outing, scene, timeline, walk,
};

/// Inlined: the page loads nothing.
const STYLE: &str = include_str!("style.css");

/// The whole document.
pub(super) fn html(report: &Report) -> String {
    let headline = headline(report);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>Homeward demo: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        Esc(&headline.short)
    );
    let class = if report.verdict.passed() { "good" } else { "bad" };
    put(
        &mut out,
        format_args!(
            "<header>\n<p class=\"kicker\">Homeward demo · {}</p>\n\
         <h1><span class=\"stamp {class}\">{}</span> {}</h1>\n<p class=\"lead\">{}</p>\n",
            Esc(&report.started.to_string().replace('T', " ").replace('Z', " UTC")),
            headline.stamp,
            Esc(&headline.sentence),
            Esc(&headline.lead)
        ),
    );
    out.push_str(&failures(&report.verdict.failures));
    out.push_str("</header>\n");
    for (id, title, body) in [
        ("scene", "The scene", scene_section(report)),
        ("way", "From first probe to first packet", way(report)),
        (
            "walk",
            "From gateway to gateway, with a download running",
            walk_section(report.walk.as_ref()),
        ),
        (
            "offload",
            "From cellular to Wi-Fi and back, with a download running",
            offload::section(report.offload.as_ref()),
        ),
        ("handoffs", "Every hand-off proves itself", handoff::section(report.offload.as_ref())),
        ("call", "A call that goes on, and why", call::section(report.call.as_ref())),
        (
            "outing",
            "Out of the house and back, with one address",
            outing::section(report.outing.as_ref()),
        ),
        ("floor", "Beside the scripted floor", floor(report)),
        ("refused", "Who was refused", refused(&report.refused)),
        ("owner", "What the owner noticed", owner(report.owner.as_ref())),
        ("story", "The run, step by step", story(report)),
        ("machine", "What it ran on", machine(report)),
    ] {
        put(
            &mut out,
            format_args!(
                "<section aria-labelledby=\"h-{id}\">\n<h2 id=\"h-{id}\">{title}</h2>\n{body}</section>\n"
            ),
        );
    }
    out.push_str(
        "<footer>\n<p>To repeat: <code>make demo</code>. The same data, for programs: \
         <code>report.json</code> beside this page.</p>\n</footer>\n</main>\n</body>\n</html>\n",
    );
    out
}

/// What the top of the page says.
struct Headline {
    stamp: &'static str,
    sentence: String,
    lead: String,
    short: String,
}

fn headline(report: &Report) -> Headline {
    let missing = report.missing();
    let packet = report.at(&Milestone::FirstPacket);
    let (stamp, sentence) = match (report.verdict.outcome, packet) {
        (Service::Served, Some(at)) => (
            "Served.",
            format!("{} ms after its first probe, the first packet was through.", figure(at)),
        ),
        (Service::Served, None) => {
            ("Served,", "says the run; but no first packet is in its data.".to_owned())
        }
        (Service::NotServed, _) => (
            "Not served.",
            match report.last_seen() {
                Some(mark) => {
                    format!(
                        "The last thing seen was “{}”, at {} ms.",
                        mark.name,
                        figure(mark.at_ms)
                    )
                }
                None => "Nothing was seen of the station on the air.".to_owned(),
            },
        ),
    };
    let mut lead = String::new();
    if missing.is_empty() && report.verdict.outcome == Service::Served {
        lead.push_str(
            "A Wi-Fi station that knows nothing but its home SSID and key was served by a \
             stranger’s gateway, under that SSID and key.",
        );
        if let Some(at) = report.at(&Milestone::Keys) {
            put(&mut lead, format_args!(" It was connected after {} ms.", figure(at)));
        }
        if let Some(silent) = report.walk.as_ref().and_then(Walk::silent_median) {
            put(
                &mut lead,
                format_args!(
                    " Then it went from gateway to gateway with a download running, and was silent \
                     for {} ms a move.",
                    figure(silent)
                ),
            );
        }
    } else if !missing.is_empty() {
        put(&mut lead, format_args!("{}.", absent(&missing)));
    }
    let short = format!("{stamp} {sentence}");
    Headline { stamp, sentence, lead, short }
}

fn failures(failures: &[String]) -> String {
    if failures.is_empty() {
        return String::new();
    }
    let items: Vec<String> = failures.iter().map(|f| format!("<li>{}</li>\n", Esc(f))).collect();
    format!(
        "<div class=\"notice bad-edge\">\n<h2>What did not hold</h2>\n<ul>\n{}</ul>\n</div>\n",
        items.concat()
    )
}

fn scene_section(report: &Report) -> String {
    let drawings = scene::drawings(report);
    if drawings.is_empty() {
        return absence("The report does not say who took part.");
    }
    format!(
        "<figure>\n{drawings}<figcaption>The domes are the reach of each gateway’s radio. A sketch, \
         not to scale.</figcaption>\n</figure>\n"
    )
}

fn way(report: &Report) -> String {
    let marks = report.marks();
    let missing = report.missing();
    let mut out = String::new();
    if marks.is_empty() {
        out.push_str(&absence("Nothing was seen of the station."));
    } else {
        put(&mut out, format_args!("<figure>\n{}</figure>\n", timeline::drawings(report)));
    }
    if !marks.is_empty() && !missing.is_empty() {
        out.push_str(&absence(&format!("{}.", absent(&missing))));
    }
    let mut rows = String::new();
    let mut previous: Option<&Mark> = None;
    for mark in marks {
        let step = previous
            .map_or_else(|| "–".to_owned(), |p| format!("+{}", tenth(mark.at_ms - p.at_ms)));
        put(
            &mut rows,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td data-label=\"who\" class=\"ink-{1}\">{1}</td>\
             <td data-label=\"at, ms\" class=\"number\">{2}</td><td data-label=\"step, ms\" class=\"number\">{3}</td>\
             <td data-label=\"seen\">{4}</td></tr>\n",
                Esc(&mark.name.to_string()),
                mark.actor,
                tenth(mark.at_ms),
                step,
                Esc(&mark.detail)
            ),
        );
        previous = Some(mark);
    }
    for name in missing {
        put(
            &mut rows,
            format_args!(
                "<tr class=\"missing\"><th scope=\"row\">{name}</th><td data-label=\"seen\" colspan=\"4\">not seen</td></tr>\n"
            ),
        );
    }
    let heads =
        [("moment", ""), ("who", ""), ("at, ms", "number"), ("step, ms", "number"), ("seen", "")];
    out + &table(
        "moments",
        "Moments of the service, in ms since the first probe, and from one to the next",
        &heads,
        &rows,
    )
}

fn walk_section(walk: Option<&Walk>) -> String {
    let Some(walk) = walk.filter(|walk| !walk.moves.is_empty()) else {
        return absence("Not measured in this run.");
    };
    let mut out = String::new();
    if let Some(silent) = walk.silent_median() {
        put(
            &mut out,
            format_args!(
                "<p>{} moves, one TCP connection: {} came through, held to {} Mbit/s. Datagrams sent \
                 every 10 ms were silent for <strong>{} ms</strong> a move (median; of the two \
                 directions the longer).</p>\n",
                walk.moves.len(),
                octets(walk.downloaded()),
                figure(walk.pace_mbit),
                figure(silent)
            ),
        );
    }
    put(&mut out, format_args!("<figure>\n{}</figure>\n", walk::drawings(walk)));
    let mut rows = String::new();
    for step in &walk.moves {
        let (address, class) = if step.address_kept { ("kept", "") } else { ("another", "bad") };
        let printer = if step.printer_reached { "" } else { "bad" };
        put(
            &mut rows,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td data-label=\"expected\">{}</td>\
                 <td data-label=\"silent down, ms\" class=\"number\">{}</td>\
                 <td data-label=\"silent up, ms\" class=\"number\">{}</td>\
                 <td data-label=\"download stood, ms\" class=\"number\">{}</td>\
                 <td data-label=\"address\" class=\"{class}\">{} ({address})</td>\
                 <td data-label=\"home printer\" class=\"{printer}\">{}</td></tr>\n",
                Esc(&step.to),
                step.expected.words(),
                tenth(step.silent_down_ms),
                tenth(step.silent_up_ms),
                tenth(step.stalled_ms),
                Esc(&step.address),
                if step.printer_reached { "reached" } else { "not reached" }
            ),
        );
    }
    let heads = [
        ("to", ""),
        ("how it was expected", ""),
        ("silent down, ms", "number"),
        ("silent up, ms", "number"),
        ("download stood, ms", "number"),
        ("address", ""),
        ("home printer", ""),
    ];
    out + &table("cards", "Each move", &heads, &rows)
}

fn floor(report: &Report) -> String {
    let rounds = &report.rounds;
    let drawings = dots::drawings(rounds);
    let mut out = String::new();
    match (rounds.ours_median(), rounds.floor_median()) {
        (Some(ours), Some(floor)) => put(
            &mut out,
            format_args!(
                "<p>First probe to connected takes {} ms with Homeward and {} ms without any look-up \
             (medians of {} and {} rounds in the same VM): <strong>{}</strong>.</p>\n",
                figure(ours),
                figure(floor),
                rounds.ours.len(),
                rounds.floor.len(),
                difference(ours - floor)
            ),
        ),
        (Some(_), None) => {
            out.push_str(&absence("The floor was not measured: nothing to compare with."))
        }
        (None, Some(_)) => {
            out.push_str(&absence("Only the floor was measured: nothing to compare."))
        }
        (None, None) => return absence("Not measured in this run."),
    }
    put(
        &mut out,
        format_args!(
            "<figure>\n{drawings}<figcaption>Each dot is one round. The floor is a script that adds the \
         BSS at the first probe and asks nobody.</figcaption>\n</figure>\n"
        ),
    );
    out
}

fn difference(ms: f64) -> String {
    match figure(ms.abs()).as_str() {
        "0" => "no difference".to_owned(),
        text if ms > 0.0 => format!("{text} ms over the floor"),
        text => format!("{text} ms under the floor"),
    }
}

fn refused(all: &[Refused]) -> String {
    if all.is_empty() {
        return absence("The report names nobody who was refused.");
    }
    let mut rows = String::new();
    for one in all {
        let (reached, class) = match one.reached {
            Reached::None => ("nothing seen of it", ""),
            Reached::Probed => ("probed, no answer", ""),
            Reached::Authenticated => ("authenticated, no further", ""),
            Reached::Associated => ("associated, no keys", ""),
            Reached::Connected => ("connected: it got in", "bad"),
        };
        let seen: Vec<&str> = one.seen_in.iter().map(|s| SeenIn::word(*s)).collect();
        let seen = if seen.is_empty() { "nowhere".to_owned() } else { seen.join(", ") };
        put(
            &mut rows,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td data-label=\"tried\">{}</td>\
             <td data-label=\"reason\"><span><strong>{}</strong><br/>{}</span></td>\
             <td data-label=\"came as far as\" class=\"{class}\">{reached}</td><td data-label=\"seen in\">{seen}</td></tr>\n",
                Esc(&one.who),
                Esc(&one.tried),
                Esc(&one.reason),
                Esc(&one.message)
            ),
        );
    }
    let heads =
        [("who", ""), ("tried", ""), ("reason", ""), ("came as far as", ""), ("seen in", "")];
    table("cards", "Those who asked and were not to get in", &heads, &rows)
}

fn owner(owner: Option<&Owner>) -> String {
    let Some(owner) = owner else { return absence("Not measured in this run.") };
    let gap = owner
        .max_beacon_gap_ms
        .map_or_else(|| "none heard".to_owned(), |g| format!("{} ms", figure(g)));
    let class = |good: bool| if good { "good" } else { "bad" };
    let within = owner.max_beacon_gap_ms.is_some_and(|g| g <= owner.beacon_gap_limit_ms);
    let sentence = if owner.undisturbed() {
        "Nothing: the owner’s own station stayed connected, and the owner’s beacons kept coming."
    } else {
        "The owner was disturbed, or it cannot be told that they were not."
    };
    format!(
        "<p>{sentence}</p>\n<dl class=\"tiles\">\n\
         <div><dt>disconnects</dt><dd class=\"{}\">{}</dd></div>\n\
         <div><dt>largest beacon gap</dt><dd class=\"{}\">{gap}</dd></div>\n\
         <div><dt>limit</dt><dd>{} ms</dd></div>\n\
         <div><dt>beacons heard</dt><dd>{}</dd></div>\n</dl>\n",
        class(owner.disconnects == 0),
        owner.disconnects,
        class(within),
        figure(owner.beacon_gap_limit_ms),
        owner.beacons
    )
}

fn story(report: &Report) -> String {
    if report.story.is_empty() {
        return absence("The report tells no story.");
    }
    let mut items = String::new();
    for step in &report.story {
        let (class, word) = match step.outcome {
            Outcome::Done => ("done", ""),
            Outcome::Refused => ("refused", "refused"),
            Outcome::Failed => ("failed", "failed"),
            Outcome::Note => ("note", ""),
        };
        let badge = if word.is_empty() {
            String::new()
        } else {
            format!(" <span class=\"badge {class}\">{word}</span>")
        };
        let detail = if step.detail.is_empty() {
            String::new()
        } else {
            format!("<p>{}</p>", Esc(&step.detail))
        };
        put(
            &mut items,
            format_args!(
                "<li class=\"{class}\"><span class=\"at\">{:.3} s</span> <span class=\"who ink-{1}\">{1}</span>\
             <div><strong>{2}</strong>{badge}{detail}</div></li>\n",
                step.at_ms / 1000.0,
                step.actor,
                Esc(&step.title)
            ),
        );
    }
    format!("<ol class=\"story\">\n{items}</ol>\n")
}

fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let told = |text: &Option<String>| match text {
        Some(text) => Esc(text).to_string(),
        None => "<span class=\"absent\">not found out</span>".to_owned(),
    };
    let mut out = String::from("<dl class=\"facts\">\n");
    for (name, value) in [
        ("Homeward", Esc(&report.product_version).to_string()),
        ("kernel", told(&machine.kernel)),
        ("hostapd", told(&machine.hostapd)),
        ("wpa_supplicant", told(&machine.wpa_supplicant)),
        ("simulated radios", machine.radios.to_string()),
        ("CPU", told(&machine.cpu)),
        (
            "the run took",
            format!("{:.1} s", std::time::Duration::from_millis(report.duration_ms).as_secs_f64()),
        ),
        ("schema version", report.schema_version.to_string()),
    ] {
        put(&mut out, format_args!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    }
    out + "</dl>\n"
}

/// A table that turns into labelled lines on a narrow page. The roles are spelled out because
/// a browser forgets them where the style sheet lays a table out as something else.
pub(super) fn table(class: &str, caption: &str, heads: &[(&str, &str)], rows: &str) -> String {
    let heads: Vec<String> = heads
        .iter()
        .map(|(name, class)| {
            format!("<th role=\"columnheader\" scope=\"col\" class=\"{class}\">{name}</th>")
        })
        .collect();
    // The rows' text is escaped: a `<` in them opens a tag of ours.
    let rows = rows
        .replace("<tr", "<tr role=\"row\"")
        .replace("<th", "<th role=\"rowheader\"")
        .replace("<td", "<td role=\"cell\"");
    format!(
        "<table class=\"{class}\" role=\"table\">\n<caption>{caption}</caption>\n\
         <thead role=\"rowgroup\"><tr role=\"row\">{}</tr></thead>\n\
         <tbody role=\"rowgroup\">\n{rows}</tbody>\n</table>\n",
        heads.concat()
    )
}

/// With exactly one decimal, so that the points stand below each other.
pub(super) fn tenth(ms: f64) -> String {
    if ms.is_finite() { format!("{ms:.1}") } else { figure(ms) }
}
