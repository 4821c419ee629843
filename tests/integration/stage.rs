//! What a test that means the same on every broker needs of one.

use crate::record::Record;
use crate::scene::one_target;

/// Names that no other test uses on one broker, and a place there for events to come from: a topic, or
/// a stream with a durable.
pub trait Stage: Sized {
    /// A broker of one's own.
    type Private: Private;

    /// Whether messages have keys.
    const KEYS: bool;

    /// On the shared broker, with a place of so many partitions, where there are any.
    fn new(stem: &str, partitions: i32) -> Self;

    /// With names only, on a broker of one's own that need not run yet.
    fn names_on(private: &Self::Private, stem: &str) -> Self;

    /// Makes the place that events come from.
    fn create(&self, partitions: i32);

    /// On a broker of one's own, which runs.
    fn on(private: &Self::Private, stem: &str, partitions: i32) -> Self {
        let stage = Self::names_on(private, stem);
        stage.create(partitions);
        stage
    }

    /// The topic or stream, as metrics and dead letters call it.
    fn place(&self) -> &str;

    /// Publishes all and waits until the broker has confirmed each.
    fn publish(&self, records: impl IntoIterator<Item = Record>);

    /// Name and source, which starts at the beginning, with more keys of the source, then `rest`.
    fn config_with(&self, source: &str, rest: &str) -> String;

    /// Also such that what a replica held passes on a few seconds after it has gone, and a broker that
    /// is back is found as soon.
    fn hasty_config(&self, rest: &str) -> String;

    /// Without more keys of the source.
    fn config(&self, rest: &str) -> String {
        self.config_with("", rest)
    }

    /// With one target, `sink`, that takes everything; `keys` are more of its keys.
    fn one_target(&self, url: &str, keys: &str, rest: &str) -> String {
        self.config(&one_target(url, keys, rest))
    }

    /// Waits until the broker knows that everything published is settled.
    fn wait_settled(&self);

    /// Whether the broker knows of nothing settled.
    fn is_untouched(&self) -> bool;

    /// Waits until the broker counts so many replicas.
    fn wait_replicas(&self, count: usize);

    /// All dead letters so far.
    fn letters(&self) -> Vec<Record>;

    /// Waits until there are exactly so many dead letters, and returns them.
    fn wait_letters(&self, count: usize) -> Vec<Record>;

    /// How much the broker holds of a retry tier, which was made.
    fn count_waiting(&self, tier: &str) -> usize;

    /// What the broker holds of a retry tier, while nothing is deleted there.
    fn waiting(&self, tier: &str) -> Vec<Record>;
}

/// A broker of one's own: it can be stopped, killed and started again with the same port and data.
pub trait Private {
    /// Reserves its ports; nothing runs yet.
    fn reserve() -> Self;
    /// How it is named in the configuration.
    fn address(&self) -> String;
    /// Starts it and waits until it answers.
    fn start(&mut self);
    /// Stops it in order.
    fn stop(&mut self);
    /// Lets it stand still with its connections open, until it is killed.
    fn freeze(&self);
    /// Kills it.
    fn kill(&mut self);
}

/// Makes two tests of each function that is generic over its [`Stage`].
macro_rules! on_every_broker {
    ($($test:ident),+ $(,)?) => {
        mod kafka {
            $(#[test] fn $test() { super::$test::<crate::scene::Scene>(); })+
        }
        mod jetstream {
            $(#[test] fn $test() { super::$test::<crate::nats_scene::NatsScene>(); })+
        }
    };
}
pub(crate) use on_every_broker;
