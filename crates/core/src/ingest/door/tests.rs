//! Everything that can happen around the door, tried in every order.
//!
//! Some requests under one key, two of them with one payload and one with another; a storage, a broker, a clock. Each step of a request
//! may come through, come through without an answer, come through late, not come through, or be the last thing that the request does.
//! All orders of all of that are tried, with a bound on how much goes wrong, until no state is new.

mod explore;
mod paths;
