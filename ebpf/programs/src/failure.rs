//! The one place that says what happens where a decision cannot be made: closed for an isolated endpoint, and visible.

use podwitness_wire::{EndpointEntry, Reason, Verdict, endpoint_flags, state_flags};

use crate::{decide, flow::Flow};

/// The verdict on a packet that cannot be decided for `reason`. `Allow` is only ever said of an endpoint that is not
/// isolated in the packet's direction, or whose pod is not known where the configuration says so.
#[inline(always)]
pub(crate) fn verdict(flow: &Flow, endpoint: Option<&EndpointEntry>, reason: Reason) -> Verdict {
    let Some(endpoint) = endpoint else {
        return match reason {
            // A hook without tables cannot tell who is isolated.
            Reason::NoTables => Verdict::Deny,
            _ => unknown_endpoint(flow.snapshot.flags),
        };
    };
    if endpoint.flags & endpoint_flags::KNOWN == 0 {
        return unknown_endpoint(flow.snapshot.flags);
    }
    match reason {
        Reason::Malformed | Reason::NotIp | Reason::FragmentWithoutFirst
            if !decide::is_isolated(endpoint, flow.direction) =>
        {
            Verdict::Allow
        }
        // What cannot be remembered would have no record and no replies, isolated or not.
        _ => denied(endpoint),
    }
}

/// What is done with the traffic of an endpoint whose pod is not known.
#[inline(always)]
pub(crate) fn unknown_endpoint(flags: u64) -> Verdict {
    if flags & state_flags::DENY_UNKNOWN_ENDPOINTS == 0 { Verdict::Allow } else { Verdict::Deny }
}

/// The verdict on what policy denies: in audit mode it passes, and is recorded.
#[inline(always)]
pub(crate) fn denied(endpoint: &EndpointEntry) -> Verdict {
    if endpoint.flags & endpoint_flags::AUDIT == 0 { Verdict::Deny } else { Verdict::Audit }
}
