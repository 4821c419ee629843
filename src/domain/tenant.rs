/// Whose events a target gets (`tenant` of a target), where sources tell tenants apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenant {
    /// `'*'`: every tenant's, and those that have none.
    Everybody,
    /// Those of this one only.
    Only(Box<str>),
}
