//! What the chart refuses, and whether it says which value it is.

use anyhow::{Result, ensure};

use crate::helm::{required, sets, template};

#[test]
fn a_value_that_is_missing_unknown_or_impossible_is_named() -> Result<()> {
    for (value, expected) in [
        ("cluster=", "cluster is missing"),
        ("store.url=", "store.url is missing"),
        ("store.url=file:///evidence", "at '/store/url'"),
        ("store.url=s3://key:secret@bucket", "at '/store/url'"),
        ("cluster=a/b", "at '/cluster'"),
        ("mode=observe", "at '/mode': value must be one of 'audit', 'enforce'"),
        ("moed=audit", "additional properties 'moed' not allowed"),
        ("config.batch.maxAge=5", "at '/config/batch/maxAge'"),
        ("config.spool.path=/tmp", "at '/config/spool': additional properties 'path' not allowed"),
        ("config.source.directory=/tmp", "at '/config': additional properties 'source' not allowed"),
        ("agent.resources.limit.memory=1Gi", "at '/agent/resources'"),
        ("runAsUser=0", "at '/runAsUser'"),
        ("runAsGroup=0", "at '/runAsGroup'"),
        ("listen.address=10.0.0.1", "at '/listen/address'"),
        ("image.digest=latest", "at '/image/digest'"),
        ("store.access.azure.clientId=x", "azure.tenantId is missing"),
        ("podMonitor.enabled=true", "podMonitor.enabled needs listen.address 0.0.0.0"),
        ("stateFolder=relative", "at '/stateFolder'"),
    ] {
        let output = template(&[required(), sets(&[value])].concat())?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(!output.status.success() && said.contains(expected), "{value}: {said}");
    }
    Ok(())
}
