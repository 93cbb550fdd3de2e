//! The messages in all their forms.
#![cfg(test)]

mod any;
mod json;
mod round_trip;
mod secrets;
mod sms;
mod soap;
mod xml;
