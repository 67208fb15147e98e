//! Who stands behind a Service's address.

use podwitness_datapath::{AddressPrefix, Tables};
use podwitness_policy::ObjectName;
use podwitness_spool::Identity;
use podwitness_wire::{AddressEntry, Verdict as WireVerdict, ipv4_mapped};

use super::*;
use crate::privacy::Key;

const GENERATION: u64 = 7;
const SERVICE: Address = ipv4_mapped([10, 96, 0, 1]);
const RANGE: Address = ipv4_mapped([10, 1, 0, 0]);
const POD: Address = ipv4_mapped([10, 1, 0, 9]);
const NODE: Address = ipv4_mapped([192, 168, 0, 2]);
const NOBODY: Address = ipv4_mapped([10, 1, 0, 77]);
const OUTSIDE: Address = ipv4_mapped([203, 0, 113, 7]);

/// An agent in whose generation 7 a pod, a node, and a range of pods are known.
struct Agent {
    _folder: tempfile::TempDir,
    definitions: Definitions,
    service: u32,
    pod: u32,
    node: u32,
}

impl Agent {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let definitions = Definitions::open(folder.path(), "boot", None).unwrap();
        let service = definitions.number_service(&ObjectName::new("shop", "web"));
        let pod = definitions.number_identity(Identity { pod: "web-1".to_owned(), ..Identity::default() });
        let node = definitions.number_identity(Identity { node: "other".to_owned(), ..Identity::default() });
        let entry = |address, bits, identity, owner, flags| {
            (AddressPrefix { address, bits }, AddressEntry { identity, owner, flags, ..AddressEntry::default() })
        };
        let addresses = [
            entry(RANGE, 96 + 24, 0, 0, address_flags::POD_RANGE),
            entry(POD, 128, pod, pod, 0),
            entry(NODE, 128, node, 0, address_flags::NODE),
        ];
        let tables = Tables { addresses: addresses.into_iter().collect(), ..Tables::default() };
        definitions.set_present(GENERATION, &tables);
        Self { _folder: folder, definitions, service, pod, node }
    }

    /// The record of a connection to the Service that goes to this backend.
    fn record(&self, generation: u64, backend: Option<Address>) -> Verdict {
        let resolution = if backend.is_some() { NatResolution::Exact } else { NatResolution::AllBackends };
        let event = Event {
            generation,
            key: ConnectionKey { peer: SERVICE, peer_port: 80, protocol: TCP, ..ConnectionKey::default() },
            service: self.service,
            backend: backend.unwrap_or_default(),
            backend_port: 8080,
            resolution: resolution.number(),
            kind: EventKind::Open.number(),
            verdict: WireVerdict::Allow.number(),
            direction: Direction::Egress.number(),
            ..Event::default()
        };
        self.record_of(&event)
    }

    fn record_of(&self, event: &Event) -> Verdict {
        let key = Key::of_test();
        let protection = Protection::new(&key, None);
        let enricher = Enricher { clock: Clock::read().unwrap(), definitions: &self.definitions, protection };
        let Some(Record::Verdict(verdict)) = enricher.event(event) else { panic!("an event is a verdict") };
        verdict
    }
}

fn destination(verdict: &Verdict) -> (u32, Option<Known>) {
    (verdict.dst_identity, u8::try_from(verdict.dst_known).ok().and_then(Known::from_number))
}

#[test]
fn a_backend_is_told_beside_the_service_and_is_who_had_its_address() {
    let agent = Agent::new();
    let record = agent.record(GENERATION, Some(POD));
    assert_eq!((record.dst_ip.as_slice(), record.dst_port), (&[10, 96, 0, 1][..], Some(80)));
    assert_eq!(destination(&record), (agent.pod, Some(Known::Exact)));
    let service = record.service.unwrap();
    assert_eq!((service.nat_resolution.as_str(), service.port), ("exact", 80));
    assert_eq!((service.backend_ip.as_slice(), service.backend_port), (&[10, 1, 0, 9][..], Some(8080)));

    let of = |generation, backend| destination(&agent.record(generation, Some(backend)));
    assert_eq!(of(GENERATION, NODE), (agent.node, Some(Known::Node)));
    assert_eq!(of(GENERATION, NOBODY), (0, Some(Known::Unknown)));
    assert_eq!(of(GENERATION, OUTSIDE), (0, Some(Known::External)));
}

#[test]
fn of_a_generation_that_is_not_in_force_no_more_is_said_than_was_learnt_since() {
    let agent = Agent::new();
    for generation in [0, GENERATION - 1, GENERATION + 1] {
        let of = |backend| destination(&agent.record(generation, Some(backend)));
        assert_eq!(of(POD), (agent.pod, Some(Known::Late)));
        for backend in [NODE, NOBODY, OUTSIDE] {
            assert_eq!(of(backend), (0, Some(Known::Unknown)));
        }
    }
}

#[test]
fn where_the_backend_is_not_known_nobody_is_named() {
    let agent = Agent::new();
    let record = agent.record(GENERATION, None);
    assert_eq!(destination(&record), (0, Some(Known::Unknown)));
    let service = record.service.unwrap();
    assert_eq!((service.nat_resolution.as_str(), service.backend_ip.len()), ("all-backends", 0));
    assert_eq!(service.backend_port, None);
}
