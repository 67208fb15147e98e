//! The steps of the exporter's protocol: a kill, a full disk or a store that refuses at any of them loses nothing and
//! doubles nothing.

podwitness_runtime::steps! {
    /// A step.
    Step {
        /// A batch is closed and nothing of it is on the disk.
        Gathered = "gathered";
        /// A file is staged, and no plan names it.
        Staged = "staged";
        /// The plan is there.
        Planned = "planned";
        /// A file is in the store, and others may not be.
        Put = "put";
        /// All files are in the store, and no seal will list them.
        AllPut = "all-put";
        /// The next seal will list them, and the spool still has the records.
        Noted = "noted";
        /// The spool has forgotten the records, and the plan is still there.
        Done = "done";
        /// The plan is gone, and its files are still there.
        Unplanned = "unplanned";
        /// A seal is made, and nothing of it is on the disk.
        Composed = "composed";
        /// A seal is on the disk with its signature.
        SealStaged = "seal-staged";
        /// The key is in the store.
        KeyPut = "key-put";
        /// The signature is in the store, and what it signs is not.
        SignaturePut = "signature-put";
        /// The seal is in the store, and the state does not say so.
        SealPut = "seal-put";
        /// The state says that the seal is in the store.
        Sealed = "sealed";
    }
}
