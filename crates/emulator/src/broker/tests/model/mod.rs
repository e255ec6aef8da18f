//! Random operations on the broker and on a model of it that is too simple to be wrong.
//!
//! There are two queues: what is sent to `q` may go on to `r` or round to `q` itself, and so may its dead
//! letters; `r` may be disabled, and is gone when nobody used it for a while.

mod reference;
mod rows;

use proptest::prelude::*;

use super::*;
use reference::{Model, Said};
use rows::Rows;

const LOCK_SECONDS: u64 = 30;
const MAX_DELIVERIES: u32 = 3;
/// Of `r`.
const IDLE_SECONDS: u64 = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Q,
    R,
}

impl Name {
    const ALL: [Self; 2] = [Self::Q, Self::R];

    fn text(self) -> &'static str {
        match self {
            Self::Q => "q",
            Self::R => "r",
        }
    }

    fn path(self, sub_queue: SubQueue) -> EntityPath {
        EntityPath { key: self.text().into(), sub_queue }
    }
}

/// Sequence number, whether it is locked, and deliveries.
type View = Vec<(u64, bool, u32)>;

#[derive(Debug, Clone)]
enum Step {
    Send {
        to: Name,
        ttl: Option<u64>,
        delay: Option<u64>,
    },
    Receive {
        from: Name,
        sub_queue: SubQueue,
        keep: bool,
    },
    /// What happens to the delivery that this index chooses among all there ever were.
    Complete(prop::sample::Index),
    Abandon(prop::sample::Index),
    Renew(prop::sample::Index),
    GiveBack(prop::sample::Index),
    Put(Name, Said),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let name = || prop_oneof![3 => Just(Name::Q), 1 => Just(Name::R)];
    let sub_queue = prop_oneof![
        5 => Just(SubQueue::Main),
        1 => Just(SubQueue::DeadLetter),
        1 => Just(SubQueue::TransferDeadLetter)
    ];
    let target = || prop_oneof![3 => Just(None), 3 => Just(Some(Name::R)), 1 => Just(Some(Name::Q))];
    let said = |(forward_to, forward_dead_to)| Said { forward_to, forward_dead_to, disabled: false };
    prop_oneof![
        6 => (name(), prop::option::of(1..60_u64), prop::option::of(0..60_u64))
            .prop_map(|(to, ttl, delay)| Step::Send { to, ttl, delay }),
        7 => (name(), sub_queue, prop::bool::weighted(0.8))
            .prop_map(|(from, sub_queue, keep)| Step::Receive { from, sub_queue, keep }),
        2 => index().prop_map(Step::Complete),
        3 => index().prop_map(Step::Abandon),
        1 => index().prop_map(Step::Renew),
        1 => index().prop_map(Step::GiveBack),
        1 => (target(), target()).prop_map(move |targets| Step::Put(Name::Q, said(targets))),
        1 => prop::bool::weighted(0.3).prop_map(|disabled| Step::Put(Name::R, Said { disabled, ..Said::default() })),
        4 => (0..40_u64).prop_map(Step::Wait),
    ]
}

fn options(name: Name, said: Said) -> QueueOptions {
    let target = |name: Option<Name>| name.map(|name| format!("sb://ns.servicebus.windows.net/{}", name.text()));
    QueueOptions {
        name: name.text().to_owned(),
        lock_duration: Duration::from_secs(LOCK_SECONDS),
        max_delivery_count: MAX_DELIVERIES,
        forward_to: target(said.forward_to),
        forward_dead_letters_to: target(said.forward_dead_to),
        status: if said.disabled { EntityStatus::Disabled } else { EntityStatus::Active },
        auto_delete_on_idle: (name == Name::R).then(|| Duration::from_secs(IDLE_SECONDS)),
        ..QueueOptions::default()
    }
}

/// Everything that can be seen: the sub-queues, and how many messages are not yet due.
fn whole(broker: &Broker) -> Vec<(View, usize)> {
    let places = Name::ALL.into_iter().flat_map(|name| SubQueue::ALL.map(|sub_queue| name.path(sub_queue)));
    let of = |path: EntityPath| {
        let present = broker.messages(&path).into_iter().filter(|s| s.state != MessageState::Scheduled);
        let view = present.map(|s| (s.sequence_number.unwrap(), s.state == MessageState::Locked, s.entry.deliveries));
        (view.collect(), broker.counts(&path).unwrap_or_default().scheduled)
    };
    places.map(of).collect()
}

fn whole_model(model: &Model) -> Vec<(View, usize)> {
    let places = Name::ALL.into_iter().flat_map(|name| SubQueue::ALL.map(|sub_queue| (name, sub_queue)));
    let of = |(name, sub_queue)| {
        let scheduled = if sub_queue == SubQueue::Main { model.scheduled(name) } else { 0 };
        (model.view(name, sub_queue), scheduled)
    };
    places.map(of).collect()
}

fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut broker = Broker::new(Box::<CountingIds>::default(), true);
    // The same operations, but time is looked at in every second on the way.
    let mut restless = Broker::new(Box::<CountingIds>::default(), true);
    let mut model = Model::default();
    let mut rows = Rows::default();
    let mut deliveries: Vec<(Name, SubQueue, Delivery)> = Vec::new();
    let steps = [Step::Put(Name::Q, Said::default()), Step::Put(Name::R, Said::default())].into_iter().chain(steps);
    for (n, step) in steps.enumerate() {
        let now = at(model.now);
        let chosen = |index: &prop::sample::Index| (!deliveries.is_empty()).then(|| index.get(&deliveries).clone());
        match &step {
            Step::Put(name, said) => {
                broker.put_queue(options(*name, *said), now);
                restless.put_queue(options(*name, *said), now);
                model.put(*name, *said);
            }
            Step::Send { to, ttl, delay } => {
                let mut message = message("");
                message.broker.message_id = format!("m{n}");
                message.broker.time_to_live = ttl.map(Duration::from_secs);
                message.broker.scheduled_enqueue_time = delay.map(|delay| at(model.now + delay));
                let path = to.path(SubQueue::Main);
                let sent = broker.send(&path, vec![message.clone()], now);
                prop_assert_eq!(&restless.send(&path, vec![message], now), &sent);
                prop_assert_eq!(sent.is_ok(), model.send(*to, *ttl, *delay));
            }
            Step::Receive { from, sub_queue, keep } => {
                let path = from.path(*sub_queue);
                let mode = if *keep { ReceiveMode::PeekLock } else { ReceiveMode::ReceiveAndDelete };
                let delivery = broker.receive(&path, mode, now);
                prop_assert_eq!(&restless.receive(&path, mode, now), &delivery);
                prop_assert_eq!(delivery.is_ok(), model.lets_receive(*from, *sub_queue));
                let Ok(delivery) = delivery else { continue };
                let token = delivery.as_ref().and_then(|d| d.entry.lock).map(|lock| lock.token);
                let expected = model.receive(*from, *sub_queue, token);
                let seen = delivery.as_ref().map(|d| (d.sequence_number, d.entry.deliveries));
                prop_assert_eq!(seen, expected);
                deliveries.extend(delivery.filter(|_| *keep).map(|delivery| (*from, *sub_queue, delivery)));
            }
            Step::Complete(index) | Step::Abandon(index) | Step::Renew(index) => {
                let Some((name, sub_queue, delivery)) = chosen(index) else { continue };
                let (which, token) = key(&delivery);
                let path = name.path(sub_queue);
                let settle = |broker: &mut Broker| match step {
                    Step::Complete(_) => broker.complete(&path, &which, token, now),
                    Step::Abandon(_) => broker.abandon(&path, &which, token, now),
                    _ => broker.renew(&path, &which, token, now).map(|_| ()),
                };
                let done = settle(&mut broker);
                prop_assert_eq!(settle(&mut restless), done.clone());
                let held = model.held(token).filter(|_| model.said(name).is_some_and(|said| !said.disabled));
                prop_assert_eq!(done.is_ok(), held.is_some());
                if held.is_some() {
                    model.touch(name);
                }
                match (held, &step) {
                    (Some(index), Step::Complete(_)) => drop(model.items.remove(index)),
                    (Some(index), Step::Abandon(_)) => model.release(index),
                    (Some(index), _) => model.items[index].lock = Some((token, model.now + LOCK_SECONDS)),
                    (None, _) => {}
                }
            }
            Step::GiveBack(index) => {
                let Some((name, sub_queue, delivery)) = chosen(index) else { continue };
                let token = key(&delivery).1;
                let path = name.path(sub_queue);
                broker.give_back(&path, delivery.clone(), now);
                restless.give_back(&path, delivery, now);
                if let Some(index) = model.held(token) {
                    model.give_back(index);
                }
            }
            Step::Wait(seconds) => {
                for second in 0..=*seconds {
                    restless.advance(at(model.now + second));
                }
                model.wait(*seconds);
                broker.advance(at(model.now));
            }
        }
        broker.take_outbox().changes.into_iter().for_each(|change| rows.write(change));
        let expected = whole_model(&model);
        prop_assert_eq!(whole(&broker), expected.clone());
        prop_assert_eq!(whole(&restless), expected.clone());
        prop_assert_eq!(whole(&rows.start()), expected);
        let mut restarted = rows.start();
        restarted.advance(at(model.now));
        prop_assert_eq!(restarted.next_event(), broker.next_event());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// The broker does what the model does; how often time is looked at makes no difference; and the
    /// rows that it leaves are enough to go on from.
    #[test]
    fn the_broker_agrees_with_a_simple_model(steps in prop::collection::vec(step(), 1..80)) {
        check(steps)?;
    }
}
