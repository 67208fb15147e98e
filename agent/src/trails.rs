//! What namespaces ask for the evidence about them, as the exporter is told it: with the configuration's default where a
//! namespace asks for nothing, and never less than its floor.

use std::time::Duration;

use podwitness_config::Retention;
use podwitness_policy::{AuditTrail, Cluster, ExternalAddresses};
use podwitness_spool::{Trail, words};

/// The trails of a cluster.
pub(crate) fn trails(cluster: &Cluster, configured: &Retention) -> Vec<Trail> {
    cluster.trails.iter().map(|trail| stated(trail, configured)).collect()
}

/// Adds what was asked for before by namespaces that ask for nothing now: for a source that is not whole, in which they may
/// ask where it cannot be read.
pub(crate) fn keep_known(trails: &mut Vec<Trail>, known: &[Trail]) {
    let lacking = known.iter().filter(|known| !trails.iter().any(|trail| trail.namespace == known.namespace));
    let lacking: Vec<_> = lacking.cloned().collect();
    trails.extend(lacking);
}

/// What a namespace asks for that is less than the floor.
pub(crate) fn below_floor<'a>(
    cluster: &'a Cluster,
    configured: &Retention,
) -> impl Iterator<Item = (&'a str, Duration)> {
    let floor = configured.minimum;
    let asked = cluster.trails.iter().filter_map(|trail| Some((trail.name.namespace(), trail.retention?)));
    asked.filter(move |(_, asked)| *asked < floor)
}

fn stated(trail: &AuditTrail, configured: &Retention) -> Trail {
    let external_addresses = match trail.external_addresses {
        ExternalAddresses::Full => words::ExternalAddresses::Full,
        ExternalAddresses::Truncate => words::ExternalAddresses::Truncate,
        ExternalAddresses::Hmac => words::ExternalAddresses::Hmac,
    };
    Trail {
        namespace: trail.name.namespace().to_owned(),
        retention_seconds: configured.seconds(trail.retention),
        legal_hold: trail.legal_hold,
        external_addresses: external_addresses.number().into(),
    }
}

#[cfg(test)]
mod tests {
    use podwitness_policy::ObjectName;

    use super::*;

    #[test]
    fn a_namespace_gets_what_it_asks_for_the_default_where_it_asks_for_nothing_and_the_floor_at_least() {
        let configured = Retention { default: Duration::from_secs(400), minimum: Duration::from_millis(89_500) };
        let mut cluster = Cluster::default();
        for (namespace, retention) in [("long", Some(500)), ("none", None), ("short", Some(30))] {
            let trail = AuditTrail {
                name: ObjectName::new(namespace, "default"),
                retention: retention.map(Duration::from_secs),
                legal_hold: namespace == "short",
                mode: None,
                external_addresses: ExternalAddresses::Truncate,
            };
            cluster.trails.insert(trail);
        }
        let stated = trails(&cluster, &configured);
        let told: Vec<_> =
            stated.iter().map(|trail| (trail.namespace.as_str(), trail.retention_seconds, trail.legal_hold)).collect();
        assert_eq!(told, [("long", 500, false), ("none", 400, false), ("short", 90, true)]);
        assert!(stated.iter().all(|trail| trail.external_addresses == 2));
        let mut partial: Vec<_> = stated[..1].to_vec();
        keep_known(&mut partial, &stated);
        assert_eq!(partial, stated);
        let below: Vec<_> = below_floor(&cluster, &configured).collect();
        assert_eq!(below, [("short", Duration::from_secs(30))]);
    }
}
