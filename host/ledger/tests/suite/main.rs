//! The ledger, behaviour by behaviour, and what must hold however it dies.
#![cfg(test)]

mod keeping;
mod world;
