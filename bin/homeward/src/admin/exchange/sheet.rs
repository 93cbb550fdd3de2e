//! A CSV file read whole, and what is wrong with it, by line and column.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use csv::StringRecord;
use homeward_daemon::{Exit, ExitContext};

/// How many problems are told of one file.
const TOLD: usize = 20;

/// A CSV file.
pub(super) struct Sheet {
    pub(super) file: PathBuf,
    columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// One record of it.
pub(super) struct Row {
    /// The line it begins on, from 1.
    pub(super) line: u64,
    cells: StringRecord,
}

impl Sheet {
    /// Reads the file. Its first line names the columns: some of `allowed`, at least `required`.
    pub(super) fn read(file: &Path, allowed: &[&str], required: &[&str]) -> anyhow::Result<Self> {
        let wrong = |line: u64, message: String| {
            Err(anyhow!("{}:{line}: {message}", file.display())).exit(Exit::Data)
        };
        let opened =
            std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(opened);
        let mut records = reader.records();
        let Some(header) = records.next() else {
            return wrong(
                1,
                format!(
                    "the file is empty: its first line names columns, such as {}",
                    allowed.join(",")
                ),
            );
        };
        let header = header.map_err(|error| unreadable(file, &error)).exit(Exit::Data)?;
        let columns: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        for (at, name) in columns.iter().enumerate() {
            if !allowed.contains(&name.as_str()) {
                return wrong(
                    1,
                    format!("there is no column {name:?}; there are: {}", allowed.join(", ")),
                );
            }
            if columns.iter().take(at).any(|before| before == name) {
                return wrong(1, format!("the column {name:?} is there twice"));
            }
        }
        if let Some(name) = required.iter().find(|name| !columns.iter().any(|c| c == *name)) {
            return wrong(
                1,
                format!("the column {name:?} is missing; {} are needed", required.join(", ")),
            );
        }
        let mut rows = Vec::new();
        for record in records {
            let cells = record.map_err(|error| unreadable(file, &error)).exit(Exit::Data)?;
            let line = cells.position().map_or(0, csv::Position::line);
            if cells.len() != columns.len() {
                let (has, needs) = (cells.len(), columns.len());
                return wrong(
                    line,
                    format!(
                        "{has} fields, where the first line has {needs}: a field with a comma is quoted"
                    ),
                );
            }
            rows.push(Row { line, cells });
        }
        Ok(Self { file: file.to_owned(), columns, rows })
    }

    /// A row, to be read column by column.
    pub(super) fn reader<'a>(&'a self, row: &'a Row, problems: &'a mut Problems) -> Reader<'a> {
        Reader { sheet: self, row, problems }
    }
}

fn unreadable(file: &Path, error: &csv::Error) -> anyhow::Error {
    let line = error.position().map_or(1, csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "a field is not UTF-8: save the file as UTF-8".to_owned(),
        _ => error.to_string(),
    };
    anyhow!("{}:{line}: {what}", file.display())
}

/// Reads the cells of one row; what is wrong goes to the problems.
pub(super) struct Reader<'a> {
    sheet: &'a Sheet,
    row: &'a Row,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    /// The cell; `None` if the file has no such column.
    fn cell(&self, column: &str) -> Option<&str> {
        let at = self.sheet.columns.iter().position(|name| name == column)?;
        self.row.cells.get(at)
    }

    /// Whether the file has the column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.cell(column).is_some()
    }

    /// A cell that must say something; `None` is a problem, and told.
    pub(super) fn need<T>(
        &mut self,
        column: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.given(column, parse) {
            Some(Some(value)) => Some(value),
            Some(None) => {
                self.problem(column, "is empty, and must not be");
                None
            }
            // A required column is there, so that was a problem.
            None => None,
        }
    }

    /// A cell that may be empty (`Some(None)`), or not be there at all (`None`; also if what it
    /// says is a problem).
    pub(super) fn given<T>(
        &mut self,
        column: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let text = self.cell(column)?;
        if text.is_empty() {
            return Some(None);
        }
        match parse(text) {
            Ok(value) => Some(Some(value)),
            Err(message) => {
                self.problem(column, message);
                None
            }
        }
    }

    /// Tells of a problem in this row.
    pub(super) fn problem(&mut self, column: &'static str, message: impl Into<String>) {
        self.problems.add(self.row.line, column, message);
    }
}

/// Reads a cell by `FromStr`.
pub(super) fn parsed<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// What is wrong with a file.
#[derive(Debug, Clone)]
pub(super) struct Problems {
    file: PathBuf,
    told: Vec<String>,
    count: usize,
}

impl Problems {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), told: Vec::new(), count: 0 }
    }

    pub(super) fn add(&mut self, line: u64, column: &'static str, message: impl Into<String>) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(format!("{}:{line}: {column}: {}", self.file.display(), message.into()));
        }
    }

    /// An error if there is any problem.
    pub(super) fn end(&self) -> Result<(), Self> {
        if self.count == 0 { Ok(()) } else { Err(self.clone()) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.told {
            writeln!(f, "{problem}")?;
        }
        if self.count > self.told.len() {
            writeln!(f, "and {} more", self.count - self.told.len())?;
        }
        f.write_str("nothing was written")
    }
}

impl std::error::Error for Problems {}
