//! **hookferry** carries events from a broker to other people's HTTP endpoints: it reads them from
//! Kafka and NATS, routes them by a declared table, signs and delivers each one as a webhook, retries, and
//! acknowledges an event only when every delivery that it caused has ended or waits in a retry tier,
//! confirmed by the broker. What could not be delivered goes to the dead letters. The broker is the only
//! durable state.
//!
//! # The flow
//!
//! Data goes one way, in a ring. To walk one event through hookferry, read these in turn:
//!
//! | step | where |
//! |---|---|
//! | a message becomes an [`Event`](domain::Event), with the parts that routes and receivers need | [`source::Intake`] |
//! | the consumer hands it over within its grant, with a [`Receipt`](domain::Receipt) | [`source::kafka`], [`source::nats`] |
//! | the routes that take it name its deliveries | [`engine::routing`] |
//! | each delivery waits in the lane of its target for its turn: permits, rate, breaker, order | `engine::lane`, `engine::permits` |
//! | the request is rendered and signed | [`wire::Blueprint`]; templates in `wire::handlebars` |
//! | the attempt is made, within one deadline, to an address that was judged, with a token if it needs one | [`sender`] |
//! | what came back decides: delivered, another attempt, or given up | `engine::retry` |
//! | a short wait is spent in memory, any other in a retry tier on the broker | `engine::waits`, [`broker::tier_record`] |
//! | when it is due, it comes back from there | `source::tier_intake`, `source::kafka::reading`, `source::nats::tiers` |
//! | a dead letter counts once the broker has confirmed it | [`store::kafka`], [`store::nats`] |
//! | people look at dead letters, redrive and purge them | [`store::Archive`], `cli::dead_letters` |
//! | when the last delivery of the event has ended, its receipt goes back | `engine::ledger` |
//! | Kafka: every offset below the frontier is settled, and that is what is committed | [`source::kafka::Frontier`] |
//! | JetStream: each message is acknowledged by itself | `source::nats::book` |
//!
//! [`pipeline`] is the loop that connects them, and [`app`] builds and starts the parts; [`reload`] brings
//! another plan, whose targets and fields keep their numbers ([`plan::succeed`]), and the loop goes over to it. In
//! between, what is sent around is [`engine::Input`], [`engine::Command`],
//! [`source::FromSource`], [`source::ToSource`] and [`store::FromStore`]; nothing above floor 4 knows
//! which broker it is on.
//!
//! # The floors
//!
//! Imports point downwards only; `tests/integration/house.rs` checks it.
//!
//! | floor | rooms |
//! |---|---|
//! | 0 | [`domain`]: the nouns · [`json`]: JSON as text |
//! | 1 | [`wire`]: payloads, signatures and [their verification](wire::verify), the finished request; reading replies |
//! | 2 | [`plan`]: text → validated [`Plan`](plan::Plan), all faults at once; dialects as data (`plan/presets.yaml`), every key too (`plan/reference/keys.yaml`) |
//! | 3 | [`engine`]: the delivery logic, pure and synchronous |
//! | 4 | [`source`], [`store`], [`sender`]: the edges; below the first two [`broker`]: how a broker is reached |
//! | 5 | [`observe`]: metrics, health, logs · [`pipeline`]: the loop · [`reload`]: another plan while it runs · [`admin`]: what operators see over HTTP |
//! | above | [`app`]: the composition root · [`demo`] · [`cli`] · `main.rs`: exit codes |
//!
//! `simulation` (tests only) drives the real engine and the real frontier through crashes,
//! rebalances, frozen processes and lost replies, ten thousand seeds in a test run.
//!
//! # What always holds
//!
//! * A receipt is settled only when every delivery of its event is terminal or moved to a tier, each
//!   write confirmed; dropping one acknowledges nothing.
//! * What is committed of a partition is the lowest unsettled offset, never the highest settled; of a
//!   JetStream message nothing is acknowledged before it is settled.
//! * Whatever belongs to an earlier assignment of a partition changes nothing: deliveries have
//!   serials and assignments have [generations](domain::Generation).
//! * No request starts under a [lease](domain::Lease) that has ended.
//! * Failure is data up to floor 3: a reply, a fault of the configuration, a refused write.
//! * The engine takes time and randomness as arguments and knows no broker, thread or socket.
//! * Open events are bounded by the window of their consumer (a source's shared group, an ordered target's
//!   own, the tiers); no channel holds more than the window
//!   and the permits allow.
//! * Secrets are [`SecretString`](secrecy::SecretString)s from the configuration file to the
//!   signing key, and appear in no text.
//!
//! # What is absent on purpose
//!
//! Rooms named util, helpers, common or manager; shared locks around state; an acknowledgement on
//! drop; metrics or async inside the engine; a retry loop that sleeps while it holds a consumer; a
//! plug-in framework for brokers; a `Value` tree on the way of an event.
#![warn(missing_docs)]

pub mod admin;
pub mod app;
pub mod broker;
pub mod cli;
pub mod demo;
pub mod domain;
pub mod engine;
pub mod json;
pub mod observe;
pub mod pipeline;
pub mod plan;
pub mod reload;
pub mod sender;
#[cfg(test)]
mod simulation;
pub mod source;
pub mod store;
pub mod wire;
