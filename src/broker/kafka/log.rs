use rdkafka::config::RDKafkaLogLevel;

/// Passes a line of librdkafka's own log on. What it says of connections also comes through the error call-back,
/// that a producer can't go on is told by its owner, that requests time out follows from it, and that a session
/// ended is told where its partitions are given up; what it says of properties for other kinds of clients is no
/// news.
pub(crate) fn pass_on(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match (level, facility) {
        (_, "FAIL" | "FATAL" | "ERROR" | "REQTMOUT" | "SESSTMOUT" | "CONFWARN")
        | (RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info, _) => {
            tracing::debug!(target: "librdkafka", "{facility}: {text}");
        }
        (RDKafkaLogLevel::Notice, _) => tracing::info!(target: "librdkafka", "{facility}: {text}"),
        (_, _) => tracing::warn!(target: "librdkafka", "{facility}: {text}"),
    }
}
