//! Runs against a broker and a storage that exist only here.
//!
//! [`sim`] is both services and the link to them, with a clock that only the test moves. [`stories`], [`keeping`], [`checkpoints`], [`claims`] and [`keys`] tell one
//! course of events each, [`costs`] counts requests; [`chaos`] lets a seed choose: which reply comes when, which is lost, who dies.

mod chaos;
mod checkpoints;
mod claims;
mod costs;
mod keeping;
mod keys;
mod sim;
mod stories;
