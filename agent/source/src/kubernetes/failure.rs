//! Why the API server does not give what it is asked for, as somebody who has to mend it is told.

use kube::core::Status;

use super::kind::Kind;

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The version from which changes were asked for is too old: everything must be listed again.
    Expired,
    /// The server does not have the kind.
    NoSuchKind,
    /// The request is not permitted; what the server says.
    Forbidden(&'static str, String),
    /// The server refuses it for another reason; what it says.
    Refused(String),
    /// The server did not answer, or what it said cannot be read.
    Away(String),
}

impl Failure {
    /// What a request with this verb met.
    pub(super) fn of(verb: &'static str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(verb, status),
            other => Self::Away(innermost(other)),
        }
    }

    /// What a status says.
    pub(super) fn of_status(verb: &'static str, status: &Status) -> Self {
        let said = if status.message.is_empty() { &status.reason } else { &status.message };
        let said = said.trim_end_matches('.').to_owned();
        match status.code {
            403 => Self::Forbidden(verb, said),
            404 => Self::NoSuchKind,
            410 => Self::Expired,
            401 => {
                Self::Refused(format!("it does not know who asks (401: {said}); check the token or the certificate"))
            }
            code => Self::Refused(format!("it answers {code}: {said}")),
        }
    }

    /// One sentence about it, and what to do.
    pub(super) fn sentence(&self, kind: Kind) -> String {
        let (resource, group) = (kind.resource(), kind.group());
        match self {
            Self::Forbidden(verb, said) => format!(
                "may not {verb} {resource}: {said}; give its ClusterRole the rule {{apiGroups: [\"{group}\"], resources: \
                 [\"{resource}\"], verbs: [\"list\", \"watch\"]}}"
            ),
            Self::NoSuchKind => {
                format!("has no {} of {}; install its CustomResourceDefinition", kind.name(), kind.api_version())
            }
            Self::Refused(said) => format!("cannot list and watch {resource}: {said}"),
            // Of the server, and not of a kind: told once for all.
            Self::Away(said) => format!("the API server does not answer: {said}"),
            Self::Expired => format!("what is known of {resource} is too old, and they are listed again"),
        }
    }
}

/// The cause at the end of a chain of them, which says most.
fn innermost(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> Status {
        Status { code, message: message.to_owned(), ..Status::default() }
    }

    #[test]
    fn a_missing_permission_names_the_verb_the_resource_and_the_rule() {
        let said = "networkpolicies.networking.k8s.io is forbidden: User \"agent\" cannot watch resource";
        let sentence = Failure::of_status("watch", &status(403, said)).sentence(Kind::NetworkPolicy);
        assert_eq!(
            sentence,
            format!(
                "may not watch networkpolicies: {said}; give its ClusterRole the rule {{apiGroups: [\"networking.k8s.io\"], \
                 resources: [\"networkpolicies\"], verbs: [\"list\", \"watch\"]}}"
            )
        );
        let sentence = Failure::of_status("list", &status(403, "no")).sentence(Kind::Pod);
        assert!(sentence.contains("{apiGroups: [\"\"], resources: [\"pods\"]"), "{sentence}");
    }

    #[test]
    fn what_a_status_means_follows_from_its_code() {
        let of = |code, message| Failure::of_status("watch", &status(code, message));
        assert_eq!(of(410, "too old resource version: 1 (2)"), Failure::Expired);
        assert_eq!(of(404, "the server could not find the requested resource"), Failure::NoSuchKind);
        assert_eq!(of(422, "another"), Failure::Refused("it answers 422: another".to_owned()));
        assert_eq!(of(503, "starting."), Failure::Refused("it answers 503: starting".to_owned()));
    }
}
