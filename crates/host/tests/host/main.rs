//! The host, seen from outside: a guest, a manifest, real requests.

// `cfg(test)` is always so here. It tells the lints that helpers are tests too, and may unwrap.
#[cfg(test)]
mod dependencies;
#[cfg(test)]
mod load;
#[cfg(test)]
mod outbound;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod support;
