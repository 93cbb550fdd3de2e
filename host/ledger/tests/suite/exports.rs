//! What billing is told: stable, resumable, and summed up.

use homeward_accounting::testing::{nas, record};
use homeward_accounting::{Kind, Private};
use homeward_ledger::{Cursor, Format, Totals};
use homeward_model::Mac;
use serde_json::Value;

use crate::world::{BEGAN, World, at, came, entry};

/// Three sessions that ended, and a correction of one.
async fn world() -> World {
    let world = World::new().await;
    let mut stop = entry("a", Kind::Stop, 60, 100);
    stop.record.station = Some(Mac::new([2, 0, 0x5e, 0x10, 0, 1]));
    stop.record.user_name = Some(Private(b"ann, \"the\" user".to_vec()));
    world.submit(stop).await;
    world.submit(entry("b", Kind::Interim, 60, 10)).await;
    world.ledger.close_silent(at(9000)).await.unwrap();
    let mut unknown = came(record(nas("partner"), "c", Kind::Stop, BEGAN, 5, (1, 2)));
    unknown.owner = None;
    world.submit(unknown).await;
    world.submit(entry("b", Kind::Stop, 70, 15)).await;
    world
}

async fn export(world: &World, format: Format, after: Cursor, limit: u64) -> (String, Totals) {
    let mut out = Vec::new();
    let totals = world.ledger.reader().export(format, after, limit, &mut out).await.unwrap();
    (String::from_utf8(out).unwrap(), totals)
}

#[tokio::test]
async fn json_lines_tell_of_each_end_and_correction_and_sum_up() {
    let world = world().await;
    let (text, totals) = export(&world, Format::JsonLines, Cursor::default(), u64::MAX).await;
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let brief: Vec<_> = lines[..4]
        .iter()
        .map(|l| (l["type"].as_str().unwrap(), l["cause"].as_str().unwrap(), l["input"].as_u64()))
        .collect();
    let expected = [
        ("close", "stop", Some(100)),
        ("close", "lost", Some(10)),
        ("close", "stop", Some(1)),
        ("correction", "stop", Some(5)),
    ];
    assert_eq!(brief, expected);
    assert_eq!(lines[0]["station"], "02:00:5e:10:00:01");
    assert_eq!(lines[0]["user_name"], "ann, \"the\" user");
    assert_eq!(lines[0]["ended"], "2027-01-15T08:01:00.000Z");
    assert_eq!((&lines[0]["account"], &lines[2]["account"]), (&Value::from(1), &Value::Null));
    assert_eq!((&lines[2]["nas"], &lines[3]["total_input"]), (&"partner".into(), &15.into()));
    let control = &lines[4];
    assert_eq!((&control["type"], &control["sessions"]), (&"control".into(), &3.into()));
    assert_eq!((&control["corrections"], &control["input"]), (&1.into(), &116.into()));
    assert_eq!((totals.input, totals.output, totals.seconds), (116, 232, 135));
    let usage = world.usage(11).await;
    assert_eq!(totals.input, usage.input + 1, "what was charged, and what was nobody's");
}

#[tokio::test]
async fn csv_has_the_same_in_columns() {
    let world = world().await;
    let (text, totals) = export(&world, Format::Csv, Cursor::default(), u64::MAX).await;
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let heading = reader.headers().unwrap().clone();
    let column = |name: &str| heading.iter().position(|h| h == name).unwrap();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 5);
    assert_eq!(&rows[0][column("user_name")], "ann, \"the\" user");
    let sum: u64 = rows[..4].iter().map(|r| r[column("output")].parse::<u64>().unwrap()).sum();
    let control = &rows[4];
    assert_eq!((&control[0], &control[column("session")]), ("control", "3"));
    assert_eq!(control[column("output")].parse::<u64>().unwrap(), sum);
    assert_eq!(sum, totals.output);
}

#[tokio::test]
async fn an_export_goes_on_where_the_last_one_ended_and_repeats_itself() {
    let world = world().await;
    let (all, totals) = export(&world, Format::JsonLines, Cursor::default(), u64::MAX).await;
    let mut pieces = Vec::new();
    let (mut at, mut input) = (Cursor::default(), 0);
    loop {
        let (text, totals) = export(&world, Format::JsonLines, at, 1).await;
        assert_eq!((text.clone(), totals), export(&world, Format::JsonLines, at, 1).await);
        let (line, _control) = text.split_once('\n').unwrap();
        if totals.cursor == at {
            break;
        }
        pieces.push(line.to_owned());
        input += totals.input;
        at = totals.cursor;
    }
    assert_eq!(pieces, all.lines().take(4).collect::<Vec<_>>());
    assert_eq!((input, at), (totals.input, totals.cursor));
    world.submit(entry("late", Kind::Stop, 9, 9)).await;
    let (_, after) = export(&world, Format::JsonLines, at, u64::MAX).await;
    assert_eq!((after.sessions, after.input), (1, 9), "only what is new");
}

#[test]
fn a_cursor_file_holds_a_cursor_or_is_not_there_yet() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("cursor");
    assert_eq!(Cursor::read(&path).unwrap(), None);
    for (text, read) in [("120000\n", Some(Cursor(120_000))), ("", None), ("seven\n", None)] {
        std::fs::write(&path, text).unwrap();
        match (Cursor::read(&path), read) {
            (Ok(found), expected @ Some(_)) => assert_eq!(found, expected),
            (Err(error), None) => assert!(error.to_string().ends_with("has no cursor in it")),
            other => panic!("{text:?}: {other:?}"),
        }
    }
    let error = Cursor::read(directory.path()).unwrap_err();
    assert!(error.to_string().ends_with("cannot be read"), "{error}");
}
