//! What both verifiers say of a root that is as it was made, and of one with which somebody has tampered: the tamper matrix, the
//! vectors for third parties in `schemas/golden/roots`, and what cannot be found.

mod cannot;
mod cases;
mod edit;
mod expect;
mod hostile;
mod matrix;
mod random;
mod vectors;
mod verifiers;
