//! One certificate, from the account to the chain (RFC 8555, section 7).

use std::net::IpAddr;

use anyhow::{Context as _, anyhow, bail};
use data_encoding::BASE64URL_NOPAD;
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, ExternalAccountKey, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};

use super::answers::{Answering, Tokens};
use super::client::Http;
use super::config::{Challenge, Config, ExternalAccount};
use super::kept::{Certificate, Kept};
use homeward_http::Certificates;

/// What a certificate is asked for with.
pub(super) struct Applicant {
    pub(super) config: Config,
    pub(super) kept: Kept,
    pub(super) certificates: Certificates,
    pub(super) tokens: Tokens,
}

impl Applicant {
    /// Has one issued.
    ///
    /// # Errors
    ///
    /// Who is in the way, and what the operator is to do.
    pub(super) async fn obtain(&self) -> anyhow::Result<Certificate> {
        let Config { directory, challenge, .. } = &self.config;
        // The file is read again each time: it may have been set right by now.
        let http = Http::new(&self.config.ca, self.config.timeout.0)?;
        let account = self.account(http).await?;
        let names = self.config.wanted();
        let identifiers: Vec<_> = names.iter().map(|name| identifier(name)).collect();
        let mut wanted = NewOrder::new(&identifiers);
        if let Some(profile) = &self.config.profile {
            wanted = wanted.profile(profile);
        }
        let mut order = match account.new_order(&wanted).await {
            Ok(order) => order,
            Err(Error::Api(problem)) => return Err(self.refused(&problem)),
            Err(error) => return Err(error).context("no order"),
        };

        let answering = self.answer(&mut order).await?;
        let patience = RetryPolicy::new().timeout(self.config.issue_timeout.0);
        match order.poll_ready(&patience).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) | Err(Error::Api(_)) => return Err(self.not_ours(&mut order).await),
            Err(Error::Timeout(_)) => {
                bail!(
                    "{directory} did not look at {} within portal.acme.issue_timeout",
                    listed(&names)
                )
            }
            Err(error) => return Err(error).context("the order is not ready"),
        }
        drop(answering);
        let key = order.finalize().await.context("the order is not carried out")?;
        let chain = order.poll_certificate(&patience).await.context("no certificate")?;
        let certificate = Certificate::new(directory, &key, &chain);
        let certificate = certificate.with_context(|| format!("what {directory} issued"))?;
        if certificate.names != names {
            let instead = listed(&certificate.names);
            bail!("{directory} issued a certificate for {instead} instead of {}", listed(&names));
        }
        tracing::info!(by = challenge.as_str(), names = listed(&names), "certificate issued");
        Ok(certificate)
    }

    /// The account that is kept, or a new one.
    async fn account(&self, http: Http) -> anyhow::Result<Account> {
        let Config { directory, external_account, contact, .. } = &self.config;
        let builder = Account::builder_with_http(Box::new(http));
        if let Some(credentials) = self.kept.account(directory)? {
            return Ok(builder.from_credentials(credentials).await?);
        }
        let contact: Vec<String> = contact.iter().map(|mail| format!("mailto:{mail}")).collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: self.config.terms_agreed,
            only_return_existing: false,
        };
        let external = external_account.as_ref().map(external).transpose()?;
        let made = builder.create(&new, directory.clone(), external.as_ref()).await;
        let (account, credentials) = made.map_err(|error| match error {
            Error::Api(problem) => self.no_account(&problem),
            error => error.into(),
        })?;
        self.kept.keep_account(directory, &credentials)?;
        tracing::info!(directory, "ACME account made");
        Ok(account)
    }

    /// Answers what the server wants to know of each name.
    async fn answer(&self, order: &mut Order) -> anyhow::Result<Answering<'_>> {
        let challenge = self.config.challenge;
        let mut answering = Answering::new(challenge, &self.certificates, &self.tokens);
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.context("no authorization")?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                status => bail!("{} is {status:?} already", authorization.identifier()),
            }
            let name = authorization.identifier().to_string();
            let Some(mut put) = authorization.challenge(kind(challenge)) else {
                bail!(
                    "portal.acme.challenge: {} does not put {} for {name:?}: choose the other one",
                    self.config.directory,
                    challenge.as_str()
                );
            };
            let (token, key) = (put.token.clone(), put.key_authorization());
            answering
                .add(&name, &token, &key)
                .with_context(|| format!("a challenge for {name:?} cannot be answered"))?;
            match put.set_ready().await {
                Ok(()) => {}
                Err(Error::Api(problem)) => return Err(self.failed(&name, &problem)),
                Err(error) => return Err(error).context("a challenge is not taken up"),
            }
        }
        Ok(answering)
    }

    fn no_account(&self, problem: &Problem) -> anyhow::Error {
        let repair = match kind_of(problem.r#type.as_deref()) {
            "externalAccountRequired" => {
                "set portal.acme.external_account to what its operator has given you"
            }
            "invalidContact" | "unsupportedContact" => "correct portal.acme.contact",
            "unauthorized" | "malformed" if self.config.external_account.is_some() => {
                "compare portal.acme.external_account with what its operator has given you"
            }
            _ => "do what it says",
        };
        let said = detail(problem);
        anyhow!("{} makes no account: {said}; {repair}", self.config.directory)
    }

    /// An order that is refused.
    fn refused(&self, problem: &Problem) -> anyhow::Error {
        let directory = &self.config.directory;
        let said = detail(problem);
        match kind_of(problem.r#type.as_deref()) {
            "accountDoesNotExist" => {
                return match self.kept.forget_account() {
                    Ok(()) => anyhow!("{directory} knows the account no more; a new one is made"),
                    Err(error) => anyhow::Error::from(error)
                        .context(format!("{directory} knows the account no more, which stays")),
                };
            }
            "rateLimited" => {
                return anyhow!(
                    "{directory} has been asked too often: {said}; it is asked again later"
                );
            }
            "invalidProfile" => {
                return anyhow!("portal.acme.profile: {directory} says {said}");
            }
            _ => {}
        }
        let mut names: Vec<String> = Vec::new();
        for sub in &problem.subproblems {
            if let Some(identifier) = &sub.identifier {
                let why = sub.detail.as_deref().unwrap_or("no reason given");
                names.push(format!("{:?} ({why})", spelled(identifier)));
            }
        }
        if names.is_empty() {
            let wanted = self.config.wanted();
            names.extend(
                wanted.iter().filter(|name| mentions(&said, name)).map(|n| format!("{n:?}")),
            );
        }
        if names.is_empty() {
            let all = listed(&self.config.wanted());
            return anyhow!(
                "portal.acme.names: {directory} refuses the order for {all}, and did not say which \
                 name is in the way: {said}; do what it says, or set portal.acme.directory to a server \
                 that issues for them"
            );
        }
        let names = names.join(", ");
        anyhow!(
            "portal.acme.names: {directory} refuses {names}: {said}; correct the name, or set portal.acme.directory to a server that issues for it"
        )
    }

    /// A name that could not be shown to be ours.
    fn failed(&self, name: &str, problem: &Problem) -> anyhow::Error {
        let challenge = self.config.challenge;
        let leads = match challenge {
            Challenge::TlsAlpn => "portal.listen",
            Challenge::Http => "portal.acme.listen",
        };
        anyhow!(
            "portal.acme.names: {} could not see by {} that {name:?} is ours: {}; see that port {} of that name leads to {leads}",
            self.config.directory,
            challenge.as_str(),
            detail(problem),
            challenge.port(),
        )
    }

    /// Which name it was, and why.
    async fn not_ours(&self, order: &mut Order) -> anyhow::Error {
        let order_problem = order.state().error.clone();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let name = authorization.identifier().to_string();
            let Ok(state) = authorization.refresh().await else { continue };
            if let Some(problem) = state.challenges.iter().find_map(|put| put.error.as_ref()) {
                return self.failed(&name, problem);
            }
        }
        match order_problem {
            Some(problem) => self.refused(&problem),
            None => anyhow!("{} refuses the order, and does not say why", self.config.directory),
        }
    }
}

fn external(account: &ExternalAccount) -> anyhow::Result<ExternalAccountKey> {
    let text = account.key.read().context("portal.acme.external_account.key")?;
    let octets = text.expose();
    // Some hand it out padded, others do not (RFC 7515, section 2, has no padding).
    let end = octets.iter().rposition(|octet| *octet != b'=').map_or(0, |last| last + 1);
    let key = BASE64URL_NOPAD.decode(octets.get(..end).unwrap_or(octets)).with_context(|| {
        format!("portal.acme.external_account.key: {} is no base64url", account.key)
    })?;
    Ok(ExternalAccountKey::new(account.id.clone(), &key))
}

fn kind(challenge: Challenge) -> ChallengeType {
    match challenge {
        Challenge::TlsAlpn => ChallengeType::TlsAlpn01,
        Challenge::Http => ChallengeType::Http01,
    }
}

fn identifier(name: &str) -> Identifier {
    match name.parse::<IpAddr>() {
        Ok(address) => Identifier::Ip(address),
        Err(_) => Identifier::Dns(name.to_owned()),
    }
}

fn spelled(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Dns(name) => name.clone(),
        Identifier::Ip(address) => address.to_string(),
        other => format!("{other:?}"),
    }
}

/// The last part of a problem's type (RFC 8555, section 6.7).
fn kind_of(urn: Option<&str>) -> &str {
    urn.and_then(|urn| urn.strip_prefix("urn:ietf:params:acme:error:")).unwrap_or_default()
}

/// Whether a text names that name or address, and not one of which it is a part.
fn mentions(text: &str, name: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let found = text.match_indices(name);
    found.map(|(at, _)| text.split_at(at)).any(|(before, rest)| {
        let after = rest.strip_prefix(name).unwrap_or_default();
        // A dot goes on with a name, but for one at the end of a sentence.
        let mut next = after.chars();
        let ends = match next.next() {
            Some('.') => !next.next().is_some_and(inside),
            Some(':') if name.contains(':') => !next.next().is_some_and(inside),
            Some(c) => !inside(c),
            None => true,
        };
        let part_of = |c: char| inside(c) || c == '.' || (c == ':' && name.contains(':'));
        ends && !before.chars().next_back().is_some_and(part_of)
    })
}

fn detail(problem: &Problem) -> String {
    let what = problem.detail.clone();
    what.or_else(|| problem.r#type.clone()).unwrap_or_else(|| "no reason given".to_owned())
}

fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<_> = names.into_iter().map(|name| format!("{name:?}")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn applicant(names: &[&str], folder: &std::path::Path) -> Applicant {
        Applicant {
            config: Config {
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                directory: "https://acme.example.net/dir".to_owned(),
                ..Config::default()
            },
            kept: Kept::open(folder).unwrap(),
            certificates: Certificates::none().unwrap(),
            tokens: Tokens::default(),
        }
    }

    fn problem(kind: &str, said: &str, culprit: Option<&str>) -> Problem {
        let identifier = |name| serde_json::json!({ "type": "dns", "value": name });
        let sub = culprit.map(|name| serde_json::json!({ "identifier": identifier(name) }));
        let problem = serde_json::json!({
            "type": format!("urn:ietf:params:acme:error:{kind}"),
            "detail": said,
            "subproblems": sub.into_iter().collect::<Vec<_>>(),
        });
        serde_json::from_value(problem).unwrap()
    }

    #[test]
    fn a_name_that_is_refused_is_the_one_that_the_server_means() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["example.net", "portal.example.net", "192.0.2.1"];
        let applicant = applicant(&names, folder.path());
        let refused = |said: &str, culprit| {
            applicant.refused(&problem("rejectedIdentifier", said, culprit)).to_string()
        };
        let refuses = "https://acme.example.net/dir refuses ";
        for (said, culprit, whom) in [
            ("policy", Some("portal.example.net"), "\"portal.example.net\" (no reason given): "),
            ("Portal.example.net is forbidden", None, "\"portal.example.net\": "),
            ("no, not [192.0.2.1].", None, "\"192.0.2.1\": "),
            ("not for example.net.", None, "\"example.net\": "),
            ("example.net, portal.example.net", None, "\"example.net\", \"portal.example.net\": "),
        ] {
            let error = refused(said, culprit);
            assert!(error.contains(&format!("{refuses}{whom}{said}; correct the name")), "{error}");
        }
        // None of ours is named, be it a part of another.
        for said in ["policy", "my.portal.example.net.uk", "xexample.net", "1192.0.2.1 192.0.2.11"]
        {
            let error = refused(said, None);
            assert!(error.contains("did not say which name is in the way"), "{error}");
            assert!(error.contains("\"192.0.2.1\", \"example.net\", \"portal.example.net\""));
            assert!(!error.contains("correct the name"), "{error}");
        }
    }

    #[test]
    fn an_account_that_the_server_does_not_know_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let applicant = applicant(&["portal.example.net"], folder.path());
        let file = folder.path().join("account.json");
        std::fs::write(&file, "{}").unwrap();
        let gone = problem("accountDoesNotExist", "no such account", None);
        let error = applicant.refused(&gone).to_string();
        assert!(error.ends_with("knows the account no more; a new one is made"), "{error}");
        assert!(!file.exists(), "the next attempt would be made with it");
        let error = format!("{:#}", applicant.refused(&gone));
        assert!(error.contains("which stays"), "there is none to forget: {error}");
    }

    #[test]
    fn an_external_account_has_its_key_in_base64url_padded_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let with = |key: &str| {
            let file = folder.path().join("key");
            std::fs::write(&file, key).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            let key = homeward_daemon::SecretSource::File(file);
            external(&ExternalAccount { id: "kid-1".to_owned(), key })
        };
        assert!(with("c2VjcmV0").is_ok() && with("c2VjcmV0MQ==").is_ok());
        let error = format!("{:#}", with("not base64url!").err().unwrap());
        assert!(error.contains("is no base64url"), "{error}");
    }
}
