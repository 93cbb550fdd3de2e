//! The controller role: brings gateways together.
