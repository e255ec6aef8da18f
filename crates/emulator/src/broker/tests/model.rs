//! Random operations on the broker and on a model of it that is too simple to be wrong: a list of
//! messages that is walked second by second.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LOCK_SECONDS: u64 = 30;
const MAX_DELIVERIES: u32 = 3;

#[derive(Debug, Clone)]
enum Step {
    Send {
        ttl: Option<u64>,
        delay: Option<u64>,
    },
    Receive {
        dead: bool,
        keep: bool,
    },
    /// What happens to the delivery that this index chooses among all there ever were.
    Complete(prop::sample::Index),
    Abandon(prop::sample::Index),
    Renew(prop::sample::Index),
    GiveBack(prop::sample::Index),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (prop::option::of(1..60_u64), prop::option::of(0..60_u64))
            .prop_map(|(ttl, delay)| Step::Send { ttl, delay }),
        5 => (prop::bool::weighted(0.2), prop::bool::weighted(0.8)).prop_map(|(dead, keep)| Step::Receive { dead, keep }),
        2 => index().prop_map(Step::Complete),
        2 => index().prop_map(Step::Abandon),
        1 => index().prop_map(Step::Renew),
        1 => index().prop_map(Step::GiveBack),
        3 => (0..40_u64).prop_map(Step::Wait),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Scheduled { due: u64 },
    Main,
    Dead,
}

/// A message of the model; times are seconds since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    id: String,
    place: Where,
    /// The sequence number, once it has one.
    number: u64,
    ttl: Option<u64>,
    expires: Option<u64>,
    deliveries: u32,
    lock: Option<(Uuid, u64)>,
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    items: Vec<Item>,
    numbers: u64,
}

impl Model {
    fn send(&mut self, id: String, ttl: Option<u64>, delay: Option<u64>) {
        let due = self.now + delay.unwrap_or(0);
        let item =
            Item { id, place: Where::Scheduled { due }, number: 0, ttl, expires: None, deliveries: 0, lock: None };
        self.items.push(item);
        if due == self.now {
            let last = self.items.len() - 1;
            self.enqueue(last);
        }
    }

    fn enqueue(&mut self, index: usize) {
        self.numbers += 1;
        let item = &mut self.items[index];
        item.place = Where::Main;
        item.number = self.numbers;
        item.expires = item.ttl.map(|ttl| self.now + ttl);
    }

    fn receive(&mut self, place: Where, token: Option<Uuid>) -> Option<(u64, u32)> {
        let ready = self.items.iter_mut().filter(|item| item.place == place && item.lock.is_none());
        let item = ready.min_by_key(|item| item.number)?;
        item.deliveries += 1;
        let seen = (item.number, item.deliveries);
        match token {
            Some(token) => item.lock = Some((token, self.now + LOCK_SECONDS)),
            None => {
                let id = item.id.clone();
                self.items.retain(|item| item.id != id);
            }
        }
        Some(seen)
    }

    fn held(&mut self, token: Uuid) -> Option<usize> {
        self.items.iter().position(|item| item.lock.is_some_and(|(held, _)| held == token))
    }

    fn release(&mut self, index: usize) {
        let item = &mut self.items[index];
        item.lock = None;
        if item.place == Where::Main && item.deliveries >= MAX_DELIVERIES {
            item.place = Where::Dead;
        }
        self.bury();
    }

    /// Dead letters do not expire; the others go when nobody holds them.
    fn bury(&mut self) {
        let now = self.now;
        let over = |item: &Item| {
            item.place == Where::Main && item.lock.is_none() && item.expires.is_some_and(|end| end <= now)
        };
        self.items.retain(|item| !over(item));
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            let ended = |item: &Item, now| item.lock.is_some_and(|(_, until)| until <= now);
            while let Some(index) = self.items.iter().position(|item| ended(item, self.now)) {
                self.release(index);
            }
            self.bury();
            // Due in the order in which they were sent, as of one second.
            while let Some(index) = self.items.iter().position(|item| item.place == Where::Scheduled { due: self.now })
            {
                self.enqueue(index);
            }
        }
    }

    fn view(&self, place: Where) -> Vec<(u64, bool, u32)> {
        let here = self.items.iter().filter(|item| item.place == place);
        let mut view: Vec<_> = here.map(|item| (item.number, item.lock.is_some(), item.deliveries)).collect();
        view.sort_unstable();
        view
    }

    fn scheduled(&self) -> usize {
        self.items.iter().filter(|item| matches!(item.place, Where::Scheduled { .. })).count()
    }
}

/// What a store would keep: the outcome of all changes so far.
#[derive(Default)]
struct Rows {
    queue: Option<(QueueOptions, u64, u64)>,
    messages: BTreeMap<(u8, u64), Entry>,
}

impl Rows {
    fn write(&mut self, change: Change) {
        let code = |place| match place {
            Place::Main => 0,
            Place::DeadLetter => 1,
            Place::Scheduled => 2,
        };
        match change {
            Change::Queue { options, next_sequence, next_ticket, .. } => {
                let options = options.map(|o| *o).or_else(|| self.queue.take().map(|(o, ..)| o)).unwrap();
                self.queue = Some((options, next_sequence, next_ticket));
            }
            Change::Message { place, number, entry, .. } => {
                self.messages.insert((code(place), number), entry);
            }
            Change::Standing { place, number, deliveries, lock, .. } => {
                let entry = self.messages.get_mut(&(code(place), number)).unwrap();
                (entry.deliveries, entry.lock) = (deliveries, lock);
            }
            Change::MessageRemoved { place, number, .. } => {
                assert!(self.messages.remove(&(code(place), number)).is_some());
            }
            Change::Topic { .. }
            | Change::QueueRemoved { .. }
            | Change::Remembered { .. }
            | Change::Forgotten { .. } => {}
        }
    }

    /// A broker that was started from these rows.
    fn start(&self) -> Broker {
        let mut broker = Broker::new(Box::<CountingIds>::default(), true);
        let key: Arc<str> = "q".into();
        let (options, next_sequence, next_ticket) = self.queue.clone().unwrap();
        let options = Some(Box::new(options));
        broker.restore(Change::Queue { key: Arc::clone(&key), options, next_sequence, next_ticket });
        for ((place, number), entry) in &self.messages {
            let place = [Place::Main, Place::DeadLetter, Place::Scheduled][usize::from(*place)];
            let (key, entry) = (Arc::clone(&key), entry.clone());
            broker.restore(Change::Message { key, place, number: *number, entry });
        }
        broker
    }
}

type View = Vec<(u64, bool, u32)>;

fn view(broker: &Broker, path: &EntityPath) -> View {
    let present = broker.messages(path).into_iter().filter(|s| s.state != MessageState::Scheduled);
    present.map(|s| (s.sequence_number.unwrap(), s.state == MessageState::Locked, s.entry.deliveries)).collect()
}

fn whole(broker: &Broker) -> (View, View, usize) {
    let scheduled = broker.counts(&main_queue()).unwrap().scheduled;
    (view(broker, &main_queue()), view(broker, &dead_letters()), scheduled)
}

fn fresh() -> Broker {
    broker(QueueOptions {
        lock_duration: Duration::from_secs(LOCK_SECONDS),
        max_delivery_count: MAX_DELIVERIES,
        ..QueueOptions::default()
    })
}

fn check(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut broker = fresh();
    // The same operations, but time is looked at in every second on the way.
    let mut restless = fresh();
    let mut model = Model::default();
    let mut rows = Rows::default();
    let mut deliveries: Vec<(EntityPath, Delivery)> = Vec::new();
    for (n, step) in steps.into_iter().enumerate() {
        let now = at(model.now);
        let chosen = |index: &prop::sample::Index| (!deliveries.is_empty()).then(|| index.get(&deliveries).clone());
        match &step {
            Step::Send { ttl, delay } => {
                let mut message = message("");
                message.broker.message_id = format!("m{n}");
                message.broker.time_to_live = ttl.map(Duration::from_secs);
                message.broker.scheduled_enqueue_time = delay.map(|delay| at(model.now + delay));
                broker.send(&main_queue(), vec![message.clone()], now).unwrap();
                restless.send(&main_queue(), vec![message], now).unwrap();
                model.send(format!("m{n}"), *ttl, *delay);
            }
            Step::Receive { dead, keep } => {
                let (path, place) = if *dead { (dead_letters(), Where::Dead) } else { (main_queue(), Where::Main) };
                let mode = if *keep { ReceiveMode::PeekLock } else { ReceiveMode::ReceiveAndDelete };
                let delivery = broker.receive(&path, mode, now).unwrap();
                prop_assert_eq!(&restless.receive(&path, mode, now).unwrap(), &delivery);
                let token = delivery.as_ref().and_then(|d| d.entry.lock).map(|lock| lock.token);
                let expected = model.receive(place, token);
                let seen = delivery.as_ref().map(|d| (d.sequence_number, d.entry.deliveries));
                prop_assert_eq!(seen, expected);
                deliveries.extend(delivery.filter(|_| *keep).map(|delivery| (path, delivery)));
            }
            Step::Complete(index) | Step::Abandon(index) | Step::Renew(index) => {
                let Some((path, delivery)) = chosen(index) else { continue };
                let (which, token) = key(&delivery);
                let settle = |broker: &mut Broker| match step {
                    Step::Complete(_) => broker.complete(&path, &which, token, now),
                    Step::Abandon(_) => broker.abandon(&path, &which, token, now),
                    _ => broker.renew(&path, &which, token, now).map(|_| ()),
                };
                let done = settle(&mut broker);
                prop_assert_eq!(settle(&mut restless), done.clone());
                let held = model.held(token);
                prop_assert_eq!(done.is_ok(), held.is_some());
                match (held, &step) {
                    (Some(index), Step::Complete(_)) => drop(model.items.remove(index)),
                    (Some(index), Step::Abandon(_)) => model.release(index),
                    (Some(index), _) => model.items[index].lock = Some((token, model.now + LOCK_SECONDS)),
                    (None, _) => {}
                }
            }
            Step::GiveBack(index) => {
                let Some((path, delivery)) = chosen(index) else { continue };
                let token = key(&delivery).1;
                broker.give_back(&path, delivery.clone(), now);
                restless.give_back(&path, delivery, now);
                if let Some(index) = model.held(token) {
                    model.items[index].lock = None;
                    model.items[index].deliveries -= 1;
                    model.bury();
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
        let expected = (model.view(Where::Main), model.view(Where::Dead), model.scheduled());
        prop_assert_eq!(whole(&broker), expected.clone());
        prop_assert_eq!(whole(&restless), expected.clone());
        prop_assert_eq!(whole(&rows.start()), expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// The broker does what the model does; how often time is looked at makes no difference; and the
    /// rows that it leaves are enough to go on from.
    #[test]
    fn the_broker_agrees_with_a_simple_model(steps in prop::collection::vec(step(), 1..60)) {
        check(steps)?;
    }
}
