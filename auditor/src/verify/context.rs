//! What every part of the verification needs.

use podwitness_seals::time::Time;

use super::inventory::Inventory;
use super::keys::Keys;
use super::locks::Locks;
use super::progress::Progress;
use super::report::Report;
use super::root::Root;

/// What every part of the verification needs.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) root: &'a Root,
    pub(super) keys: &'a Keys,
    pub(super) inventory: &'a Inventory,
    pub(super) locks: &'a Locks<'a>,
    pub(super) report: &'a Report,
    pub(super) progress: &'a Progress,
    /// The time against which ages are judged.
    pub(super) as_of: Time,
    /// Whether the root is a part of another one.
    pub(super) part: bool,
}
