/// Why a source or its store can't start. An unreachable broker is not among the reasons: it is tried for ever.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The client can't be made of its settings. Holds no secret.
    #[error("source {source_name}: the client can't be created: {reason}")]
    Client {
        /// The source's name.
        source_name: String,
        /// What is wrong, with the remedy.
        reason: String,
    },
    /// The system gives no thread.
    #[error("source {source_name}: no thread to run on: {reason}")]
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
