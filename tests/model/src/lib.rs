//! The record protocol, checked in all interleavings within bounds.
//!
//! What runs here is core's own code. The model is what surrounds it: a broker, a storage, stores for the effects, workers that die and
//! sleep, and requests that are never answered. [`ProtocolModel`] tells the checker ([`stateright`]) what may happen in a state, and the
//! checker tries all of it, from every state, until no state is new. A [`Rule`] is what must never happen, an [`Event`] what must be
//! able to, and a [`Switch`] breaks something that the protocol rests on, to show that the checker would notice.
//!
//! # Reading it beside core
//!
//! | [`Action`] | runs, in `crates/core/src` |
//! |---|---|
//! | `Receive` | `run/delivery.rs`: `Handling::new`, `begin` |
//! | `Perform`, the reply | `run/delivery.rs`: `on_reply`; `run/writing.rs`: what a reply says about a write; `record/finding.rs`: `examine`, the table of what a delivery finds; `run/delivery/settling.rs`: `on_written` |
//! | `Perform`, a record on its way into the storage | `record/codec.rs`: `to_metadata`, `from_metadata` |
//! | `Unanswered` | `run/writing.rs`: the look, the mark, and the same write again |
//! | `Begin` | `run/delivery.rs`: `work` |
//! | `Answer` | `run/delivery/settling.rs`: `on_step`, and with it `record/mod.rs`: `checkpoint`, `finish`, `release`, `park` |
//! | `Deadline` | `run/delivery/settling.rs`: `on_deadline` |
//! | `Renew` | `run/delivery/keeping.rs`: `keep`, `on_kept` |
//! | `Perform`, of a large checkpoint | `run/delivery/checkpoints.rs`: `on_stored`, `on_loaded` |
//! | `Resume` | `run/delivery.rs`: `on_waited`, `on_alone` |
//! | `Crash`, `Land`, `Lapse`, `Tick` | nothing: these happen to us |
//!
//! What a copy looks like (`run/copies.rs`) is core's as well: the broker keeps what it was sent, and delivers that.
//!
//! # What is left out, and why that hides nothing
//!
//! The model does more than can happen, or the same in fewer steps; never less, within its bounds.
//!
//! * **One id.** Records of different ids share nothing. A sender's duplicates, and another payload under the same id, are messages of the
//!   one id.
//! * **A worker is a delivery in hand.** Which instance has it decides nothing: every name that it uses is its own. So two workers
//!   with their deliveries exchanged are one state, and a worker that dies leaves a free place.
//! * **A request and its reply are one step.** What a worker does with a reply depends on the reply alone, and its next
//!   request waits as long as the checker likes: a late reply is a late next request. All that the time between them could add is a
//!   reading of the worker's clock that is later than here; `since` stamps would be later, but still before the write is sent.
//! * **A lost reply** is a request that stays under way after its author gave it up: it may [land](Action::Land) at once (the reply was
//!   lost), later (it was slow), or never (it was lost itself). A dead worker's last request is the same. Of requests whose
//!   missing answer ends the handling (a look, a copy, a completion, a large checkpoint), `Crash` is all there is to tell.
//! * **The broker has no clock.** A peek-lock may lapse and a scheduled copy may come at any time, which covers every clock
//!   that the broker could have, fast, slow, or drifting.
//! * **The storage's clock and the workers' monotonic clocks** go in steps of [`TICK`], together. All that they decide is whether a claim
//!   may still be used, whether it has expired, and whether a released record is due; one step is longer than a claim may be used, two
//!   are longer than it holds, so each combination that can be is there: usable and held, over and held, over and expired. That the clocks
//!   differ by less than the margin within a ttl is assumed; it is what the margin is for. With [`Switch::StoppedClock`] a worker sleeps
//!   and does not notice. With [`Switch::ClientClock`] a clock takes part that should not.
//! * **No time passes before there is a record and after it is final.** A first claim that is long under way leaves its holder with its
//!   time over and its claim held, which is where one tick after it leads. Whoever still holds a claim of a final record is refused,
//!   however late it is.
//! * **The run** (`run/machine.rs`; in [`keys`] it takes part) only chooses which delivery goes on when, and two of its choices matter: that no call begins when the
//!   claim's time is over, which is kept here, and that two deliveries of one id in one batch wait for each other, which is not: here
//!   they race. `crates/core/src/run/tests/chaos.rs` drives the whole run.
//! * **Renewing a lock without a claim** is left out, since a lock lapses or not as the checker likes.
//! * **Time to wait** (jitter, the looks at a busy record) is without length: whoever waits goes on when the checker likes.
//!
//! Lock keys have a model of their own, in which a worker is a whole run: [`keys`].
//!
//! # Operators
//!
//! Where the bounds have them, operators take part:
//!
//! | [`Action`] | runs, in `crates/core/src` |
//! |---|---|
//! | `TakeUp`, `Operate`, `OperateUnanswered` | `run/redrive.rs`: a letter's way back; `record/redrive.rs`: the table of what to do with it |
//! | `List` | `record/retention.rs`: what a sweep may delete |
//! | `OperatorCrash`, `Sweep` | nothing |
//!
//! Letters are those of the poison queue, unedited; what an edit changes is beside the table, in tests of its own. **Where records are
//! swept**, three things are so that are otherwise left to the checker: the broker has a clock, by which messages expire and locks lapse;
//! time passes only when the record is over, since what happens before is that of the other scenarios; and no request is as
//! old as what is swept: who has not got on for a tick is not heard of again. In truth its token is refused after two
//! hours, and records are kept for days.
//!
//! # Figures
//!
//! Bounds, numbers of states and what was found are in `docs/PROTOCOL.md`, "How it is checked".

mod bounds;
mod broker;
mod effects;
mod explore;
pub mod keys;
mod model;
mod rules;
pub mod scenarios;
mod shared;
mod state;
mod storage;
mod switch;
mod transition;
mod watch;

use std::time::Duration;

pub use bounds::{Bounds, Budget, Retention};
pub use broker::DeliveryId;
pub use explore::{Explored, explore, explore_broken, find};
pub use model::{Action, Answer, ProtocolModel};
pub use rules::{Broken, Event, RULES, Rule};
pub use scenarios::Scenario;
pub use state::State;
pub use switch::{SWITCHES, Switch};
pub use watch::{Watch, Watched, World};

/// One step of time. With the defaults (ttl 45 s, margin 5 s) a claim may be used for 40 s and holds for 50 s.
pub const TICK: Duration = Duration::from_secs(41);
