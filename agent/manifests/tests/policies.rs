//! Policies: what is read, and that a mistake never opens a pod.

use podwitness_manifests::{Effect, Mistake, Object, read_documents};
use podwitness_policy::generate::Scenario;
use podwitness_policy::{
    Direction, LabelSelector, NetworkPolicy, Operator, Peer, Peers, PortMatch, Ports, Protocol, Rule,
};

/// The policy with this spec, and its faults as path, mistake and effect.
fn read(spec: &str) -> (NetworkPolicy, Vec<(String, Mistake, Effect)>) {
    let text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: shop, uid: u, generation: 3, resourceVersion: '9'}}\n\
         spec: {spec}\n"
    );
    let mut documents = read_documents(&text, "x.yaml");
    let faults = documents.faults.into_iter().map(|fault| {
        assert_eq!(fault.object.map(|object| object.to_string()).as_deref(), Some("NetworkPolicy shop/p"));
        (fault.problem.path, fault.problem.mistake, fault.problem.effect)
    });
    match documents.objects.pop().expect("the policy stands in any case").object {
        Object::NetworkPolicy(policy) => (policy, faults.collect()),
        other => panic!("{other:?}"),
    }
}

fn read_well(spec: &str) -> NetworkPolicy {
    let (policy, faults) = read(spec);
    assert_eq!(faults, []);
    policy
}

fn isolates(spec: &str) -> (bool, bool) {
    let policy = read_well(spec);
    (policy.ingress.is_some(), policy.egress.is_some())
}

#[test]
fn policy_types_are_defaulted_as_the_api_does() {
    assert_eq!(isolates("{podSelector: {}}"), (true, false));
    assert_eq!(isolates("{podSelector: {}, egress: []}"), (true, false));
    assert_eq!(isolates("{podSelector: {}, egress: [{}]}"), (true, true));
    assert_eq!(isolates("{podSelector: {}, policyTypes: [Egress]}"), (false, true));
    assert_eq!(isolates("{podSelector: {}, policyTypes: [Egress], ingress: [{}]}"), (false, true));
    assert_eq!(isolates("{podSelector: {}, policyTypes: [Ingress], egress: [{}]}"), (true, false));
    assert_eq!(isolates("{podSelector: {}, policyTypes: [Ingress, Egress]}"), (true, true));
    assert_eq!(isolates("{}"), (true, false));
}

#[test]
fn what_names_the_policy_is_kept() {
    let policy = read_well("{podSelector: {}}");
    assert_eq!((policy.name.to_string().as_str(), policy.uid.to_string().as_str()), ("shop/p", "u"));
    assert_eq!((policy.generation, policy.resource_version.as_str()), (3, "9"));
}

#[test]
fn every_field_of_a_rule_is_read() {
    let policy = read_well(
        "{podSelector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: NotIn, values: [back]}]}, ingress: [{\
         from: [{podSelector: {}}, {namespaceSelector: {matchExpressions: [{key: team, operator: Exists}]}}, \
         {namespaceSelector: {}, podSelector: {matchExpressions: [{key: a, operator: DoesNotExist}]}}, \
         {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], \
         ports: [{}, {protocol: UDP}, {port: 80}, {port: http, protocol: SCTP}, {port: 1000, endPort: 2000}]}]}",
    );
    assert_eq!(policy.pod_selector.requirements.len(), 2);
    let Some([Rule::Usable { peers: Peers::Listed(peers), ports: Ports::Listed(ports) }]) = policy.ingress.as_deref()
    else {
        panic!("{:?}", policy.ingress)
    };
    let [
        Peer::Pods { namespaces: None, .. },
        Peer::Pods { namespaces: Some(teams), pods: every },
        Peer::Pods { namespaces: Some(_), pods },
        Peer::Block(block),
    ] = peers.as_slice()
    else {
        panic!("{peers:?}")
    };
    assert_eq!(teams.requirements[0].operator, Operator::Exists);
    assert_eq!(*every, LabelSelector::everything());
    assert_eq!(pods.requirements[0].operator, Operator::DoesNotExist);
    assert_eq!(
        (block.cidr().to_string().as_str(), block.except()[0].to_string().as_str()),
        ("10.0.0.0/8", "10.1.0.0/16")
    );
    assert_eq!(ports[0], PortMatch::Protocol(Protocol::Tcp));
    assert_eq!(ports[1], PortMatch::Protocol(Protocol::Udp));
    assert_eq!(ports[3], PortMatch::Named(Protocol::Sctp, "http".to_owned()));
    let PortMatch::Range(Protocol::Tcp, range) = ports[4] else { panic!("{ports:?}") };
    assert_eq!((range.first(), range.last()), (1000, 2000));
}

#[test]
fn missing_and_empty_lists_mean_everybody_and_every_port() {
    let everything = Rule::Usable { peers: Peers::Everybody, ports: Ports::Every };
    let policy = read_well("{podSelector: {}, ingress: [{}, {from: [], ports: []}], egress: [{to: null}]}");
    assert_eq!(policy.ingress, Some(vec![everything.clone(), everything.clone()].into()));
    assert_eq!(policy.egress, Some(vec![everything].into()));
}

/// A rule that the API server refuses, the path below it at which it is named, and the mistake.
type Case = (&'static str, &'static str, fn(&Mistake) -> bool);

#[test]
fn a_rule_that_the_api_refuses_allows_nothing_and_the_other_rules_work() {
    let cases: Vec<Case> = vec![
        ("{from: [{}]}", "from[0]", |mistake| matches!(mistake, Mistake::EmptyPeer)),
        ("{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}", "from[0]", |mistake| {
            matches!(mistake, Mistake::BlockWithSelectors)
        }),
        ("{from: [{ipBlock: {cidr: 10.0.0.0}}]}", "from[0].ipBlock.cidr", |mistake| {
            matches!(mistake, Mistake::Cidr(_))
        }),
        ("{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}", "from[0].ipBlock.cidr", |mistake| {
            matches!(mistake, Mistake::Cidr(_))
        }),
        ("{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [ten]}}]}", "from[0].ipBlock.except[0]", |mistake| {
            matches!(mistake, Mistake::Cidr(_))
        }),
        ("{from: [{ipBlock: {cidr: ''}}]}", "from[0].ipBlock.cidr", |mistake| matches!(mistake, Mistake::Missing)),
        ("{from: [{ipBlock: {cidr: 10.0.0.0/+8}}]}", "from[0].ipBlock.cidr", |mistake| {
            matches!(mistake, Mistake::Cidr(_))
        }),
        ("{from: [{ipBlock: {cidr: 10..0.0/8}}]}", "from[0].ipBlock.cidr", |mistake| {
            matches!(mistake, Mistake::Cidr(_))
        }),
        ("{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}", "from[0].ipBlock.except[0]", |mistake| {
            matches!(mistake, Mistake::ExceptOutside { .. })
        }),
        (
            "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.0.0.0/8]}}]}",
            "from[0].ipBlock.except[1]",
            |mistake| matches!(mistake, Mistake::ExceptOutside { .. }),
        ),
        ("{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [0.0.0.0/0]}}]}", "from[0].ipBlock.except[0]", |mistake| {
            matches!(mistake, Mistake::ExceptOutside { .. })
        }),
        ("{from: [{ipBlock: {cidr: 10.0.0.0/8, except: ['fd00::/64']}}]}", "from[0].ipBlock.except[0]", |mistake| {
            matches!(mistake, Mistake::ExceptOutside { .. })
        }),
        ("{from: [{podSelector: {matchLabels: {'a b': c}}}]}", "from[0].podSelector.matchLabels[a b]", |mistake| {
            matches!(mistake, Mistake::LabelKey(_))
        }),
        ("{from: [{podSelector: {matchLabels: {a: -b}}}]}", "from[0].podSelector.matchLabels[a]", |mistake| {
            matches!(mistake, Mistake::LabelValue(_))
        }),
        (
            "{from: [{namespaceSelector: {matchExpressions: [{key: UPPER.example/a, operator: Exists}]}}]}",
            "from[0].namespaceSelector.matchExpressions[0].key",
            |mistake| matches!(mistake, Mistake::LabelKey(_)),
        ),
        (
            "{from: [{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [b, 'c d']}]}}]}",
            "from[0].podSelector.matchExpressions[0].values[1]",
            |mistake| matches!(mistake, Mistake::LabelValue(_)),
        ),
        (
            "{from: [{podSelector: {matchExpressions: [{operator: Exists}]}}]}",
            "from[0].podSelector.matchExpressions[0].key",
            |mistake| matches!(mistake, Mistake::LabelKey(_)),
        ),
        ("{from: [{namespaceSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}", "from[0]", |mistake| {
            matches!(mistake, Mistake::BlockWithSelectors)
        }),
        ("{ports: [{port: -1}]}", "ports[0].port", |mistake| matches!(mistake, Mistake::PortNumber(-1))),
        ("{ports: [{port: 80, endPort: 65536}]}", "ports[0].endPort", |mistake| {
            matches!(mistake, Mistake::PortNumber(65536))
        }),
        ("{ports: [{port: ''}]}", "ports[0].port", |mistake| matches!(mistake, Mistake::PortName(_))),
        ("{ports: [{port: a--b}]}", "ports[0].port", |mistake| matches!(mistake, Mistake::PortName(_))),
        ("{ports: [{port: Http}]}", "ports[0].port", |mistake| matches!(mistake, Mistake::PortName(_))),
        ("{ports: [{protocol: '', port: 80}]}", "ports[0].protocol", |mistake| matches!(mistake, Mistake::Protocol(_))),
        ("{ports: [{protocol: tcp}]}", "ports[0].protocol", |mistake| matches!(mistake, Mistake::Protocol(_))),
        (
            "{from: [{podSelector: {matchExpressions: [{key: a, operator: Is, values: [b]}]}}]}",
            "from[0].podSelector.matchExpressions[0].operator",
            |mistake| matches!(mistake, Mistake::Operator(_)),
        ),
        (
            "{from: [{namespaceSelector: {matchExpressions: [{key: a, operator: In}]}}]}",
            "from[0].namespaceSelector.matchExpressions[0].values",
            |mistake| matches!(mistake, Mistake::OperatorWithoutValues(_)),
        ),
        (
            "{from: [{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]}",
            "from[0].podSelector.matchExpressions[0].values",
            |mistake| matches!(mistake, Mistake::OperatorWithValues { .. }),
        ),
        ("{ports: [{port: 0}]}", "ports[0].port", |mistake| matches!(mistake, Mistake::PortNumber(0))),
        ("{ports: [{port: 65536}]}", "ports[0].port", |mistake| matches!(mistake, Mistake::PortNumber(65536))),
        ("{ports: [{port: '80'}]}", "ports[0].port", |mistake| matches!(mistake, Mistake::PortName(_))),
        ("{ports: [{port: a-name-that-is-too-long}]}", "ports[0].port", |mistake| {
            matches!(mistake, Mistake::PortName(_))
        }),
        ("{ports: [{endPort: 90}]}", "ports[0].endPort", |mistake| matches!(mistake, Mistake::EndPortWithoutPort(90))),
        ("{ports: [{port: http, endPort: 90}]}", "ports[0].endPort", |mistake| {
            matches!(mistake, Mistake::EndPortWithNamedPort { end: 90, .. })
        }),
        ("{ports: [{port: 90, endPort: 80}]}", "ports[0].endPort", |mistake| {
            matches!(mistake, Mistake::EndPortBelowPort { start: 90, end: 80 })
        }),
        ("{ports: [{protocol: ICMP}]}", "ports[0].protocol", |mistake| matches!(mistake, Mistake::Protocol(_))),
        ("{form: [{podSelector: {}}]}", "form", |mistake| matches!(mistake, Mistake::UnknownField)),
        ("{from: [{podSelector: {matchLabel: {a: b}}}]}", "from[0].podSelector.matchLabel", |mistake| {
            matches!(mistake, Mistake::UnknownField)
        }),
        ("{ports: [{ports: 80}]}", "ports[0].ports", |mistake| matches!(mistake, Mistake::UnknownField)),
    ];
    for (rule, path, is_expected) in cases {
        let (policy, faults) = read(&format!("{{podSelector: {{}}, ingress: [{{}}, {rule}, {{}}]}}"));
        let everything = Rule::Usable { peers: Peers::Everybody, ports: Ports::Every };
        assert_eq!(policy.ingress, Some(vec![everything.clone(), Rule::Unusable, everything].into()), "{rule}");
        let [(at, mistake, Effect::RuleClosed)] = faults.as_slice() else { panic!("{rule}: {faults:?}") };
        assert_eq!(*at, format!("spec.ingress[1].{path}"), "{rule}");
        assert!(is_expected(mistake), "{rule}: {mistake:?}");
        assert_eq!(policy.faults.len(), 1, "{rule}");
    }
}

#[test]
fn every_mistake_of_a_rule_is_named_with_its_path_and_value_and_what_to_do() {
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n  podSelector: {}\n  \
                ingress:\n  - from: [{ipBlock: {cidr: 10.1.0.0/8, except: [11.0.0.0/16]}}, {}]\n    \
                ports: [{port: 0, endPort: 70000, protocol: ICMP}, {port: http, endPort: 9}]\n";
    let documents = read_documents(text, "x.yaml");
    let messages: Vec<String> = documents.faults.iter().map(ToString::to_string).collect();
    let closed = "(the rule allows nothing until then)";
    let at = "x.yaml, document 1: NetworkPolicy shop/p: `spec.ingress[0]";
    let expected = [
        format!(
            "{at}.from[0].ipBlock.cidr` is `10.1.0.0/8`, which has bits beyond its prefix length; it is taken as `10.0.0.0/8`, better write that"
        ),
        format!(
            "{at}.from[0].ipBlock.except[0]` is `11.0.0.0/16`, which does not lie strictly within the block `10.1.0.0/8`; write a network that is part of it {closed}"
        ),
        format!("{at}.from[1]` names no peer; give one of `podSelector`, `namespaceSelector` and `ipBlock` {closed}"),
        format!("{at}.ports[0].protocol` is `ICMP`; the protocols are TCP, UDP and SCTP {closed}"),
        format!("{at}.ports[0].port` is 0, which is no port; give a number from 1 to 65535 {closed}"),
        format!("{at}.ports[0].endPort` is 70000, which is no port; give a number from 1 to 65535 {closed}"),
        format!(
            "{at}.ports[1].endPort` is 9, but `port` is the name `http`; give the number of the first port of the range there {closed}"
        ),
    ];
    assert_eq!(messages, expected);
    let Object::NetworkPolicy(policy) = &documents.objects[0].object else { panic!("it is a policy") };
    assert_eq!(policy.ingress, Some(vec![Rule::Unusable].into()));
    let faults: Vec<String> =
        expected[1..].iter().map(|message| message[message.find('`').unwrap()..].to_owned()).collect();
    assert_eq!(policy.faults, faults);
}

#[test]
fn a_policy_that_is_understood_wholly_has_no_faults() {
    let policy = read("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.0.0/8}}]}]}").0;
    assert_eq!(policy.faults, Vec::<String>::new());
}

#[test]
fn a_named_port_that_nobody_has_is_accepted() {
    let policy = read_well("{podSelector: {}, ingress: [{ports: [{port: nobody-has-it}]}]}");
    let Some([Rule::Usable { ports: Ports::Listed(ports), .. }]) = policy.ingress.as_deref() else {
        panic!("{policy:?}")
    };
    assert_eq!(ports.as_slice(), [PortMatch::Named(Protocol::Tcp, "nobody-has-it".to_owned())]);
}

#[test]
fn the_syntax_of_labels_is_that_of_the_api() {
    let long = "a".repeat(63);
    let good = ["a", "A_b.c-9", "example.com/a", "a-b.example/A", &format!("x/{long}"), &long];
    let bad = [
        "''",
        "/a",
        "a/",
        "a/b/c",
        "-a",
        "a.",
        "a_b/c",
        "A.example/a",
        "a..b/c",
        &format!("{long}a"),
        &format!("{}/a", "b".repeat(254)),
    ];
    let read =
        |key: &str| read(&format!("{{podSelector: {{matchExpressions: [{{key: {key}, operator: Exists}}]}}}}")).1;
    for key in good {
        assert_eq!(read(key), [], "{key}");
    }
    for key in bad {
        assert!(matches!(read(key).as_slice(), [(_, Mistake::LabelKey(_), Effect::NamespaceClosed)]), "{key}");
    }
    let read = |value: &str| self::read(&format!("{{podSelector: {{matchLabels: {{a: {value}}}}}}}")).1;
    for value in ["''", "a", "'1'", "A_b.c-9", &long] {
        assert_eq!(read(value), [], "{value}");
    }
    for value in ["a/b", "'a '", "-a", "a-", &format!("{long}a")] {
        assert!(matches!(read(value).as_slice(), [(_, Mistake::LabelValue(_), Effect::NamespaceClosed)]), "{value}");
    }
}

#[test]
fn egress_rules_are_checked_as_ingress_rules_are() {
    let (policy, faults) = read("{podSelector: {}, egress: [{to: [{}]}, {from: [{podSelector: {}}]}]}");
    assert_eq!(policy.egress, Some(vec![Rule::Unusable, Rule::Unusable].into()));
    let paths: Vec<&str> = faults.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(paths, ["spec.egress[0].to[0]", "spec.egress[1].from"]);
}

#[test]
fn a_network_with_host_bits_is_taken_as_the_api_takes_it() {
    let (policy, faults) =
        read("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.2.3/8, except: [10.1.2.3/16]}}]}]}");
    let Some([Rule::Usable { peers: Peers::Listed(peers), .. }]) = policy.ingress.as_deref() else {
        panic!("{policy:?}")
    };
    let [Peer::Block(block)] = peers.as_slice() else { panic!("{peers:?}") };
    assert_eq!(
        (block.cidr().to_string().as_str(), block.except()[0].to_string().as_str()),
        ("10.0.0.0/8", "10.1.0.0/16")
    );
    assert!(
        faults
            .iter()
            .all(|(_, mistake, effect)| { matches!(mistake, Mistake::CidrHostBits { .. }) && *effect == Effect::Used })
    );
    assert_eq!(faults.len(), 2);
}

#[test]
fn a_network_in_a_form_that_only_the_api_server_reads_is_taken_as_there() {
    for (given, meant) in
        [("010.0.0.0/08", "10.0.0.0/8"), ("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("10.1.0.00/8", "10.0.0.0/8")]
    {
        let (policy, faults) =
            read(&format!("{{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: '{given}'}}}}]}}]}}"));
        let Some([Rule::Usable { peers: Peers::Listed(peers), .. }]) = policy.ingress.as_deref() else {
            panic!("{policy:?}")
        };
        let [Peer::Block(block)] = peers.as_slice() else { panic!("{peers:?}") };
        assert_eq!(block.cidr().to_string(), meant, "{given}");
        let [(path, mistake, Effect::Used)] = faults.as_slice() else { panic!("{given}: {faults:?}") };
        assert_eq!(path, "spec.ingress[0].from[0].ipBlock.cidr");
        assert!(
            mistake.to_string().contains(&format!("`{given}`")) && mistake.to_string().contains(&format!("`{meant}`"))
        );
    }
}

/// The policy as it must be when nothing of it is certain but its namespace.
fn assert_closes_the_namespace(policy: &NetworkPolicy, why: &str) {
    assert_eq!(policy.pod_selector, LabelSelector::everything(), "{why}");
    for direction in [Direction::Ingress, Direction::Egress] {
        assert_eq!(policy.rules(direction), Some([].as_slice()), "{why}");
    }
}

#[test]
fn a_pod_selector_that_the_api_refuses_closes_the_namespace_and_opens_nobody() {
    for selector in [
        "{matchExpressions: [{key: a, operator: Is}]}",
        "{matchExpressions: [{key: a, operator: In, values: []}]}",
        "{matchLabel: {a: b}}",
        "{matchLabels: {'a b': c}}",
        "{matchLabels: {a: 'b c'}}",
        "{matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
    ] {
        let (policy, faults) = read(&format!("{{podSelector: {selector}, ingress: [{{}}]}}"));
        assert_closes_the_namespace(&policy, selector);
        assert!(matches!(faults.as_slice(), [(_, _, Effect::NamespaceClosed)]), "{selector}: {faults:?}");
        assert_eq!(policy.faults.len(), 1, "{selector}");
    }
}

#[test]
fn a_policy_with_a_field_of_the_wrong_type_closes_the_namespace_and_opens_nobody() {
    for spec in [
        "[]",
        "{podSelector: [], ingress: [{}]}",
        "{podSelector: {}, ingress: [{from: all}]}",
        "{podSelector: {}, ingress: [null]}",
    ] {
        let (policy, faults) = read(spec);
        assert_closes_the_namespace(&policy, spec);
        assert_eq!(
            (policy.uid.to_string().as_str(), policy.generation, policy.resource_version.as_str()),
            ("u", 3, "9")
        );
        assert!(matches!(faults.as_slice(), [(_, Mistake::Type(_), Effect::NamespaceClosed)]), "{spec}: {faults:?}");
        assert_eq!(policy.faults.len(), 1, "{spec}");
    }
}

#[test]
fn a_misspelt_field_of_the_spec_closes_the_policy() {
    let (policy, faults) = read("{podSelector: {matchLabels: {app: web}}, policyType: [Egress], ingress: [{}]}");
    assert_eq!(policy.pod_selector, LabelSelector::labels([("app", "web")]));
    assert_eq!((policy.ingress, policy.egress, policy.faults.len()), (Some([].into()), Some([].into()), 1));
    assert_eq!(faults, [("spec.policyType".to_owned(), Mistake::UnknownField, Effect::PolicyClosed)]);
}

#[test]
fn an_unknown_policy_type_isolates_in_both_directions() {
    let (policy, faults) = read("{podSelector: {}, policyTypes: [ingress]}");
    assert!(policy.ingress.is_some() && policy.egress.is_some());
    let mistake = Mistake::PolicyType("ingress".to_owned());
    assert_eq!(faults, [("spec.policyTypes[0]".to_owned(), mistake, Effect::BothIsolated)]);
    assert_eq!(
        policy.faults,
        ["`spec.policyTypes[0]` is `ingress`; the types are Ingress and Egress (the policy isolates its pods in both \
          directions until then)"]
    );
}

#[test]
fn more_policy_types_than_there_are_isolate_in_both_directions() {
    let (policy, faults) = read("{podSelector: {}, policyTypes: [Ingress, Ingress, Ingress]}");
    assert!(policy.ingress.is_some() && policy.egress.is_some());
    assert_eq!(faults, [("spec.policyTypes".to_owned(), Mistake::PolicyTypes(3), Effect::BothIsolated)]);
}

#[test]
fn the_text_is_what_was_applied_in_one_canonical_form() {
    let one = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  namespace: shop\n  name: p\n  uid: u\n  \
               annotations: {ticket: OPS-1, kubectl.kubernetes.io/last-applied-configuration: '{}'}\n  labels: {b: '2', a: '1'}\n\
               spec:\n  policyTypes: [Ingress]\n  podSelector: {}\n";
    let documents = read_documents(one, "x.yaml");
    let Object::NetworkPolicy(policy) = &documents.objects[0].object else { panic!("it is a policy") };
    assert_eq!(
        policy.text.to_string(),
        r#"{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"annotations":{"ticket":"OPS-1"},"labels":{"a":"1","b":"2"},"name":"p","namespace":"shop"},"spec":{"podSelector":{},"policyTypes":["Ingress"]}}"#
    );
}

#[test]
fn random_policies_are_read_from_their_manifests_as_they_were() {
    let mut read = 0;
    for seed in 0..500 {
        for policy in Scenario::random(seed).cluster.policies.iter() {
            let documents = read_documents(&policy.text.to_string(), "x.json");
            let Object::NetworkPolicy(found) = &documents.objects[0].object else { panic!("seed {seed}") };
            let named = NetworkPolicy {
                uid: policy.uid.clone(),
                generation: policy.generation,
                resource_version: policy.resource_version.clone(),
                faults: policy.faults.clone(),
                ..found.clone()
            };
            assert_eq!(named, *policy, "seed {seed}");
            read += 1;
        }
    }
    assert!(read > 1000, "only {read} policies");
}
