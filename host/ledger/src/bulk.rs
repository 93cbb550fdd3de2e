//! Statements over many rows at once: each costs a hop to SQLite's thread, however many rows it
//! has.

use sqlx::Arguments as _;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};

/// How many rows a statement has, at most and in between: so few kinds that each is prepared once.
const SIZES: [usize; 5] = [128, 32, 8, 2, 1];

/// A value to bind.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Word(&'static str),
    Text(String),
    Blob(Vec<u8>),
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Self::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Int(i64::from(b))
    }
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, T::into)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(octets: Vec<u8>) -> Self {
        Self::Blob(octets)
    }
}

/// A statement whose middle is `VALUES (…), (…)`.
#[derive(Debug)]
pub(crate) struct Bulk {
    columns: usize,
    sql: [String; SIZES.len()],
}

impl Bulk {
    /// `head VALUES (…), (…) tail`, with so many columns in each row.
    pub(crate) fn new(head: &str, columns: usize, tail: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let sql =
            SIZES.map(|n| format!("{head} VALUES {} {tail}", vec![row.as_str(); n].join(", ")));
        Self { columns, sql }
    }

    /// What is run, by how many rows it takes.
    #[cfg(test)]
    pub(crate) fn sql(&self) -> [&str; SIZES.len()] {
        self.sql.each_ref().map(String::as_str)
    }

    /// Runs it over rows that lie one after the other in `values`.
    pub(crate) async fn run(
        &'static self,
        connection: &mut SqliteConnection,
        values: Vec<Value>,
    ) -> Result<(), sqlx::Error> {
        for (sql, arguments) in self.chunks(values)? {
            sqlx::query_with(sql, arguments).execute(&mut *connection).await?;
        }
        Ok(())
    }

    /// The same, for a statement that returns rows.
    pub(crate) async fn fetch(
        &'static self,
        connection: &mut SqliteConnection,
        values: Vec<Value>,
    ) -> Result<Vec<sqlx::sqlite::SqliteRow>, sqlx::Error> {
        let mut rows = Vec::new();
        for (sql, arguments) in self.chunks(values)? {
            rows.extend(sqlx::query_with(sql, arguments).fetch_all(&mut *connection).await?);
        }
        Ok(rows)
    }

    fn chunks(
        &'static self,
        values: Vec<Value>,
    ) -> Result<Vec<(&'static str, SqliteArguments)>, sqlx::Error> {
        let mut left = values.len() / self.columns;
        let mut values = values.into_iter();
        let mut chunks = Vec::new();
        while left > 0 {
            let fits = SIZES.iter().zip(&self.sql).find(|(n, _)| **n <= left);
            let Some((n, sql)) = fits else { break };
            let mut arguments = SqliteArguments::default();
            arguments.reserve(n * self.columns, 0);
            for value in values.by_ref().take(n * self.columns) {
                match value {
                    Value::Null => arguments.add(None::<i64>),
                    Value::Int(n) => arguments.add(n),
                    Value::Word(word) => arguments.add(word),
                    Value::Text(text) => arguments.add(text),
                    Value::Blob(octets) => arguments.add(octets),
                }
                .map_err(sqlx::Error::Encode)?;
            }
            chunks.push((sql.as_str(), arguments));
            left -= n;
        }
        Ok(chunks)
    }
}
