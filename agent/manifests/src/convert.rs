//! From the API's types to the policy model: the one place where it is decided what an object means that the API server
//! would refuse.

mod address;
mod names;
mod node;
mod pod;
mod policy;
mod rule;
mod selector;
mod service;
mod slice;
mod trail;

use podwitness_policy::{Labels, Namespace, ObjectName, Uid};

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::fault::{Effect, Mistake, Problem};

pub use node::node;
pub use pod::{GivenPod, pod};
pub use policy::network_policy;
pub(crate) use policy::{close, closed, note};
pub use service::service;
pub use slice::endpoint_slice;
pub use trail::audit_trail;
pub(crate) use trail::shown;

/// An object of the model, and what was wrong with that from which it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted<T> {
    /// The object, to be used in any case.
    pub object: T,
    /// What is wrong, each with what follows from it; empty where all is well.
    pub problems: Vec<Problem>,
}

/// The label with its own name that the API server sets on every namespace.
const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Converts a Namespace. One that was not read from an API server gets the label `kubernetes.io/metadata.name` as there.
///
/// The error is that it has no name.
pub fn namespace(object: &core::Namespace) -> Result<Converted<Namespace>, Problem> {
    let name = name(&object.metadata)?;
    let mut labels = labels(&object.metadata);
    labels.set(NAMESPACE_NAME_LABEL, &name);
    Ok(Converted { object: Namespace { name, labels, uid: uid(&object.metadata) }, problems: Vec::new() })
}

fn name(metadata: &ObjectMeta) -> Result<String, Problem> {
    metadata.name.clone().filter(|name| !name.is_empty()).ok_or_else(|| Problem {
        path: "metadata.name".to_owned(),
        mistake: Mistake::Missing,
        effect: Effect::LeftOut,
    })
}

/// The name of a namespaced object.
fn object_name(metadata: &ObjectMeta) -> Result<ObjectName, Problem> {
    Ok(ObjectName::new(namespace_of(metadata.namespace.as_deref())?, name(metadata)?))
}

/// The namespace of an object; one that was written without a namespace goes to `default`, as with `kubectl`. One with
/// U+0000 in it would be another one in [`ObjectName`].
fn namespace_of(given: Option<&str>) -> Result<&str, Problem> {
    let namespace = given.filter(|namespace| !namespace.is_empty()).unwrap_or("default");
    if !namespace.contains('\0') {
        return Ok(namespace);
    }
    let mistake = Mistake::NamespaceName(namespace.escape_debug().to_string());
    Err(Problem { path: "metadata.namespace".to_owned(), mistake, effect: Effect::LeftOut })
}

fn labels(metadata: &ObjectMeta) -> Labels {
    metadata.labels.iter().flatten().collect()
}

fn uid(metadata: &ObjectMeta) -> Uid {
    metadata.uid.as_deref().unwrap_or_default().into()
}

/// The fault of a part that is left out.
fn left_out(path: String, mistake: Mistake) -> Problem {
    Problem { path, mistake, effect: Effect::PartLeftOut }
}

/// A list without room for more: of a thousand policies most lists have one member, and would have room for four.
fn exactly<T>(members: impl Iterator<Item = T>) -> Vec<T> {
    members.collect::<Box<[T]>>().into_vec()
}
