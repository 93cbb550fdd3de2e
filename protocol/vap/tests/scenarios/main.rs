//! The machine's behaviour, a sentence at a time.

mod core;
mod hostapd;
mod lab;
mod prepare;
mod room;
