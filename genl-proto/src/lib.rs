//! What module and controllers say to each other.
