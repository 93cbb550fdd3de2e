//! The ledger, behaviour by behaviour, and what must hold however it dies.
#![cfg(test)]

mod books;
mod exports;
mod faults;
mod keeping;
mod kill;
mod world;
