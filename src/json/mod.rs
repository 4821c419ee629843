//! Floor 0: JSON as text. One pass that validates a document and picks values out of it, and
//! writers that re-emit JSON in a fixed form. No `Value` tree.
