//! The steps of the agent's protocol: a kill, a full disk or a spool that refuses at any of them loses nothing and doubles
//! nothing.

podwitness_runtime::steps! {
    /// A step.
    Step {
        /// The spool is recovered, and nothing was asked of the kernel.
        SpoolOpened = "spool-opened";
        /// What numbers mean is known, or begun anew where that was lost, and no map is opened.
        DefinitionsOpened = "definitions-opened";
        /// The programs are loaded over the maps, and nothing in these has changed.
        MapsOpened = "maps-opened";
        /// It is known how the agent before had ended, and no record says so.
        Begun = "begun";
        /// What the agent before had committed is acknowledged and removed.
        TakenUp = "taken-up";
        /// What namespaces ask for is written, and the spool does not say so.
        TrailsKept = "trails-kept";
        /// Definitions are written, and no table refers to them.
        Defined = "defined";
        /// Tables are filled, and no packet is decided by them; but by what was changed in place.
        Filled = "filled";
        /// Packets are decided by them, and no record says so.
        Switched = "switched";
        /// Interfaces have their hooks, and no record says so.
        Hooked = "hooked";
        /// The sweep has run, and what it offered is in the ring.
        Swept = "swept";
        /// Records of coverage and policies are about to go into the spool.
        JournalRead = "journal-read";
        /// They are in the spool, and wait in memory too.
        JournalCommitted = "journal-committed";
        /// Events are read, and not in the spool.
        EventsRead = "events-read";
        /// They are in the spool, and the ring has them too.
        EventsCommitted = "events-committed";
        /// The ring has given up their room.
        EventsAcknowledged = "events-acknowledged";
        /// Denied attempts are counted in a new epoch, and nothing is read of the older ones.
        EpochTurned = "epoch-turned";
        /// The older epochs are read, and not in the spool.
        DenialsRead = "denials-read";
        /// They are in the spool, and the tables have them too.
        DenialsCommitted = "denials-committed";
        /// The tables have them no more.
        DenialsRemoved = "denials-removed";
        /// A commit was the first of a segment, and nothing of it is acknowledged.
        SegmentBegun = "segment-begun";
        /// The balance is stated, and the spool does not have it.
        BalanceStated = "balance-stated";
        /// The agent is told to stop, and what is there is not brought out.
        Stopping = "stopping";
        /// Everything is brought out, and the spool does not say that the agent stops.
        BroughtOut = "brought-out";
        /// The spool says that the agent has stopped, and its mark says that it runs.
        StopCommitted = "stop-committed";
        /// Its mark is gone too.
        Ended = "ended";
        /// To detach: the hooks are gone, and what the maps hold is not brought out.
        Unhooked = "unhooked";
        /// The maps are gone, and the spool does not say so.
        Detached = "detached";
        /// It says so.
        DetachTold = "detach-told";
    }
}
