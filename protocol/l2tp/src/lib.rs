//! Ethernet pseudowires over L2TPv3: frames, sequence, fragments, path probes.
