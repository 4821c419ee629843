//! Floor 4: makes attempts. N threads, each a current-thread runtime that owns its connections;
//! rendering, signing and I/O happen there. Nothing here names the HTTP library to the outside.
