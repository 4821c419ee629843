use std::io::IsTerminal;
use std::path::Path;

use secrecy::SecretString;

use super::arguments::Signatory;
use super::publish::read_bytes;
use crate::plan::{self, Concealed, Faults, Layers};
use crate::wire::verify::Verifier;
use crate::wire::{Blueprint, RequestSpec, SpecFault};

/// Who signs: a target of the configuration, or what only a dialect is known of.
#[derive(Debug)]
pub(super) struct Signer {
    /// Its requests, with the live secrets.
    pub request: RequestSpec,
    /// Its address, masked, if it is a target.
    pub url: Option<String>,
    /// What may not be shown of it.
    pub concealed: Concealed,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignerFault {
    #[error(transparent)]
    Configuration(#[from] Faults),
    #[error("{0}")]
    Choice(String),
}

impl Signer {
    /// The one that is named, if one is. `taken`: another argument reads standard input.
    pub(super) fn named(
        named: &Signatory,
        layers: impl FnOnce() -> Layers,
        taken: StandardInput,
    ) -> Result<Option<Signer>, SignerFault> {
        let from_input = named.secret_file.as_deref() == Some(Path::new("-"))
            || (named.dialect.is_some() && named.secret_file.is_none());
        if from_input && taken == StandardInput::Taken {
            let fault =
                "the body comes from standard input already; name a file with the secret: --secret-file FILE";
            return Err(SignerFault::Choice(fault.to_owned()));
        }
        match (&named.dialect, &named.target) {
            (Some(dialect), _) => {
                let secrets = secrets(named.secret_file.as_deref().unwrap_or(Path::new("-")))?;
                let request = plan::dialect(dialect, dialect, &secrets)
                    .map_err(|fault| SignerFault::Choice(format!("--dialect: {fault}")))?;
                Ok(Some(Signer { request, url: None, concealed: Concealed::default() }))
            }
            (None, Some(target)) => {
                let mut signer = Signer::of_target(target, &layers())?;
                if let (Some(file), Some(signature)) = (&named.secret_file, &mut signer.request.signature) {
                    signature.secrets = secrets(file)?;
                }
                Ok(Some(signer))
            }
            (None, None) if named.secret_file.is_some() => {
                Err(SignerFault::Choice("say whose secret it is: --dialect NAME or --target NAME".to_owned()))
            }
            (None, None) => Ok(None),
        }
    }

    /// As [`Signer::named`], where one must be named.
    pub(super) fn required(
        named: &Signatory,
        layers: impl FnOnce() -> Layers,
        taken: StandardInput,
    ) -> Result<Signer, SignerFault> {
        let whose = || SignerFault::Choice("say whose signature: --dialect NAME or --target NAME".to_owned());
        Signer::named(named, layers, taken)?.ok_or_else(whose)
    }

    fn of_target(name: &str, layers: &Layers) -> Result<Signer, SignerFault> {
        let examined = plan::examine(layers)?;
        let url = super::check::shown(&examined.settings, &format!("targets.{name}.url")).to_owned();
        let names: Vec<String> = examined.plan.targets.iter().map(|target| target.name.to_string()).collect();
        let target =
            examined.plan.targets.into_iter().find(|target| *target.name == *name).ok_or_else(|| {
                SignerFault::Choice(format!(
                    "--target {name}: there is no such target; there are: {}",
                    names.join(", ")
                ))
            })?;
        Ok(Signer { request: target.request.clone(), url: Some(url), concealed: examined.concealed })
    }

    /// What signs.
    pub(super) fn blueprint(&self) -> Result<Blueprint, String> {
        if self.request.signature.as_ref().is_none_or(|signature| signature.secrets.is_empty()) {
            return Err("it does not sign: it has no secret or no signature".to_owned());
        }
        Blueprint::compile(&self.request).map_err(said)
    }

    /// What judges its signatures.
    pub(super) fn verifier(&self) -> Result<Verifier, String> {
        let Some(signature) = &self.request.signature else {
            return Err("its requests are not signed".to_owned());
        };
        Verifier::compile(signature, &self.request.target_id).map_err(said)
    }

    /// How many secrets are live.
    pub(super) fn secrets(&self) -> usize {
        self.request.signature.as_ref().map_or(0, |signature| signature.secrets.len())
    }
}

/// Whether something else reads standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StandardInput {
    Free,
    Taken,
}

impl StandardInput {
    /// By the name of a file.
    pub(super) fn of(file: &Path) -> StandardInput {
        if file == Path::new("-") { StandardInput::Taken } else { StandardInput::Free }
    }
}

fn said(faults: Vec<SpecFault>) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// One secret a line, newest first.
fn secrets(file: &Path) -> Result<Vec<SecretString>, SignerFault> {
    let is_input = file == Path::new("-");
    if is_input && std::io::stdin().is_terminal() {
        let fault =
            "a secret is wanted: name a file with it, --secret-file FILE, or give it on standard input";
        return Err(SignerFault::Choice(fault.to_owned()));
    }
    let name = if is_input { "standard input".to_owned() } else { file.display().to_string() };
    let fault = |what: &str| SignerFault::Choice(format!("--secret-file: {name}: {what}"));
    let bytes = read_bytes(file).map_err(|cause| fault(&format!("can't be read: {cause}")))?;
    let text = SecretString::from(String::from_utf8(bytes).map_err(|_| fault("the text is not UTF-8"))?);
    let secrets = lines(&text);
    if secrets.is_empty() { Err(fault("there is no secret in it")) } else { Ok(secrets) }
}

fn lines(text: &SecretString) -> Vec<SecretString> {
    use secrecy::ExposeSecret;
    let lines = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(SecretString::from).collect()
}
