//! Whether a request is answered, and with what.
