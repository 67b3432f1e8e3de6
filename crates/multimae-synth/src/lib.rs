//! Generated rooms.
