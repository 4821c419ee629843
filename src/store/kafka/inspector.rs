use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

use crate::broker::kafka::pass_on;

/// The call-backs of a client that asks for topics.
pub(super) struct InspectorContext;

impl ClientContext for InspectorContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        pass_on(level, facility, text);
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{reason}");
    }
}

impl ConsumerContext for InspectorContext {}
