//! The allocator and the exit codes, and nothing else.

use std::io::Write as _;

use hookferry::cli::{self, Exit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ! {
    keep_pages_small();
    leave(match cli::main() {
        Exit::Done => 0,
        Exit::Failed => 1,
        Exit::BadInput => 2,
        Exit::NotStarted => 3,
        Exit::Overdue => 4,
    })
}

/// Ends the process, without what `exit` does first: it would take TLS down under librdkafka's threads, which
/// may be shaking hands with brokers that do not let us in, and the process would end by a signal.
fn leave(code: i32) -> ! {
    let _ = std::io::stdout().flush();
    // SAFETY: the process ends here; nothing of it is used any more.
    unsafe { libc::_exit(code) }
}

/// Asks the kernel for no huge pages: those of the allocator's arenas hold memory that nothing uses, and
/// `limits.memory` promises how much is used. Without this only more is resident.
fn keep_pages_small() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
