//! Writes what there is into the status of each `AuditTrail`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time as ApiTime};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use podwitness_manifests::{AuditTrail, AuditTrailStatus};
use podwitness_seals::time::Time;
use podwitness_source::ApiServer;

use super::evidence::Evidence;
use crate::retain::wishes::Wishes;

/// The one that counts in its namespace.
const NAME: &str = "default";
/// Trails on a page of the list.
const PAGE: u32 = 500;
/// Who has written the fields.
const WRITER: &str = "podwitness-status";
/// The condition: whether the status is of the whole evidence.
const CONDITION: &str = "Ready";

/// Writes the status of every trail that counts. Where the evidence could not be read the status says why, and what stood
/// there before of it stays.
pub(super) async fn publish(
    server: &ApiServer,
    wishes: &Wishes,
    evidence: Result<&Evidence, &String>,
) -> Result<(), String> {
    let client = server.client().map_err(|error| error.to_string())?;
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let all = Api::<AuditTrail>::all(client.clone());
        let page = all.list(&parameters).await.map_err(|error| refused("list", "audittrails", &error))?;
        for trail in page.items.iter().filter(|trail| trail.metadata.name.as_deref() == Some(NAME)) {
            write(&client, trail, &status(trail, wishes, evidence, Timestamp::now())).await?;
        }
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => parameters.continue_token = Some(next),
            None => return Ok(()),
        }
    }
}

async fn write(client: &Client, trail: &AuditTrail, status: &AuditTrailStatus) -> Result<(), String> {
    let namespace = trail.metadata.namespace.as_deref().unwrap_or_default();
    let trails = Api::<AuditTrail>::namespaced(client.clone(), namespace);
    let patch = Patch::Merge(patch(status));
    match trails
        .patch_status(NAME, &PatchParams { field_manager: Some(WRITER.to_owned()), ..PatchParams::default() }, &patch)
        .await
    {
        // It was deleted meanwhile.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        answer => answer.map(drop).map_err(|error| refused("patch", "audittrails/status", &error)),
    }
}

/// The patch that makes it the status: what there is nothing of any more is taken away.
pub(super) fn patch(status: &AuditTrailStatus) -> serde_json::Value {
    let mut fields = serde_json::json!({"evidenceFrom": null, "evidenceTo": null, "lastSeal": null});
    let written = serde_json::to_value(status).expect("texts and numbers are always JSON");
    for (field, value) in written.as_object().into_iter().flatten() {
        fields[field] = value.clone();
    }
    serde_json::json!({"status": fields})
}

/// What the status of a trail is now.
pub(super) fn status(
    trail: &AuditTrail,
    wishes: &Wishes,
    evidence: Result<&Evidence, &String>,
    now: Timestamp,
) -> AuditTrailStatus {
    let before = trail.status.clone().unwrap_or_default();
    let namespace = trail.metadata.namespace.as_deref().unwrap_or_default();
    let observed_generation = trail.metadata.generation;
    let (is_ready, reason, message) = match evidence {
        Ok(_) => ("True", "EvidenceRead", String::new()),
        Err(why) => ("False", "EvidenceNotInOrder", why.clone()),
    };
    let known = before.conditions.iter().find(|known| known.type_ == CONDITION && known.status == is_ready);
    let condition = Condition {
        type_: CONDITION.to_owned(),
        status: is_ready.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: known.map_or(ApiTime(now), |known| known.last_transition_time.clone()),
        observed_generation,
    };
    let held = Some(wishes.of_namespace(Some(namespace)).hold);
    let status = match evidence {
        Err(_) => before,
        Ok(evidence) => {
            let amount = evidence.by_namespace.get(namespace);
            let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            AuditTrailStatus {
                evidence_from: amount.map(|amount| api_time(amount.from)),
                evidence_to: amount.map(|amount| api_time(amount.to)),
                last_seal: evidence.last_seal.map(api_time),
                files: Some(amount.map_or(0, |amount| number(amount.files))),
                bytes: Some(amount.map_or(0, |amount| number(amount.bytes))),
                ..AuditTrailStatus::default()
            }
        }
    };
    AuditTrailStatus { observed_generation, held, conditions: vec![condition], ..status }
}

/// A time as the API has it, which is of whole seconds.
fn api_time(time: Time) -> ApiTime {
    ApiTime(Timestamp::from_second(time.micros().div_euclid(1_000_000)).unwrap_or_default())
}

fn refused(verb: &str, resource: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(answer) if answer.code == 403 => format!(
            "may not {verb} {resource}: {}; give its ClusterRole the rule {{apiGroups: [\"podwitness.io\"], resources: \
             [\"{resource}\"], verbs: [\"{verb}\"]}}",
            answer.message
        ),
        other => format!("cannot {verb} {resource}: {other}"),
    }
}
