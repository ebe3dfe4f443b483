//! The pure decisions of the relay.
