//! What a running module answers, as text.

use serde_json::Value;

use crate::answer::{list, text, unenrolled};
use crate::output::{Table, fields};

pub(super) fn status(status: &Value) -> String {
    fields(&[
        ("network", text(&status["network"])),
        ("key", text(&status["key"])),
        ("devices enrolled", text(&status["enrolled"])),
        ("hops held", text(&status["visits"])),
        ("hops that no server has heard of", text(&status["untold"])),
        ("devices that others have not heard of", unenrolled(&status["unenrolled"])),
    ])
}

pub(super) fn visits(answer: &Value) -> String {
    let header = ["session", "hop", "device", "server", "from", "since", "given to"];
    let mut table = Table::new(header);
    for visit in list(&answer["visits"]) {
        let given: Vec<String> = list(&visit["given_to"]).iter().map(text).collect();
        table.row([
            text(&visit["session"]),
            text(&visit["hop"]["hop"]),
            text(&visit["device"]),
            text(&visit["server"]),
            text(&visit["hop"]["previous"]),
            text(&visit["hop"]["at"]),
            given.join(", "),
        ]);
    }
    table.to_string()
}
