use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::Stream;
use futures_util::future::BoxFuture;

use super::book::Arrival;
use super::durable::{Trouble, consumer_info, created};
use super::message::message;
use super::reading::{Came, Durables, End, Reading, Words};
use super::session::Session;
use super::tier_pace::{Pace, postponement};
use crate::broker::nats::TierStream;
use crate::domain::{Moment, Receipt, Tier};
use crate::engine::Input;
use crate::plan::{OPEN_OF_A_TIER, Plan};
use crate::source::hand::{Found, Hand};
use crate::source::tier_intake::TierIntake;
use crate::source::{Namespace, Report};

/// A record that is not acknowledged or in progress for so long comes again.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(60);
/// After a pull that the server refused.
const PULL_AGAIN: Duration = Duration::from_millis(250);

/// What waits in the retry tiers: one work-queue stream, with a durable for each tier, so that none waits
/// for another. Sequences are the stream's, so that one book holds what is open of all.
pub(super) struct Tiers {
    stream: TierStream,
    /// `None` until the stream was found.
    intake: Option<TierIntake>,
    /// Of each tier.
    paces: Vec<Pace>,
}

impl Tiers {
    pub(super) fn new(plan: &Plan) -> Tiers {
        Tiers { stream: TierStream::new(plan), intake: None, paces: Vec::new() }
    }
}

impl Reading for Tiers {
    const WORDS: Words = Words {
        unknown: "the retry tiers are not known yet",
        read: "what was read of the retry tiers",
        anew: "the stream of the retry tiers was deleted and made anew; what waited in it is lost",
        deleted: "a durable of the retry tiers was deleted; it is made anew",
    };

    /// How many deliveries wait in each tier.
    type Standing = Vec<u64>;

    fn find(
        &self,
        session: &Session,
        client: &Client,
        context: &Context,
    ) -> BoxFuture<'static, Result<Durables, Trouble>> {
        let (tiers, plan) = (self.stream.clone(), session.plan.clone());
        let (client, context) = (client.clone(), context.clone());
        Box::pin(async move {
            if !client.is_server_compatible(2, 10, 0) {
                return Err(Trouble::Refused(format!(
                    "retries on JetStream need NATS 2.10 or later, and the server has version {}; or name a source \
                     with another broker in `dead_letters.on`",
                    client.server_info().version
                )));
            }
            let stream = tiers.ensure(&context).await.map_err(Trouble::Refused)?;
            let mut consumers = Vec::new();
            for tier in Tier::all() {
                let made = stream.create_consumer(durable(&plan, tier)).await;
                consumers.push(made.map_err(|error| {
                    let name = durable_name(&plan, tier);
                    Trouble::Refused(format!(
                        "the durable {name} of the retry tier {tier} can't be used: {error}"
                    ))
                })?);
            }
            Ok(Durables { created: created(stream.cached_info()), stream, consumers })
        })
    }

    fn begin(&mut self, session: &Session, found: &Durables) {
        let namespace = Namespace::JetStream { created: found.created.clone() };
        self.intake = Some(TierIntake::new(session.plan.clone(), session.source, namespace));
        self.paces = found.consumers.iter().map(|_| Pace::default()).collect();
    }

    fn adopt(&mut self, plan: &Arc<Plan>) {
        self.intake.iter_mut().for_each(|intake| intake.adopt(plan));
    }

    fn leave_stream(&mut self, _: &Session) {}

    fn is_pulling(&self, index: usize) -> bool {
        self.paces.get(index).is_some_and(Pace::is_pulling)
    }

    fn pull(&mut self, session: &Session, index: usize, now: Instant) -> Option<pull::BatchConfig> {
        let tiers = self.paces.len().max(1) as u64;
        let (left, window) = (session.allowance.left(), session.window());
        let alone = session.book.open() == 0 && left.bytes >= window.bytes;
        let (batch, max_bytes) = self.paces.get_mut(index)?.pull(left, tiers, window.bytes, alone, now)?;
        Some(pull::BatchConfig {
            batch,
            max_bytes,
            expires: Some(session.patience.expires),
            idle_heartbeat: session.patience.heartbeat,
            ..pull::BatchConfig::default()
        })
    }

    fn ended(&mut self, index: usize, end: End, now: Instant) {
        let Some(pace) = self.paces.get_mut(index) else { return };
        match end {
            End::Over => pace.ended(),
            End::TooLarge => pace.too_large(),
            End::Refused => {
                pace.ended();
                pace.not_before(now + PULL_AGAIN);
            }
        }
    }

    fn is_short(&self, session: &Session, _: Instant) -> bool {
        let waits = |pace: &Pace| !pace.is_pulling() && pace.needs_more();
        !session.allowance.is_roomy() || self.paces.iter().any(waits)
    }

    fn take(&mut self, session: &mut Session, came: &Came<'_>, batch: &mut Vec<Input>) {
        let Came { index, native, reply, delivered, topic } = came;
        let (Some(pace), Some(intake)) = (self.paces.get_mut(*index), &mut self.intake) else { return };
        pace.came();
        let now = Moment::now();
        let generation = session.tenure.generation();
        let record = message(native, topic.clone(), Some(*delivered), now.wall_ms);
        let position = record.position;
        let record = intake.read(record, generation, session.tenure.lease());
        let early_ms = record.due_ms().saturating_sub(now.wall_ms);
        if early_ms > 0 && !session.book.knows(delivered.sequence) {
            let early = Duration::from_millis(early_ms.unsigned_abs());
            pace.early(early, Instant::now());
            return session.acks.postponed((*reply).clone(), postponement(early));
        }
        pace.due();
        match session.book.received(delivered.sequence, reply, delivered.stored_ms, now.mono_us) {
            Arrival::Settled(ending) => return session.acks.settled((*reply).clone(), ending),
            Arrival::Joins => return,
            Arrival::New => {}
        }
        let receipt = Receipt { consumer: session.outbox.consumer(), generation, position };
        session.offer(Hand { found: Found::Waiting(record), receipt }, batch);
    }

    fn ask(
        &self,
        session: &Session,
        stream: Arc<Stream>,
    ) -> BoxFuture<'static, Result<Self::Standing, Trouble>> {
        let plan = session.plan.clone();
        Box::pin(async move {
            let mut waiting = Vec::new();
            for tier in Tier::all() {
                let name = durable_name(&plan, tier);
                let info = consumer_info(&stream, &name).await?;
                let info = info.ok_or_else(|| Trouble::Refused(format!("the durable {name} is gone")))?;
                waiting.push(info.num_pending + info.num_ack_pending as u64);
            }
            Ok(waiting)
        })
    }

    fn stands(
        &mut self,
        session: &Session,
        waiting: Self::Standing,
        _: u64,
        _: Option<Arc<str>>,
    ) -> Result<(), Trouble> {
        // All replicas see the same number; each tells its part, so that the sum is right.
        let replicas = u64::from(session.plan.replicas.max(1));
        for (tier, deliveries) in Tier::all().zip(waiting) {
            session.outbox.report(Report::Waiting { tier, deliveries: deliveries.div_ceil(replicas) });
        }
        Ok(())
    }
}

fn durable_name(plan: &Plan, tier: Tier) -> String {
    format!("{}-{tier}", plan.tier_stream())
}

/// The durable of a tier. All of it is ours, so that one of an earlier version is brought in line.
fn durable(plan: &Plan, tier: Tier) -> pull::Config {
    pull::Config {
        durable_name: Some(durable_name(plan, tier)),
        description: Some("made by hookferry".to_owned()),
        filter_subject: plan.tier_subject(tier),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: i64::from(OPEN_OF_A_TIER),
        ..pull::Config::default()
    }
}
