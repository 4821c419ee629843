/// Why a source or its store can't start. An unreachable broker is not among the reasons: it is tried for ever.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// librdkafka refuses the settings. Holds no property's value.
    #[error("source {source_name}: the Kafka client can't be created: {reason}; correct `kafka.properties`")]
    Client {
        /// The source's name.
        source_name: String,
        /// What librdkafka says.
        reason: String,
    },
    /// The system gives no thread.
    #[error("source {source_name}: no thread to read on: {reason}")]
    Thread {
        /// The source's name.
        source_name: String,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The plan has no such source.
    #[error("the plan has no source number {0}")]
    NoSource(u16),
}
