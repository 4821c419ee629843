//! How the targets of a plan are reached, made ready before any thread knows of it.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::authority::Rights;
use super::endpoint::Endpoint;
use super::handshake::Handshake;
use super::token::TokenSource;
use super::{StartFault, trust};
use crate::plan::{HttpVersion, Plan, Target};

/// What one thread has to know of a target.
pub(super) struct Contact {
    pub(super) target: Arc<Target>,
    pub(super) endpoint: Endpoint,
    pub(super) rights: Rights,
}

impl Contact {
    fn new(target: &Arc<Target>, tls: &Arc<ClientConfig>, rights: &Rights) -> Result<Contact, StartFault> {
        let endpoint = Endpoint::new(target, tls)
            .map_err(|fault| StartFault::Address { target: target.name.clone(), fault })?;
        Ok(Contact { target: target.clone(), endpoint, rights: rights.clone() })
    }
}

/// What all threads have to know of a plan's targets.
pub struct Contacts {
    /// Whether all attempts of a target go over one connection.
    pub(super) shared: Box<[bool]>,
    /// For each thread, by target; `None` of those that it knows already.
    pub(super) of_threads: Vec<Vec<Option<Contact>>>,
}

impl Contacts {
    /// Makes the targets of `plan` ready for `threads` threads: all, or those that are not the same in
    /// `known`.
    ///
    /// # Errors
    /// A target's URL can't be used, or no certificate authority is known although there is an https
    /// target.
    pub fn new(plan: &Plan, known: Option<&Plan>, threads: usize) -> Result<Contacts, StartFault> {
        let roots = match plan.targets.iter().any(|target| trust::uses_system(target)) {
            true => trust::system_roots(),
            false => RootCertStore::empty(),
        };
        let needy = plan.targets.iter().find(|target| trust::needs_system(target));
        if let (Some(target), true) = (needy, roots.is_empty()) {
            return Err(StartFault::NoAuthorities(target.name.clone()));
        }
        Contacts::trusting(&roots, plan, known, threads)
    }

    pub(super) fn trusting(
        roots: &RootCertStore,
        plan: &Plan,
        known: Option<&Plan>,
        threads: usize,
    ) -> Result<Contacts, StartFault> {
        let rights = rights(roots, plan).map_err(StartFault::Tls)?;
        let tls = trust::receivers(&Arc::new(roots.clone()), plan).map_err(StartFault::Tls)?;
        let is_known = |place: usize, target: &Arc<Target>| {
            let known = known.and_then(|known| known.targets.get(place));
            known.is_some_and(|known| Arc::ptr_eq(known, target))
        };
        let mut of_threads: Vec<Vec<Option<Contact>>> = (0..threads.max(1)).map(|_| Vec::new()).collect();
        for (place, ((target, tls), rights)) in plan.targets.iter().zip(&tls).zip(&rights).enumerate() {
            for contacts in &mut of_threads {
                contacts.push(match is_known(place, target) {
                    true => None,
                    false => Some(Contact::new(target, tls, rights)?),
                });
            }
        }
        Ok(Contacts {
            shared: plan.targets.iter().map(|target| target.http == HttpVersion::Two).collect(),
            of_threads,
        })
    }
}

impl std::fmt::Debug for Contacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contacts")
    }
}

/// What the attempts of each target prove their right with.
fn rights(roots: &RootCertStore, plan: &Plan) -> Result<Vec<Rights>, rustls::Error> {
    let mut targets = Vec::with_capacity(plan.targets.len());
    for target in &plan.targets {
        let tls = target.oauth2.as_ref().map(|_| trust::token_endpoint(roots, target)).transpose()?;
        targets.push((&**target, tls));
    }
    let tokens = TokenSource::of_targets(&targets).into_iter();
    let handshakes = plan.targets.iter().map(|target| Handshake::of(target, plan.replicas));
    Ok(tokens.zip(handshakes).map(|(tokens, handshake)| Rights { tokens, handshake }).collect())
}
