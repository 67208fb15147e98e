//! Discovery against the real kernel, in namespaces that each test makes for itself. It takes root.

mod isolation;
mod namespaces;
mod surroundings;
