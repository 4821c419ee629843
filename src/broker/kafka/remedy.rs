use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

/// What helps against an error of a client.
pub(super) fn remedy(error: &KafkaError) -> &'static str {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
            "check `sasl.mechanism`, `sasl.username` and `sasl.password` in `properties`"
        }
        Some(Code::SSL) => "check `security.protocol` and the `ssl.*` settings in `properties`",
        Some(Code::GroupAuthorizationFailed) => "the broker must allow this user READ on the group",
        Some(Code::TopicAuthorizationFailed) => {
            "the broker must allow this user READ and DESCRIBE on the topic"
        }
        Some(Code::InconsistentGroupProtocol) => {
            "another program uses this group with another assignment strategy; set a `group` of our own"
        }
        Some(
            Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut | Code::AllBrokersDown,
        ) => "check `brokers`, the network and `security.protocol`",
        _ => "see the reason",
    }
}

/// What helps if it is a right on a topic that is missing; else nothing.
pub(crate) fn allow(code: RDKafkaErrorCode, rights: &str) -> String {
    match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => format!("; allow this user {rights} on it"),
        RDKafkaErrorCode::ClusterAuthorizationFailed => {
            format!(
                "; allow this user {rights} on it, and on brokers before 2.8 IDEMPOTENT_WRITE on the cluster"
            )
        }
        _ => String::new(),
    }
}

/// Whether the client does not even get as far as asking for something. librdkafka takes the brokers for down
/// then.
pub(super) fn is_at_the_door(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    matches!(code, Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL))
}

/// Whether an answer means that the topic does not exist.
pub(crate) fn is_missing(error: RDKafkaRespErr) -> bool {
    use RDKafkaRespErr as Error;
    matches!(
        error,
        Error::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | Error::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | Error::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
    )
}
