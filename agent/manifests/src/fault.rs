//! What is said about an object that is not as it should be.

use std::fmt;

use crate::object::ObjectKey;

/// Where an object was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, or whatever else the text came from, as the caller named it.
    pub origin: String,
    /// The number of the document in it, from 1. Only documents with something in them count.
    pub document: usize,
    /// The index of the item, where the document is a `List`.
    pub item: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, document {}", self.origin, self.document)?;
        self.item.map_or(Ok(()), |item| write!(formatter, ", items[{item}]"))
    }
}

/// Something wrong with one object of a text; shown as one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{}: {problem}", object.as_ref().map(|object| format!(": {object}")).unwrap_or_default())]
pub struct Fault {
    /// Where it was read.
    pub place: Place,
    /// Which object it is, where that could be told.
    pub object: Option<ObjectKey>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with an object, and what follows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{mistake}{effect}", if path.is_empty() { String::new() } else { format!("`{path}` ") })]
pub struct Problem {
    /// The field, for example `spec.ingress[0].ports[1].endPort`; empty where it is the object as a whole.
    pub path: String,
    /// What is wrong with it.
    pub mistake: Mistake,
    /// What follows.
    pub effect: Effect,
}

/// What follows from a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// The object is of no use here; nothing is lost.
    Ignored,
    /// The object is used as the message says.
    Used,
    /// The field or entry is left out, and the rest of the object is used.
    PartLeftOut,
    /// The object is left out.
    LeftOut,
    /// The rule allows nothing; the policy's other rules work and it goes on isolating.
    RuleClosed,
    /// The policy isolates its pods in both directions; its rules work.
    BothIsolated,
    /// The policy isolates in both directions and allows nothing.
    PolicyClosed,
    /// The policy isolates every pod of its namespace and allows nothing.
    NamespaceClosed,
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ignored | Self::Used => "",
            Self::PartLeftOut => " (this part is left out until then)",
            Self::LeftOut => " (the object is left out until then)",
            Self::RuleClosed => " (the rule allows nothing until then)",
            Self::BothIsolated => " (the policy isolates its pods in both directions until then)",
            Self::PolicyClosed => " (the policy isolates its pods and allows nothing until then)",
            Self::NamespaceClosed => " (the policy isolates every pod of its namespace and allows nothing until then)",
        })
    }
}

/// What can be wrong. Each message follows the path of the field and ends with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The text is neither YAML nor JSON.
    #[error("the document is neither YAML nor JSON: {0}; correct the syntax there")]
    Syntax(String),
    /// The document is not a Kubernetes object.
    #[error("the document has no `apiVersion` and `kind`; write a Kubernetes object, or move the file elsewhere")]
    NotAnObject,
    /// A kind that nothing here reads.
    #[error("ignored, because policy does not depend on `{kind}` of `{api_version}`")]
    UnknownKind {
        /// `apiVersion`.
        api_version: String,
        /// `kind`.
        kind: String,
    },
    /// Fields do not have the types that the API gives them.
    #[error("the object is not as the API describes it: {0}; correct that field")]
    Type(String),
    /// A field that must be there is not.
    #[error("is missing; give it")]
    Missing,
    /// What no namespace can be called.
    #[error("is `{0}`, which no namespace can be called; write the name of one")]
    NamespaceName(String),
    /// A field that the API does not know, which may be a misspelled one that it does.
    #[error("is not a field of the API; correct its spelling or take it away")]
    UnknownField,
    /// The same object was read before.
    #[error("the same object was read before at {0}, and that one is used; take one of them away")]
    Duplicate(Place),
    /// Not an address.
    #[error("is `{0}`, which is not an IP address; write one such as 192.0.2.1 or 2001:db8::1")]
    Address(String),
    /// Not a network.
    #[error("is `{0}`, which is not a network in CIDR notation; write one such as 192.0.2.0/24 or 2001:db8::/64")]
    Cidr(String),
    /// A network with host bits, which the API takes to be the network around it.
    #[error("is `{given}`, which has bits beyond its prefix length; it is taken as `{meant}`, better write that")]
    CidrHostBits {
        /// As written.
        given: String,
        /// As meant.
        meant: String,
    },
    /// A network that is not written as it should be, which the API server reads all the same.
    #[error("is `{given}`, which not everybody reads alike; it is taken as `{meant}`, better write that")]
    CidrForm {
        /// As written.
        given: String,
        /// As meant.
        meant: String,
    },
    /// An exception that does not make the block smaller.
    #[error("is `{given}`, which does not lie strictly within the block `{block}`; write a network that is part of it")]
    ExceptOutside {
        /// As written.
        given: String,
        /// The block's network as written.
        block: String,
    },
    /// An empty peer.
    #[error("names no peer; give one of `podSelector`, `namespaceSelector` and `ipBlock`")]
    EmptyPeer,
    /// A peer with a block and selectors.
    #[error("has `ipBlock` and a selector; make two entries of it")]
    BlockWithSelectors,
    /// Not a port number.
    #[error("is {0}, which is no port; give a number from 1 to 65535")]
    PortNumber(i64),
    /// Not a port name.
    #[error(
        "is `{0}`, which cannot be the name of a port (lower-case letters, digits and single dashes between them, \
             at least one letter, at most 15); a number is written without quotes"
    )]
    PortName(String),
    /// A range without a start.
    #[error("is {0}, but there is no `port`; give the first port of the range there")]
    EndPortWithoutPort(i32),
    /// A range whose start is a name.
    #[error("is {end}, but `port` is the name `{name}`; give the number of the first port of the range there")]
    EndPortWithNamedPort {
        /// `port`.
        name: String,
        /// `endPort`.
        end: i32,
    },
    /// A range that ends before it starts.
    #[error("is {end}, below `port`, which is {start}; give the last port of the range")]
    EndPortBelowPort {
        /// `port`.
        start: u16,
        /// `endPort`.
        end: u16,
    },
    /// A protocol that policies do not know.
    #[error("is `{0}`; the protocols are TCP, UDP and SCTP")]
    Protocol(String),
    /// An operator that selectors do not know.
    #[error("is `{0}`; the operators are In, NotIn, Exists and DoesNotExist")]
    Operator(String),
    /// `In` or `NotIn` without values.
    #[error("is empty, but `{0}` needs at least one value")]
    OperatorWithoutValues(String),
    /// `Exists` or `DoesNotExist` with values.
    #[error("is `{values}`, but `{operator}` takes no values; take them away")]
    OperatorWithValues {
        /// The operator.
        operator: String,
        /// The values.
        values: String,
    },
    /// Not the key of a label.
    #[error(
        "is `{0}`, which cannot be the key of a label (at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit \
             first and last; before it, if anything, a DNS name and `/`)"
    )]
    LabelKey(String),
    /// Not the value of a label.
    #[error(
        "is `{0}`, which cannot be the value of a label (at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit \
             first and last)"
    )]
    LabelValue(String),
    /// A policy type that does not exist.
    #[error("is `{0}`; the types are Ingress and Egress")]
    PolicyType(String),
    /// More policy types than there are.
    #[error("has {0} entries; the types are Ingress and Egress, so give at most two")]
    PolicyTypes(usize),
    /// A phase that pods do not have.
    #[error("is `{0}`, which is no phase; the pod is taken to live")]
    Phase(String),
    /// A word that is none of those that can stand there.
    #[error("is `{given}`; it can be {known}, and is taken as {taken} until then")]
    Word {
        /// As written.
        given: String,
        /// The words.
        known: &'static str,
        /// What is made of it.
        taken: &'static str,
    },
    /// A field of the wrong type.
    #[error("is `{given}`; write {expected}")]
    FieldType {
        /// As written.
        given: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A port of an `EndpointSlice` that stands for all ports.
    #[error("is missing, which means all ports; nothing can be said of a Service then, so give its number")]
    AllPorts,
    /// An address in an `EndpointSlice` of the other family.
    #[error("is `{given}`, which is no address of the slice's `addressType` {family}; put it in a slice of its own")]
    OtherFamily {
        /// As written.
        given: String,
        /// The slice's `addressType`.
        family: String,
    },
    /// Not a duration.
    #[error("is `{0}`, which is no duration; write a whole number and its unit (s, m, h, d), such as 400d")]
    Duration(String),
    /// Longer than evidence can be kept.
    #[error("is `{0}`, and the longest is 36500d (a hundred years), which is taken; write that at most")]
    Retention(String),
    /// An `AuditTrail` that does not count.
    #[error("is `{0}`; only the one called `default` counts in its namespace, so give it that name or take it away")]
    TrailName(String),
}

impl Mistake {
    /// Whether what is written has one meaning all the same, so that it costs nothing.
    pub(crate) fn has_one_meaning(&self) -> bool {
        matches!(self, Self::CidrHostBits { .. } | Self::CidrForm { .. })
    }
}
