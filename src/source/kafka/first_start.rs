use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::context::ObserverContext;
use super::partition::{PartitionName, list};
use super::probe::{Probe, committed};
use super::topics::Topics;
use crate::domain::Moment;
use crate::plan::Start;

/// Gives the shared group, if it is without any commit, its place to start, by an explicit commit before it is joined
/// (DESIGN.md §5). A group that has one for any partition of the topics goes on where it was;
/// partitions that are added later start at their beginning.
///
/// # Errors
/// The brokers do not answer, or refuse; to be tried again.
pub(super) fn apply(
    probe: &Probe,
    group: &BaseConsumer<ObserverContext>,
    topics: &Topics,
) -> KafkaResult<()> {
    let Some(kafka) = probe.kafka() else { return Ok(()) };
    let partitions = topics.partitions();
    if partitions.is_empty() || !committed(group, &partitions)?.is_empty() {
        return Ok(());
    }
    let (position, said) = match kafka.start {
        // Where no commit is, `auto.offset.reset` says the same.
        Start::Earliest => return Ok(()),
        Start::Latest => (Offset::End, "latest".to_owned()),
        Start::Ago(age) => {
            let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            (Offset::Offset(Moment::now().wall_ms.saturating_sub(age_ms).max(0)), format!("{age:?} ago"))
        }
        Start::At(unix_ms) => (Offset::Offset(unix_ms.max(0)), format!("{unix_ms} ms since 1970")),
    };
    let positions = positions(probe, &partitions, position)?;
    let low = probe.offsets(&partitions, Offset::Beginning)?;
    let commit = list(positions.iter().map(|(name, offset)| (name, Offset::Offset(*offset))));
    match group.commit(&commit, CommitMode::Sync) {
        Ok(()) => {}
        // Another replica has joined meanwhile, so the group has its place.
        Err(error) if has_members(&error) => return Ok(()),
        Err(error) => return Err(error),
    }
    let before = |(name, offset): &(PartitionName, i64)| {
        let low = low.iter().find(|(own, _)| own == name).map_or(0, |(_, low)| *low);
        offset.saturating_sub(low).max(0)
    };
    let skipped: i64 = positions.iter().map(before).sum();
    tracing::info!(
        group = kafka.group,
        "the group is new and starts at {said} in {} partitions: {skipped} earlier messages are not sent \
         (`start: earliest` would send them)",
        partitions.len(),
    );
    Ok(())
}

/// Whether a commit by no member was refused because the group has members.
pub(super) fn has_members(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{IllegalGeneration, RebalanceInProgress, UnknownMemberId};
    matches!(error.rdkafka_error_code(), Some(UnknownMemberId | IllegalGeneration | RebalanceInProgress))
}

/// For a time after the last message the broker has no offset: that is the end.
fn positions(
    probe: &Probe,
    partitions: &[PartitionName],
    position: Offset,
) -> KafkaResult<Vec<(PartitionName, i64)>> {
    let mut positions = probe.offsets(partitions, position)?;
    let missing = |name: &&PartitionName| !positions.iter().any(|(own, _)| own == *name);
    let rest: Vec<PartitionName> = partitions.iter().filter(missing).cloned().collect();
    if !rest.is_empty() {
        positions.extend(probe.offsets(&rest, Offset::End)?);
    }
    // A partition that is left out would start at its beginning.
    if positions.len() < partitions.len() {
        return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::LeaderNotAvailable));
    }
    Ok(positions)
}
