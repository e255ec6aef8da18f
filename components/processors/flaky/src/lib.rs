//! A processor for tests whose behaviour the message chooses.
