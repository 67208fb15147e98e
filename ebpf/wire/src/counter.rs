//! The kernel's counters: one for everything that can happen, so that the balance can be made.

use crate::vocabulary::vocabulary;

vocabulary! {
    /// A per-CPU counter; its number is its index.
    Counter {
        PacketsOut = 0, "packets_out": "Packets that left a pod and came to the hook.";
        PacketsIn = 1, "packets_in": "Packets for a pod that came to the hook.";
        PacketsDropped = 2, "packets_dropped": "Packets that the hook dropped.";
        Neighbour = 3, "neighbour": "Packets of ARP, neighbour and multicast listener discovery, which pass unrecorded.";
        Related = 4, "related": "ICMP errors that quote a recorded connection, which pass with it.";
        AfterClose = 5, "after_close": "Packets of a connection whose close record was made already.";
        StrayReset = 6, "stray_reset": "TCP resets without a connection that policy allows, which pass unrecorded.";
        NotIsolatedUnparsed = 7, "not_isolated_unparsed": "Unparsable packets of an endpoint that is not isolated, which pass unrecorded.";
        ConnectionsOpened = 8, "connections_opened": "Connections that were entered into the table.";
        ConnectionsClosed = 9, "connections_closed": "Connections whose close was claimed for a record.";
        ConnectionsDeleted = 10, "connections_deleted": "Connections that were taken out of the table.";
        ConnectionsChanged = 11, "connections_changed": "Live connections whose verdict changed.";
        DeniedAttempts = 12, "denied_attempts": "Denied attempts that were counted in the denial table.";
        DeniedAfterChange = 13, "denied_after_change": "Packets dropped because their connection's verdict changed to deny.";
        EventsOffered = 14, "events_offered": "Events offered to the ring buffer, repeated offers included.";
        EventsAccepted = 15, "events_accepted": "Events that the ring buffer accepted.";
        EventsRefused = 16, "events_refused": "Events that the ring buffer had no room for; they are offered again.";
        RecordsOwed = 17, "records_owed": "Records of open, change, progress and close that became due.";
        RecordsLost = 18, "records_lost": "Records that could not be kept, each counted in the table of losses.";
        LossesUnattributed = 19, "losses_unattributed": "Losses that had no room in the table of losses.";
        ConnectionsDeferred = 20, "connections_deferred": "Connections to a Service that were let on to be decided at the backend's hook.";
        DeferredDecided = 21, "deferred_decided": "Deferred connections that were then opened.";
        DeferredForgotten = 22, "deferred_forgotten": "Deferred connections that ended without having been opened.";
        DeferredReplies = 23, "deferred_replies": "Packets dropped because they answer a connection that is not decided yet.";
    }
}

impl Counter {
    /// How many counters there are.
    pub const COUNT: usize = Self::ALL.len();
}
