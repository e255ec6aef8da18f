//! Components, emulator and host in one process.
