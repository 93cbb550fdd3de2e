//! What the report promises in all its forms.

use serde_json::Value;

use super::{
    sample::{cut_short, served},
    *,
};

/// Every element that the page may hold.
const ELEMENTS: [&str; 46] = [
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "header",
    "section",
    "footer",
    "p",
    "h1",
    "h2",
    "span",
    "strong",
    "code",
    "ul",
    "ol",
    "li",
    "div",
    "dl",
    "dt",
    "dd",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "figure",
    "figcaption",
    "br",
    "svg",
    "desc",
    "line",
    "text",
    "tspan",
    "circle",
    "rect",
    "ellipse",
    "path",
    "polyline",
    "g",
    "em",
    "small",
];
/// Every attribute that the page may hold: none that runs or loads anything.
const ATTRIBUTES: [&str; 35] = [
    "lang",
    "charset",
    "name",
    "content",
    "class",
    "id",
    "role",
    "viewBox",
    "aria-labelledby",
    "scope",
    "colspan",
    "data-label",
    "x",
    "y",
    "x1",
    "y1",
    "x2",
    "y2",
    "cx",
    "cy",
    "r",
    "rx",
    "ry",
    "width",
    "height",
    "d",
    "points",
    "text-anchor",
    "http-equiv",
    "dx",
    "dy",
    "fill",
    "stroke",
    "transform",
    "title",
];

/// Takes a document apart as strictly as XML asks and returns its visible text.
fn well_formed(html: &str) -> String {
    let mut open: Vec<&str> = Vec::new();
    let mut text = String::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>").expect("a document type");
    while let Some(start) = rest.find('<') {
        text.push_str(&unescaped(&rest[..start]));
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closes what is open");
            continue;
        }
        let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |t| (t, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(ELEMENTS.contains(&name), "element {name}");
        let mut attributes = attributes.trim();
        while !attributes.is_empty() {
            let (name, value) = attributes.split_once("=\"").expect("an attribute has a value");
            assert!(ATTRIBUTES.contains(&name), "attribute {name}");
            let (value, more) = value.split_once('"').expect("a value ends");
            unescaped(value);
            attributes = more.trim_start();
        }
        if name == "style" {
            rest = &rest[rest.find("</style>").expect("the style ends")..];
        }
        if !empty {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    text
}

/// Resolves the five references that the page uses; any other ampersand fails.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, more) = part.split_once(';').expect("a reference ends");
        out.push_str(match name {
            "amp" => "&",
            "lt" => "<",
            "gt" => ">",
            "quot" => "\"",
            "#39" => "'",
            other => panic!("reference {other}"),
        });
        out.push_str(more);
    }
    out
}

/// Where a report takes any text, as JSON pointers: an enum's word is not such a place.
fn free_fields(report: &Report) -> Vec<String> {
    let json = serde_json::to_value(report).unwrap();
    let mut paths = Vec::new();
    strings("", &json, &mut paths);
    paths.retain(|path| {
        let mut changed = json.clone();
        *changed.pointer_mut(path).unwrap() = Value::String("any".to_owned());
        serde_json::from_value::<Report>(changed).is_ok()
    });
    paths
}

fn filled_with(report: &Report, fields: &[String], text: &str) -> Report {
    let mut json = serde_json::to_value(report).unwrap();
    for path in fields {
        *json.pointer_mut(path).unwrap() = Value::String(text.to_owned());
    }
    serde_json::from_value(json).unwrap()
}

fn strings(path: &str, value: &Value, paths: &mut Vec<String>) {
    match value {
        Value::String(_) => paths.push(path.to_owned()),
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(n, v)| strings(&format!("{path}/{n}"), v, paths));
        }
        Value::Object(all) => {
            all.iter().for_each(|(k, v)| strings(&format!("{path}/{k}"), v, paths));
        }
        _ => {}
    }
}

#[test]
fn any_text_in_any_field_stays_text() {
    let hostile = [
        "<script>alert(1)</script>",
        "</title></style></svg><b>",
        "\" onload=\"x\" '",
        "--><!--]]>&amp;&lt;&#x3c;&",
        "<",
        "a > b & c",
        "]]></p>",
        "\u{202E}\u{0}\u{1b}[31m\u{FEFF}",
        "",
        " ",
        "日本語のネットワーク名がここにあります",
        "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW",
    ];
    let mut texts: Vec<String> = hostile.iter().map(|t| (*t).to_owned()).collect();
    // All texts of two of the characters that markup is made of.
    let made_of = ['<', '>', '&', '"', '\'', '/', '=', ';', '-', '!', ' ', '\n', 'x'];
    texts.extend(made_of.iter().flat_map(|a| made_of.iter().map(move |b| format!("{a}{b}"))));
    let fields = free_fields(&served());
    assert!(fields.len() > 60, "only {} fields take any text", fields.len());
    for text in &texts {
        let all = filled_with(&served(), &fields, text);
        // Filled all over, no place is found by its id: so the topology also keeps its ids.
        let mut kept = all.clone();
        kept.topology = served().topology;
        kept.topology.places.iter_mut().for_each(|p| p.name.clone_from(text));
        kept.topology.nodes.iter_mut().for_each(|n| {
            n.detail.clone_from(text);
            n.ssids = vec![text.clone()];
        });
        kept.verdict.failures = vec![text.clone()];
        for report in [all, kept] {
            let html = report.to_html();
            let shown = well_formed(&html);
            assert!(!html.contains('\u{202E}') && !html.contains('\u{1b}'));
            let flat = text.replace(['\n', '\t'], " ");
            if !flat.chars().any(|c| markup::visible(c) != c) {
                assert!(shown.contains(&flat), "{text:?} is shown as it is");
            }
        }
    }
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    let html = served().to_html();
    for word in ["http", "//", "url(", "@import", "src=", "href=", "<script", "<link", "@font-face"]
    {
        assert!(!html.contains(word), "{word}");
    }
    for id in html.split(" id=\"").skip(1).map(|s| s.split('"').next().unwrap()) {
        assert_eq!(html.matches(&format!(" id=\"{id}\"")).count(), 1, "{id} is unique");
    }
    assert_eq!(html.matches("<svg").count(), html.matches("<desc").count());
    assert_eq!(html.matches("<svg").count(), 18);
}

#[test]
fn the_json_form_reads_back_as_it_was() {
    for report in [served(), cut_short(), Report::new("0.1.0", UnixTime(0))] {
        assert_eq!(Report::from_json(&report.to_json().unwrap()).unwrap(), report);
    }
    let json = served().to_json().unwrap();
    assert!(json.contains("\"name\": \"first_packet\"") && json.contains("\"name\": \"Granted\""));
}

#[test]
fn a_report_of_another_schema_version_is_named_as_such() {
    let error = Report::from_json("{\"schema_version\": 99, \"new\": true}").unwrap_err();
    assert!(matches!(error, ReadError::Version(99)));
    assert_eq!(error.to_string(), "the report has schema version 99, this program reads 1");
    assert!(matches!(Report::from_json("[]"), Err(ReadError::Form(_))));
}

#[test]
fn a_run_in_which_all_held_is_served_without_failures() {
    let report = served();
    assert!(report.verdict.passed(), "{:?}", report.verdict);
    let text = well_formed(&report.to_html());
    for said in [
        "Served. 294.1 ms after its first probe, the first packet was through.",
        "It was connected after 163.8 ms.",
        "166 ms with Homeward and 152.2 ms without any look-up",
        "13.8 ms over the floor",
        "118.4 ms",
        "account-suspended",
        "3 moves, one TCP connection: 5.7 MB came through, held to 4 Mbit/s.",
        "silent for 72.9 ms a move",
        "10.77.0.23 (kept)",
        "The phone had its credentials 412.3 ms after it was attached",
        "One TCP connection of 2 Mbit/s: 5.0 MB came through.",
        "make demo",
    ] {
        assert!(text.contains(said), "{said}");
    }
    assert!(!text.contains("not seen") && !text.contains("did not hold"));
}

#[test]
fn a_run_cut_short_says_what_is_missing_and_what_was_seen_last() {
    let report = cut_short();
    assert_eq!(report.verdict.outcome, Service::NotServed);
    let text = well_formed(&report.to_html());
    for said in [
        "Not served. The last thing seen was “Associated”, at 150.3 ms.",
        "Keys, Address and First packet were not seen.",
        "The floor was not measured: nothing to compare with.",
        "The report names nobody who was refused.",
        "Not measured in this run.",
        "not found out",
    ] {
        assert!(text.contains(said), "{said}");
    }
    assert_eq!(walk::failures(None), ["The walk with a download running is missing."]);
    assert_eq!(offload::failures(None), ["The way from cellular to Wi-Fi and back is missing."]);
    assert_eq!(text.matches("not seen").count(), 3 + 2 + 1, "three rows, two sentences, a failure");
    assert!(!text.contains("294.1"), "nothing that is not in the data");
}

#[test]
fn an_empty_report_is_readable_too() {
    let report = Report::new("0.1.0", UnixTime(0));
    let text = well_formed(&report.to_html());
    for said in [
        "Not served. Nothing was seen of the station on the air.",
        "The report does not say who took part.",
        "Nothing was seen of the station.",
        "The report tells no story.",
    ] {
        assert!(text.contains(said), "{said}");
    }
    assert!(console::summary(&report).contains("NOT SERVED"));
}

#[test]
fn each_thing_that_does_not_hold_is_a_failure_with_its_figure() {
    let mut report = served();
    report.refused[0].reached = Reached::Connected;
    report.refused[1].seen_in.clear();
    report.owner = Some(Owner {
        disconnects: 2,
        max_beacon_gap_ms: Some(250.1),
        beacon_gap_limit_ms: 250.0,
        beacons: 9,
    });
    let walk = report.walk.as_mut().unwrap();
    walk.broken = Some("connection reset".into());
    walk.moves[0].address_kept = false;
    walk.moves[1].printer_reached = false;
    report.rounds.ours.clear();
    let offload = report.offload.as_mut().unwrap();
    offload.broken = Some("timed out".into());
    offload.shows_imsi = true;
    offload.changes.iter_mut().for_each(|change| change.lost = 6);
    offload.hops.remove(1);
    let call = report.call.as_mut().unwrap();
    call.moves.iter_mut().for_each(|step| step.up.lost = 6);
    call.hops[2].broken = true;
    call.cut_off_ms = None;
    let outing = report.outing.as_mut().unwrap();
    outing.broken = Some("connection reset".into());
    outing.session_broken = Some("timed out".into());
    outing.moves[1].lease_kept = false;
    outing.spoke_from.push("10.60.0.2".into());
    let verdict = report.judge();
    assert_eq!(verdict.outcome, Service::Served);
    assert_eq!(
        verdict.failures,
        [
            "A stranger got in: the SSID “Lindenhof 7”.",
            "The refusal of A device with a wrong key was seen in neither status nor log.",
            "The owner's station was disconnected 2 ×.",
            "The owner's AP was silent for 250.1 ms; the limit is 250 ms.",
            "The download broke off: connection reset.",
            "At Villa Rosa the phone had another address: 10.77.0.23.",
            "From Haus Nord the printer at home was not reached.",
            "The download over cellular and Wi-Fi broke off: timed out.",
            "The user name that the portal gave shows the IMSI.",
            "Of 3 hand-offs the service has 2 on record.",
            "Hop 2, in lte.example, is without the key of the one before.",
            "On the way to Wi-Fi 6 datagrams were lost; one line before the other loses 5 at most.",
            "On the way to cellular 6 datagrams were lost; one line before the other loses 5 at most.",
            "Hop 3, in lte.example, is without the key of the one before.",
            "On the way to town.example the call lost 6 packets; one way before the other loses 5 at most.",
            "The call went on through a network that is not to be trusted.",
            "The download on the way out and back broke off: connection reset.",
            "The session by SSH broke off: timed out.",
            "At out of coverage the address of the home LAN was another: 10.77.0.41.",
            "The phone spoke from 10.60.0.2 on its way.",
            "The comparison with the scripted floor is missing.",
        ]
    );
    report.verdict = verdict;
    let text = well_formed(&report.to_html());
    assert!(text.contains("What did not hold") && text.contains("connected: it got in"));
    assert!(console::summary(&report).contains("What did not hold: 21."));
}

#[test]
fn further_chapters_follow_the_first_and_are_judged_with_it() {
    let mut report = served();
    let (offload, step) = (report.offload.take(), report.story[0].clone());
    let (call, outing) = (report.call.take(), report.outing.take());
    assert_eq!(call::failures(None), ["The call from network to network is missing."]);
    assert_eq!(outing::failures(None), ["The way out of the house and back is missing."]);
    report.append(Chapter { call, ..Chapter::default() });
    report.append(Chapter { outing, ..Chapter::default() });
    assert_eq!(report.judge().failures, offload::failures(None));
    let chapter = Chapter {
        duration_ms: 1_000,
        story: vec![Step { at_ms: 10.5, ..step.clone() }],
        offload,
        ..Chapter::default()
    };
    let mut whole = report.clone();
    whole.append(chapter);
    assert!(whole.verdict.passed(), "{:?}", whole.verdict);
    assert_eq!(whole.duration_ms, 97_431);
    assert_eq!(whole.story.last(), Some(&Step { at_ms: 96_441.5, ..step }));

    let stopped = Some("no bearer".to_owned());
    report.append(Chapter { stopped, ..Chapter::default() });
    assert_eq!(
        report.verdict.failures,
        ["The way from cellular to Wi-Fi and back is missing.", "The demo stopped: no bearer.",]
    );
}

#[test]
fn no_beacons_is_not_undisturbed() {
    let mut owner = served().owner.unwrap();
    owner.max_beacon_gap_ms = None;
    assert!(!owner.undisturbed());
    assert_eq!(owner::failures(&owner), ["The owner's beacons were not heard."]);
}

#[test]
fn no_flag_covers_another_or_the_pole_of_another() {
    let widths = [90.0, 60.0, 120.0, 80.0, 100.0, 70.0, 110.0, 95.0];
    for poles in [
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        [0.0, 0.0, 0.0, 100.0, 100.0, 101.0, 400.0, 401.0],
        [0.0, 100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0],
        [0.0, 2.0, 45.0, 140.0, 143.0, 160.0, 300.0, 302.0],
    ] {
        let rows = timeline::rows(&poles, &widths);
        for i in 0..poles.len() {
            for j in i + 1..poles.len() {
                assert!(
                    poles[j] >= poles[i] + widths[i] || rows[i] > rows[j],
                    "{poles:?} {rows:?}"
                );
            }
        }
    }
}

#[test]
fn labels_below_each_other_keep_their_order_and_distance() {
    for wanted in
        [vec![0.0, 1.0, 2.0, 90.0], vec![97.0, 98.0, 99.0], vec![0.0, 50.0, 100.0], vec![]]
    {
        let places = timeline::spread(&wanted, 22.0, 100.0);
        assert!(places.windows(2).all(|p| p[1] - p[0] >= 22.0 - 1e-9), "{places:?}");
        assert!(places.iter().all(|p| *p <= 100.0 && *p >= 0.0), "{places:?}");
    }
}

#[test]
fn odd_numbers_break_nothing() {
    let mut report = served();
    report.timeline[3].at_ms = f64::NAN;
    report.timeline[0].at_ms = -12.0;
    report.timeline[8].at_ms = 1e12;
    let walk = report.walk.as_mut().unwrap();
    walk.pace_mbit = f64::NAN;
    walk.moves[0].at_ms = f64::INFINITY;
    walk.moves[1].silent_up_ms = f64::NAN;
    walk.moves[2].at_ms = -1e12;
    let offload = report.offload.as_mut().unwrap();
    offload.credentials_ms = f64::NAN;
    offload.changes[0].at_ms = f64::INFINITY;
    offload.changes[1].silent_ms = f64::NAN;
    offload.hops[1].at_ms = f64::INFINITY;
    offload.hops[2].at_ms = f64::NAN;
    let call = report.call.as_mut().unwrap();
    call.hops[0].at_ms = f64::NAN;
    call.moves[0].at_ms = f64::INFINITY;
    call.moves[1].up.silent_ms = f64::NAN;
    call.cut_off_ms = Some(f64::INFINITY);
    let outing = report.outing.as_mut().unwrap();
    outing.moves[0].at_ms = f64::NAN;
    outing.moves[1].down.silent_ms = f64::INFINITY;
    outing.paths[3].at_ms = f64::NAN;
    outing.signals[0].points[1].0 = f64::INFINITY;
    outing.silences[0].for_ms = f64::NAN;
    outing.silences[1].at_ms = -1e12;
    outing.decisions[0].at_ms = f64::INFINITY;
    report.rounds.ours = vec![f64::INFINITY, 0.0];
    report.rounds.floor = vec![f64::NAN];
    let html = report.to_html();
    well_formed(&html);
    assert!(!html.contains("NaN") && !html.contains("inf"));
    assert_eq!(report.missing(), [Milestone::BssUp]);
    report.timeline.iter_mut().for_each(|m| m.at_ms = 0.0);
    well_formed(&report.to_html());
}

#[test]
fn the_median_is_the_middle_value() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[f64::NAN]), None);
    assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
}

#[test]
fn figures_have_no_more_digits_than_they_need() {
    for (ms, text) in [(0.0, "0"), (-0.01, "0"), (1.25, "1.2"), (12.0, "12"), (-3.5, "-3.5")] {
        assert_eq!(figure(ms), text);
    }
}

#[test]
fn console_lines_stand_in_columns_and_carry_no_escapes() {
    let line = console::line(1204.0, Actor::Station, "probes for \u{1b}[31mhome\nagain");
    assert_eq!(
        line,
        "      1.204 s  station   probes for \u{FFFD}[31mhome\n                         again"
    );
    let coloured = console::Console { colour: true }.line(0.0, Actor::Lab, "on");
    assert_eq!(coloured, "      0.000 s  \u{1b}[2mlab     \u{1b}[0m  on");
}

#[test]
fn the_summary_has_the_figures_of_the_page() {
    let text = console::summary(&served());
    for said in [
        "SERVED: first packet 294.1 ms after the first probe.",
        "  Keys               163.8 ms     +13.5  station   four-way handshake done",
        "  Refused        A stranger: unknown-device (seen in status, log)",
        "  Owner          disconnects 0, largest beacon gap 118.4 ms (limit 250 ms)",
        "  Walk           3 moves, one download (5.7 MB), median silence 72.9 ms",
        "to Haus Nord (heard its probe): silent 190.2 ms down, 204 ms up; still 10.77.0.23",
        "  Outing         3 moves with 10.77.0.41, one download (1.8 MB), 2 changes of access",
        "to out of coverage by cellular: silent 164 ms down, 144 ms up, 3 and 2 lost; still 10.77.0.41",
        "ours 166 ms (of 7), scripted floor 152.2 ms (of 7), difference 13.8 ms",
    ] {
        assert!(text.contains(said), "{said}\n{text}");
    }
    assert!(!text.contains('\u{1b}'));
    assert!(console::summary(&cut_short()).contains("  Keys               not seen"));
}

/// The relative luminance of a colour `#rrggbb` (WCAG 2.2).
fn luminance(colour: &str) -> f64 {
    let part = |at: usize| {
        let c = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
}

#[test]
fn every_text_colour_has_the_contrast_that_wcag_aa_asks_for() {
    let css = include_str!("style.css");
    let palettes: Vec<&str> =
        css.split(":root {").skip(1).map(|p| p.split('}').next().unwrap()).collect();
    assert_eq!(palettes.len(), 2, "light and dark");
    for palette in palettes {
        let colour = |name: &str| {
            let (_, after) = palette.split_once(&format!("--{name}: ")).expect(name);
            luminance(after.split(';').next().unwrap())
        };
        for ink in [
            "ink", "quiet", "station", "gateway", "core", "hostapd", "owner", "stranger", "lab",
            "good", "bad",
        ] {
            for ground in ["paper", "panel"] {
                let (a, b) = (colour(ink), colour(ground));
                let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(contrast >= 4.5, "{ink} on {ground}: {contrast:.2}");
            }
        }
    }
}
