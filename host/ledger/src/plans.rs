//! How SQLite goes about the statements that run for every record: never through a whole table.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, Row as _};
use tempfile::TempDir;

use crate::bulk::Bulk;
use crate::{export, open, reader, row, writer};

async fn plan(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(explain).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}

#[tokio::test]
async fn no_statement_goes_through_a_table_of_sessions_records_or_usage() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("ledger.db");
    let wait = std::time::Duration::from_secs(1);
    let _lock = open::prepare(&path, true, wait).await.unwrap();
    let mut connection = open::writer(&path, wait).await.unwrap();
    let bulks: [&Bulk; 3] = [&row::LOAD, &row::PUT, &row::PROGRESS];
    let bulks = bulks.iter().flat_map(|bulk| bulk.sql().map(str::to_owned));
    let others = [
        crate::batch::HAS,
        writer::ENDED,
        writer::PENDING,
        writer::FIND,
        writer::CUT,
        writer::CLOSINGS,
        writer::SESSIONS,
        reader::OF_USER,
        reader::OF_ACCOUNT,
        reader::SILENT,
        reader::RUNNING,
        reader::SINCE,
        reader::ENDED,
        reader::CLASSES,
        reader::CHAIN,
        export::AFTER,
    ];
    for statement in bulks.chain(others.map(str::to_owned)) {
        for step in plan(&mut connection, &statement).await {
            let table = ["session", "record", "usage", "closing", " s", " r", " c"];
            let scan = step.strip_prefix("SCAN ");
            let whole = scan
                .is_some_and(|of| table.iter().any(|t| of.trim() == t.trim() && of.trim() != "c"));
            assert!(!whole, "{step} in {statement}");
            // The records of one session are few.
            let sorted = step.contains("TEMP B-TREE") && statement != reader::CHAIN;
            assert!(!sorted, "{step} in {statement}");
        }
    }
    connection.close().await.unwrap();
}
