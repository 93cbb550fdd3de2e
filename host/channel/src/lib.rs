//! The control channel's transport: gRPC over mutual TLS, enrolment, certificates.
