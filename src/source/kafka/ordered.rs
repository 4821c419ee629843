//! The own groups of ordered targets (DESIGN.md §4.5): where they start, and what has to be done when a
//! target is not ordered any more.

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use super::context::ObserverContext;
use super::first_start;
use super::partition::{PartitionName, list};
use super::probe::{PATIENCE, Probe, committed};
use super::topics::Topics;
use crate::broker::kafka::Admin;
use crate::domain::TargetId;
use crate::plan::Reads;

/// Gives the group of an ordered target that has none a place to start: where the shared group is, which
/// served the target up to there. Every partition gets one, for the shared group goes on, and so a place
/// that is missing now could not be found later.
///
/// # Errors
/// The brokers do not answer, or refuse; to be tried again.
pub(super) fn seed(probe: &Probe, topics: &Topics, target: TargetId) -> KafkaResult<()> {
    let partitions = topics.partitions();
    if partitions.is_empty() {
        return Ok(());
    }
    let shared = probe.observer(Reads::Shared)?;
    first_start::apply(probe, &shared, topics)?;
    // Before the look at the own group: a replica that lets the shared group go on has seeded before.
    let at = committed(&shared, &partitions)?;
    let own = probe.observer(Reads::Ordered(target))?;
    if committed(&own, &partitions)?.is_empty() {
        commit_all(probe, &own, &partitions, &at)?;
    }
    Ok(())
}

/// The topics appeared only after the shared group was joined: everything in them is new.
///
/// # Errors
/// See [`seed`].
pub(super) fn seed_at_beginning(probe: &Probe, topics: &Topics, target: TargetId) -> KafkaResult<()> {
    let partitions = topics.partitions();
    let own = probe.observer(Reads::Ordered(target))?;
    if committed(&own, &partitions)?.is_empty() {
        commit_all(probe, &own, &partitions, &[])?;
    }
    Ok(())
}

/// Commits these offsets, and the beginning of every other partition.
fn commit_all(
    probe: &Probe,
    own: &BaseConsumer<ObserverContext>,
    partitions: &[PartitionName],
    at: &[(PartitionName, i64)],
) -> KafkaResult<()> {
    let low = probe.offsets(partitions, Offset::Beginning)?;
    let find = |offsets: &[(PartitionName, i64)], name: &PartitionName| {
        offsets.iter().find(|(own, _)| own == name).map(|(_, offset)| *offset)
    };
    let place = |name| Some((name, Offset::Offset(find(at, name).or(find(&low, name))?)));
    let all = list(partitions.iter().filter_map(place));
    match own.commit(&all, CommitMode::Sync) {
        // Another replica has joined meanwhile, so the group has its place.
        Err(error) if first_start::has_members(&error) => Ok(()),
        result => result,
    }
}

/// What is in the way of serving targets from the shared group that had a group of their own: where that
/// one lags behind, nobody would deliver the rest. Groups that do not lag are deleted, so that the
/// target may become ordered again later.
///
/// # Errors
/// The brokers do not answer, or refuse; to be tried again.
pub(super) fn leftovers(probe: &Probe, topics: &Topics) -> KafkaResult<Vec<String>> {
    let partitions = topics.partitions();
    let mut faults = Vec::new();
    if partitions.is_empty() {
        return Ok(faults);
    }
    let shared_at = committed(&probe.client, &partitions)?;
    for target in probe.plan.shared_targets(probe.reader.source) {
        faults.extend(leftover(probe, target, &partitions, &shared_at)?);
    }
    Ok(faults)
}

/// Whether the brokers know a group. That is asked with the client that there is, so that many targets
/// which never had an order cost little.
fn may_exist(probe: &Probe, group: &str) -> bool {
    match probe.client.client().fetch_group_list(Some(group), PATIENCE) {
        Ok(list) => list.groups().iter().any(|found| found.name() == group && found.state() != "Dead"),
        // An embedded broker does not say.
        Err(_) => true,
    }
}

fn leftover(
    probe: &Probe,
    target: TargetId,
    partitions: &[PartitionName],
    shared_at: &[(PartitionName, i64)],
) -> KafkaResult<Option<String>> {
    let Some(connection) = probe.connection() else { return Ok(None) };
    let connection = connection.reading(Reads::Ordered(target));
    if !may_exist(probe, &connection.group()) {
        return Ok(None);
    }
    let own_at = match committed(&probe.observer(Reads::Ordered(target))?, partitions) {
        Ok(own_at) if own_at.is_empty() => return Ok(None),
        Ok(own_at) => own_at,
        // A group that we were never let into is none of ours.
        Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let low = probe.offsets(partitions, Offset::Beginning)?;
    let place = |name: &PartitionName| own_at.iter().chain(&low).find(|(own, _)| own == name);
    let behind = |(name, shared): &(PartitionName, i64)| {
        place(name).map_or(0, |(_, own)| u64::try_from(shared.saturating_sub(*own)).unwrap_or(0))
    };
    let lag: u64 = shared_at.iter().map(behind).sum();
    let (group, brokers) = (connection.group(), &probe.brokers());
    let name = probe.plan.targets.get(target.0 as usize).map_or("", |target| &target.name);
    let command = format!("kafka-consumer-groups.sh --bootstrap-server {brokers} --delete --group {group}");
    if lag > 0 {
        return Ok(Some(format!(
            "the target {name} is not ordered any more, and its group {group} is {lag} messages behind the shared \
             group, which nobody would deliver to it: set its `ordering` again until they are delivered, or give \
             them up with: {command}"
        )));
    }
    match Admin::new(&connection.observer()).and_then(|admin| admin.delete_group(&group)) {
        Ok(()) => {
            tracing::info!("the target {name} is not ordered any more; its group {group} is deleted");
            Ok(None)
        }
        Err(error) => Ok(Some(format!(
            "the target {name} is not ordered any more, and its group {group} can't be deleted ({error}): end \
             the replicas that still use it, and delete it, for example with: {command}"
        ))),
    }
}
