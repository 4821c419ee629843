//! Exit codes, and nothing else.

use std::process::ExitCode;

use hookferry::cli::{self, Exit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(match cli::main() {
        Exit::Done => 0,
        Exit::Failed => 1,
        Exit::BadInput => 2,
        Exit::NotStarted => 3,
        Exit::Overdue => 4,
    })
}
