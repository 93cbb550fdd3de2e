//! What the tests of this module share.

use std::path::Path;
use std::sync::Arc;

use homeward_model::UnixTime;
use homeward_seal::KeyRing;
use homeward_seal::testing::XorshiftEntropy;
use sqlx::{AssertSqlSafe, Row};
use tempfile::TempDir;

use super::SqliteStore;
use crate::testing::ManualClock;

/// A new datastore.
pub(super) async fn empty() -> (TempDir, SqliteStore) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keys");
    KeyRing::generate(&path, &mut XorshiftEntropy::new(1), UnixTime(0)).unwrap();
    let store = open(directory.path(), 1).await;
    (directory, store)
}

/// The datastore in that directory, opened by one more process. Each has octets of its own.
pub(super) async fn open(directory: &Path, process: u64) -> SqliteStore {
    let keys = KeyRing::load(&directory.join("keys")).unwrap();
    let clock = Arc::new(ManualClock::at(0));
    let entropy = Box::new(XorshiftEntropy::new(process << 8));
    SqliteStore::open(&directory.join("db"), keys, clock, entropy).await.unwrap()
}

/// How SQLite goes about a statement, step by step.
pub(super) async fn plan(store: &SqliteStore, statement: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(explain).fetch_all(&store.readers).await.unwrap();
    rows.iter().map(|row| row.get("detail")).collect()
}
