use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, TopicPartitionList};

use super::OwnTopic;

/// What nobody answers takes so long.
const PATIENCE: Duration = Duration::from_secs(8);

/// Makes and alters what is ours on a broker. Every call blocks until it is answered, up to 8 s.
///
/// An embedded broker answers no such request at all: ask it for metadata before.
pub(crate) struct Admin {
    client: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    options: AdminOptions,
}

impl Admin {
    /// # Errors
    /// The client can't be made of this configuration, or the system gives it no thread.
    pub(crate) fn new(config: &ClientConfig) -> KafkaResult<Admin> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|fault| KafkaError::ClientCreation(fault.to_string()))?;
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        Ok(Admin { client: config.create()?, runtime, options })
    }

    /// Creates topics of ours, with as many partitions and replicas as the broker's own defaults say.
    /// The answer is what became of each, in their order; that it is there already is no failure.
    ///
    /// # Errors
    /// The request failed as a whole.
    pub(crate) fn create(&self, topics: &[&OwnTopic]) -> KafkaResult<Vec<Result<(), RDKafkaErrorCode>>> {
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|topic| {
                let new = NewTopic::new(&topic.name, -1, TopicReplication::Fixed(-1));
                topic.settings.iter().fold(new, |new, (name, value)| new.set(name, value))
            })
            .collect();
        let answered = self.runtime.block_on(self.client.create_topics(&new, &self.options))?;
        let code = |name: &str| {
            let of = answered.iter().find_map(|result| match result {
                Ok(own) => (own == name).then_some(None),
                Err((own, code)) => (own == name).then_some(Some(*code)),
            });
            match of {
                Some(None | Some(RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
                Some(Some(code)) => Err(code),
                None => Err(RDKafkaErrorCode::Fail),
            }
        };
        Ok(topics.iter().map(|topic| code(&topic.name)).collect())
    }

    /// Deletes what lies below these offsets.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) fn delete_below(&self, offsets: &TopicPartitionList) -> KafkaResult<()> {
        let answered = self.runtime.block_on(self.client.delete_records(offsets, &self.options))?;
        answered.elements().iter().try_for_each(|element| element.error())
    }

    /// Deletes a group that has no members. That there is none of this name is no failure.
    ///
    /// # Errors
    /// It is in use, or we are not permitted.
    pub(crate) fn delete_group(&self, group: &str) -> KafkaResult<()> {
        let answered = self.runtime.block_on(self.client.delete_groups(&[group], &self.options))?;
        match answered.into_iter().next() {
            Some(Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound))) => Ok(()),
            Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
            None => Err(KafkaError::AdminOp(RDKafkaErrorCode::Fail)),
        }
    }

    /// The settings of a topic that is there.
    ///
    /// # Errors
    /// There is no answer, or we are not permitted.
    pub(crate) fn settings(&self, topic: &str) -> KafkaResult<ConfigResource> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let answered = self.runtime.block_on(self.client.describe_configs(&asked, &self.options))?;
        match answered.into_iter().next() {
            Some(Ok(found)) => Ok(found),
            Some(Err(code)) => Err(KafkaError::AdminOp(code)),
            None => Err(KafkaError::AdminOp(RDKafkaErrorCode::Fail)),
        }
    }
}
