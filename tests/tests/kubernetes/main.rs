//! The product on a real Kubernetes, from the Helm chart alone: `tests/cluster` with two nodes, one for all tests here.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`cluster`] | the cluster: its start and end, and its commands |
//! | [`release`] | the chart installed on it, the bucket that it writes to, and the evidence in there |
//! | [`pods`] | namespaces and pods to send traffic between, and their network namespaces |
//! | [`witnesses`] | the records that there must be on every node, by the slow evaluator |
//! | [`traffic`] | steady traffic on both nodes while something happens, and the account of it |
//! | [`traces`] | what an installation could leave behind |
//!
//! Run as root under `unshare --net --mount --propagation private`, as `make test` does, after `deploy/dev/setup --cluster`;
//! the programs must be built. The tests take turns. Where one fails, the logs of everything are kept and named.

mod asked;
mod away;
mod cluster;
mod disturbed;
mod full;
mod install;
mod pods;
mod pressure;
mod release;
mod rights;
mod taint;
mod traces;
mod traffic;
mod witnesses;
