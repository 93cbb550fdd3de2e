//! What was kept is there after a restart, and nowhere else than where it was kept.
// So that clippy knows the helpers for tests too.
#![cfg(test)]

use std::path::Path;

use homeward_vault::{Change, Vault, VaultError};
use sqlx::{ConnectOptions, Connection};
use zeroize::Zeroizing;

fn put(kind: &'static str, name: &str, plain: &[u8]) -> Change {
    Change::Put { kind, name: name.into(), plain: Zeroizing::new(plain.to_vec()) }
}

fn remove(kind: &'static str, name: &str) -> Change {
    Change::Remove { kind, name: name.into() }
}

async fn open(at: &Path) -> Result<Vault, VaultError> {
    Vault::open(&at.join("v.db"), &at.join("v.key")).await
}

async fn all(vault: &Vault, kind: &'static str) -> Vec<(String, Vec<u8>)> {
    let mut kept: Vec<_> = vault.all(kind).await.unwrap().into_iter().collect();
    kept.sort_by(|a, b| a.0.cmp(&b.0));
    kept.into_iter().map(|(name, it)| (String::from_utf8(name).unwrap(), it.to_vec())).collect()
}

/// Changes the file behind the vault's back.
async fn behind(at: &Path, sql: &str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(at.join("v.db"));
    let mut connection = options.connect().await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn fresh() -> tempfile::TempDir {
    let at = tempfile::tempdir().unwrap();
    std::fs::set_permissions(at.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    at
}

/// The vault is free again: what kept it has ended.
async fn reopened(at: &Path) -> Vault {
    loop {
        match open(at).await {
            Err(VaultError::InUse(_)) => tokio::task::yield_now().await,
            other => return other.unwrap(),
        }
    }
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart_and_what_was_removed_is_not() {
    let at = fresh();
    let vault = open(at.path()).await.unwrap();
    vault.commit(vec![put("visit", "a", b"1"), put("visit", "b", b"2")]).await.unwrap();
    vault.commit(vec![put("visit", "a", b"3"), remove("visit", "b")]).await.unwrap();
    vault.commit(vec![put("visit", "c", b"4"), remove("visit", "c")]).await.unwrap();
    vault.commit(vec![remove("key", "x"), put("key", "x", b"")]).await.unwrap();
    drop(vault);
    let vault = reopened(at.path()).await;
    assert_eq!(all(&vault, "visit").await, [("a".to_owned(), b"3".to_vec())]);
    assert_eq!(all(&vault, "key").await, [("x".to_owned(), Vec::new())]);
    assert_eq!(all(&vault, "other").await, []);
}

#[tokio::test]
async fn many_that_keep_at_a_time_are_all_kept() {
    let at = fresh();
    let vault = open(at.path()).await.unwrap();
    let mut keeping = tokio::task::JoinSet::new();
    for n in 0..700 {
        let vault = vault.clone();
        keeping.spawn(async move { vault.commit(vec![put("k", &n.to_string(), &[1])]).await });
    }
    while let Some(kept) = keeping.join_next().await {
        kept.unwrap().unwrap();
    }
    assert_eq!(all(&vault, "k").await.len(), 700);
}

#[tokio::test]
async fn nothing_that_is_kept_can_be_read_in_the_file() {
    let at = fresh();
    let vault = open(at.path()).await.unwrap();
    vault.commit(vec![put("visit", "a", b"a secret of many octets")]).await.unwrap();
    for file in std::fs::read_dir(at.path()).unwrap() {
        let octets = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!octets.windows(8).any(|part| part == b"a secret"));
    }
}

#[tokio::test]
async fn what_was_moved_or_altered_does_not_open() {
    for (sql, misplaced) in [
        ("UPDATE kept SET name = x'63' WHERE name = x'61'", true),
        ("UPDATE kept SET kind = 'key' WHERE name = x'61'", false),
        ("UPDATE kept SET sealed = (SELECT sealed FROM kept WHERE name = x'62')", false),
        ("UPDATE kept SET sealed = substr(sealed, 1, 40)", false),
    ] {
        let at = fresh();
        let vault = open(at.path()).await.unwrap();
        vault.commit(vec![put("visit", "a", b"1"), put("visit", "b", b"2")]).await.unwrap();
        drop(vault);
        behind(at.path(), sql).await;
        let vault = reopened(at.path()).await;
        let (visits, keys) = (vault.all("visit").await, vault.all("key").await);
        let error = visits.err().or(keys.err()).expect(sql);
        assert_eq!(matches!(error, VaultError::Misplaced { .. }), misplaced, "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_vault_is_one_process_s() {
    let at = fresh();
    let _vault = open(at.path()).await.unwrap();
    assert!(matches!(open(at.path()).await, Err(VaultError::InUse(_))));
}

#[tokio::test]
async fn what_is_no_vault_is_left_alone() {
    let at = fresh();
    std::fs::write(at.path().join("v.db"), b"something else, of a length that SQLite reads")
        .unwrap();
    let found = open(at.path()).await.map(drop);
    // There is no key file either, and none is made for a file that is there.
    assert!(matches!(found, Err(VaultError::Key(_))), "{found:?}");
    assert!(!at.path().join("v.key").exists());
    let other = fresh();
    drop(open(other.path()).await.unwrap());
    std::fs::copy(other.path().join("v.key"), at.path().join("v.key")).unwrap();
    let found = open(at.path()).await.map(drop);
    assert!(matches!(found, Err(VaultError::Foreign(_))), "{found:?}");
    std::fs::remove_file(at.path().join("v.db")).unwrap();
    behind_new(at.path()).await;
    let found = open(at.path()).await.map(drop);
    assert!(matches!(found, Err(VaultError::Foreign(_))), "{found:?}");
}

/// Another program's database is there.
async fn behind_new(at: &Path) {
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(at.join("v.db")).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::query("CREATE TABLE theirs (id INTEGER)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn another_vault_s_key_opens_nothing() {
    let (at, other) = (fresh(), fresh());
    let vault = open(at.path()).await.unwrap();
    vault.commit(vec![put("visit", "a", b"1")]).await.unwrap();
    drop(vault);
    drop(open(other.path()).await.unwrap());
    std::fs::copy(other.path().join("v.key"), at.path().join("v.key")).unwrap();
    let vault = reopened(at.path()).await;
    assert!(matches!(vault.all("visit").await, Err(VaultError::Seal(_))));
}
