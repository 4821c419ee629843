//! The allocator and the exit codes, and nothing else.

use std::process::ExitCode;

use hookferry::cli::{self, Exit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keep_pages_small();
    ExitCode::from(match cli::main() {
        Exit::Done => 0,
        Exit::Failed => 1,
        Exit::BadInput => 2,
        Exit::NotStarted => 3,
        Exit::Overdue => 4,
    })
}

/// Asks the kernel for no huge pages: those of the allocator's arenas hold memory that nothing uses, and
/// `limits.memory` promises how much is used. Without this only more is resident.
fn keep_pages_small() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
