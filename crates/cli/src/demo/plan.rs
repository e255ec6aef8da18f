//! What the demo sends: 1,000 messages in four ways, 100 of them twice, in an order that a seed decides.

use std::collections::BTreeSet;

use crate::rng::Rng;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Its id. Begins with one of [`Plan::prefixes`].
    pub(super) id: String,
    /// Its place among all messages: what it says is made from that.
    pub(super) number: usize,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Post {
    /// A message of its own, JSON.
    Single(Message),
    /// A batch as a JSON array.
    Array(Vec<Message>),
    /// A batch as lines of JSON.
    Lines(Vec<Message>),
    /// A form as Twilio posts it.
    Form(Message),
}

/// All requests, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// What no other demo's ids begin with.
    pub(super) prefixes: [String; 2],
    /// What is sent.
    pub(super) posts: Vec<Post>,
}

/// How many messages go in one way, and how many of them a second time.
#[derive(Debug, Clone, Copy)]
struct Share {
    messages: usize,
    repeats: usize,
}

const SINGLES: Share = Share { messages: 300, repeats: 30 };
const ARRAYS: Share = Share { messages: 250, repeats: 25 };
const LINES: Share = Share { messages: 200, repeats: 20 };
const FORMS: Share = Share { messages: 250, repeats: 25 };
/// Messages in a batch, before the repeats come in.
const BATCH: usize = 25;

impl Plan {
    /// The plan for a seed. `mark`, 16 hex digits, sets its ids apart from all others; without Twilio its share is posted singly.
    pub(super) fn new(seed: u64, mark: &str, twilio: bool) -> Self {
        let mut rng = Rng(seed);
        let prefixes = [format!("demo-{mark}-"), format!("SM{mark}")];
        let [json, sms] = &prefixes;
        let mut number = 0;
        let mut messages = |share: Share, id: &dyn Fn(usize) -> String| -> Vec<Message> {
            let numbers = number..number + share.messages;
            number = numbers.end;
            numbers.map(|number| Message { id: id(number), number }).collect()
        };
        let plain = |number: usize| format!("{json}{number:04}");
        let mut posts = Vec::new();
        posts.extend(twice(&mut rng, messages(SINGLES, &plain), SINGLES.repeats).map(Post::Single));
        posts.extend(batches(&mut rng, messages(ARRAYS, &plain), ARRAYS.repeats).map(Post::Array));
        posts.extend(batches(&mut rng, messages(LINES, &plain), LINES.repeats).map(Post::Lines));
        if twilio {
            // A sid is SM and 32 hex digits.
            let forms = messages(FORMS, &|number| format!("{sms}{number:016x}"));
            posts.extend(twice(&mut rng, forms, FORMS.repeats).map(Post::Form));
        } else {
            posts.extend(twice(&mut rng, messages(FORMS, &plain), FORMS.repeats).map(Post::Single));
        }
        rng.shuffle(&mut posts);
        Self { prefixes, posts }
    }

    /// Every id once.
    pub(super) fn ids(&self) -> BTreeSet<&str> {
        self.posts.iter().flat_map(Post::messages).map(|message| message.id.as_str()).collect()
    }

    /// How many messages are sent, repeats included.
    pub(super) fn sent(&self) -> usize {
        self.posts.iter().map(|post| post.messages().len()).sum()
    }
}

impl Post {
    /// What is in it.
    pub(super) fn messages(&self) -> &[Message] {
        match self {
            Self::Single(message) | Self::Form(message) => std::slice::from_ref(message),
            Self::Array(messages) | Self::Lines(messages) => messages,
        }
    }
}

/// All messages, and some of them once more.
fn twice(rng: &mut Rng, messages: Vec<Message>, repeats: usize) -> impl Iterator<Item = Message> {
    let mut again = messages.clone();
    rng.shuffle(&mut again);
    again.truncate(repeats);
    messages.into_iter().chain(again)
}

/// All messages in batches, and some of them once more, in another batch than the first time.
fn batches(rng: &mut Rng, messages: Vec<Message>, repeats: usize) -> impl Iterator<Item = Vec<Message>> {
    let mut batches: Vec<Vec<Message>> = messages.chunks(BATCH).map(<[Message]>::to_vec).collect();
    let mut again: Vec<(usize, Message)> = messages.into_iter().enumerate().collect();
    rng.shuffle(&mut again);
    let count = batches.len();
    for (place, message) in again.into_iter().take(repeats) {
        let other = (place / BATCH + 1 + rng.below(count - 1)) % count;
        if let Some(batch) = batches.get_mut(other) {
            batch.push(message);
        }
    }
    batches.into_iter()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const MARK: &str = "0123456789abcdef";

    #[test]
    fn a_thousand_messages_and_a_hundred_of_them_twice() {
        for twilio in [true, false] {
            let plan = Plan::new(7, MARK, twilio);
            assert_eq!((plan.ids().len(), plan.sent()), (1_000, 1_100));
            let mut times = BTreeMap::new();
            for message in plan.posts.iter().flat_map(Post::messages) {
                *times.entry(&message.id).or_insert(0) += 1;
            }
            assert_eq!(times.values().filter(|&&n| n == 2).count(), 100);
            assert!(times.values().all(|&n| n <= 2));
        }
    }

    #[test]
    fn every_way_has_its_share_of_repeats() {
        let plan = Plan::new(7, MARK, true);
        let sent = |kind: fn(&Post) -> bool| -> usize {
            plan.posts.iter().filter(|post| kind(post)).map(|post| post.messages().len()).sum()
        };
        assert_eq!(sent(|post| matches!(post, Post::Single(_))), 330);
        assert_eq!(sent(|post| matches!(post, Post::Array(_))), 275);
        assert_eq!(sent(|post| matches!(post, Post::Lines(_))), 220);
        assert_eq!(sent(|post| matches!(post, Post::Form(_))), 275);
    }

    #[test]
    fn no_request_has_a_message_twice() {
        for seed in 0..20 {
            for post in Plan::new(seed, MARK, true).posts {
                let ids: BTreeSet<&str> = post.messages().iter().map(|message| message.id.as_str()).collect();
                assert_eq!(ids.len(), post.messages().len(), "seed {seed}");
            }
        }
    }

    #[test]
    fn ids_begin_with_the_plans_own_prefixes() {
        let plan = Plan::new(7, MARK, true);
        assert!(plan.ids().iter().all(|id| plan.prefixes.iter().any(|prefix| id.starts_with(prefix))));
        assert!(plan.ids().iter().filter(|id| id.starts_with("SM")).all(|id| id.len() == 34));
    }

    #[test]
    fn the_seed_decides_the_order() {
        assert_eq!(Plan::new(7, MARK, true), Plan::new(7, MARK, true));
        assert_ne!(Plan::new(7, MARK, true).posts, Plan::new(8, MARK, true).posts);
    }
}
