//! The closed lists of words that are no kernel's: what coverage and policy records, and namespaces' trails, say. One number in the spool and one
//! word in the column each. Lists are append-only: a number is never given a second meaning.

use podwitness_wire::vocabulary;

vocabulary! {
    /// What a coverage record says has happened.
    CoverageEvent {
        AgentStarted = 1, "agent-started": "The agent began to witness; what is on the node is stated anew after it.";
        AgentStopped = 2, "agent-stopped": "The agent ended in good order; what was in force stays in force.";
        EndpointAttached = 3, "endpoint-attached": "The endpoint's hooks are on.";
        EndpointKnown = 4, "endpoint-known": "The pod behind a hooked endpoint became known; until then `unknown_endpoints` decided.";
        EndpointEnforced = 5, "endpoint-enforced": "A policy that knows the endpoint's pod is in force at its hooks.";
        EndpointDetached = 6, "endpoint-detached": "The endpoint is gone.";
        EndpointUnhooked = 7, "endpoint-unhooked": "The endpoint cannot have hooks: its traffic is neither enforced nor witnessed.";
        EndpointUnknown = 8, "endpoint-unknown": "The pod behind a hooked endpoint is known no more; `unknown_endpoints` decides.";
        RecordsLost = 9, "records-lost": "So many records of coverage and policies could not be kept; without a count: the spool was lost, and with it all that was not in the store yet.";
        AgentCrashed = 10, "agent-crashed": "The agent before had not ended in good order; found at the start of the one after it.";
        AgentDetached = 11, "agent-detached": "Every hook, map and pin was taken away: nothing is enforced or witnessed any more.";
        Balance = 12, "balance": "What the kernel has counted, and what has come out of it.";
        Clock = 13, "clock": "What the kernel says of the clock on the wall, and by how much it was set.";
        SourceAway = 14, "source-away": "Not all of the cluster's objects can be read: of the others, what was last known stays in force.";
        SourceBack = 15, "source-back": "All of the cluster's objects can be read again, and what they say is in force.";
        NamesLost = 16, "names-lost": "What numbers in the kernel's tables mean was lost: records of connections from before lack the names of pods, rules and Services.";
    }
}

vocabulary! {
    /// What a policy record says has happened.
    PolicyEvent {
        Effective = 1, "effective": "The version took effect.";
        Ended = 2, "ended": "The version took effect no more.";
        InForce = 3, "in-force": "The version is in force; a part of a statement.";
        Statement = 4, "statement": "All that is in force is stated: the `in-force` rows that follow, as many as `count`.";
    }
}

vocabulary! {
    /// How addresses outside the cluster stand in the records of a namespace.
    ExternalAddresses {
        Full = 1, "full": "As they are.";
        Truncate = 2, "truncate": "As the network around them: /24 of IPv4, /48 of IPv6.";
        Hmac = 3, "hmac": "As a keyed hash.";
    }
}

vocabulary! {
    /// What is done with traffic that policy does not allow.
    WitnessMode {
        Enforce = 1, "enforce": "It is dropped.";
        Audit = 2, "audit": "It passes, and is recorded as what would have been dropped.";
    }
}
