//! Whether each endpoint has both hooks, and who else is there.

use std::collections::BTreeMap;
use std::path::Path;

use podwitness_datapath::{Chain, Link, Owner, chain};
use podwitness_endpoints::Endpoint;

use super::check::{Check, count, list, sentence};
use super::routes::CILIUM;

const HOOKS: &str = "endpoints.hooks";
const ORDER: &str = "endpoints.order";

/// The hooks of every endpoint, as those of the agent with this folder of pins, and the order of programs at them.
pub(super) fn checks(bpffs: &Path, endpoints: &[Endpoint]) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut chains = Vec::new();
    for endpoint in endpoints {
        match chain(bpffs, endpoint.interface) {
            Ok(chain) => chains.push((name_of(endpoint), chain)),
            Err(error) => {
                let found = format!("its hooks cannot be read: {}", sentence(&error));
                checks.push(Check::unknown(HOOKS, found, "run this as root").about(name_of(endpoint)));
            }
        }
    }
    let unhooked: Vec<Check> = chains.iter().filter_map(|(name, chain)| lacking(name, chain)).collect();
    if checks.is_empty() && unhooked.is_empty() {
        checks.push(match chains.len() {
            0 => Check::ok(HOOKS, "there is no endpoint that needs one"),
            1 => Check::ok(HOOKS, "the one endpoint has both"),
            number => Check::ok(HOOKS, format!("all {number} endpoints have both")),
        });
    }
    checks.extend(unhooked);
    checks.extend(orders(&chains));
    checks
}

/// The interface, and the network namespace that it leads into.
fn name_of(endpoint: &Endpoint) -> String {
    format!("{} ({})", endpoint.interface_name, endpoint.name)
}

fn lacking(name: &str, chain: &Chain) -> Option<Check> {
    let is_hooked = |links: &[Link]| links.iter().any(|link| link.owner == Owner::ThisAgent);
    let what = match (is_hooked(&chain.from_pod), is_hooked(&chain.to_pod)) {
        (true, true) => return None,
        (false, false) => "it has no hook: nothing of its traffic is enforced or recorded",
        (false, true) => "it has no hook on what leaves the pod: that is not enforced or recorded",
        (true, false) => "it has no hook on what enters the pod: that is not enforced or recorded",
    };
    let advice = "start the agent, or see in its log why the interface could not be hooked";
    Some(Check::failed(HOOKS, what, advice).about(name))
}

/// One check for all interfaces at which the same programs stand in the same order, where others are among them.
fn orders(chains: &[(String, Chain)]) -> Vec<Check> {
    let mut alike: BTreeMap<String, (Vec<&str>, &Chain)> = BTreeMap::new();
    for (name, chain) in chains {
        alike.entry(words(chain, false)).or_insert_with(|| (Vec::new(), chain)).0.push(name);
    }
    let mut checks = Vec::new();
    for (names, chain) in alike.into_values() {
        // Where several interfaces are alike, each has programs with ids of its own.
        let found = words(chain, names.len() == 1);
        let subject = list(&names);
        if let Some(check) = judge(chain, &found) {
            checks.push(check.about(subject));
        }
    }
    if checks.is_empty() {
        let number = count(chains.len(), "endpoint", "endpoints");
        checks.push(Check::ok(ORDER, format!("no other program is at the hooks of {number}")));
    }
    checks
}

/// `None` where nobody else is there.
fn judge(chain: &Chain, found: &str) -> Option<Check> {
    let (mut others, mut first) = (false, Vec::new());
    for links in [&chain.from_pod, &chain.to_pod] {
        others |= links.iter().any(|link| link.owner != Owner::ThisAgent);
        // Where ours is missing nobody is before it, and the missing hook is a check of its own.
        let ours = links.iter().position(|link| link.owner == Owner::ThisAgent).unwrap_or(0);
        first.extend(links[..ours].iter());
    }
    if !others {
        return None;
    }
    Some(if first.iter().any(|link| link.name.starts_with(CILIUM)) {
        let advice = "set `bpf.hostLegacyRouting: true` in Cilium, and let the agent hook new interfaces before Cilium does: \
                      its programs end the chain and redirect into pods";
        Check::warning(ORDER, found, advice)
    } else if first.iter().any(|link| link.owner == Owner::Other) {
        let advice = "have the others attached behind ours: what a program before it passes for good, drops or redirects \
                      never comes to ours, and whether it does is not known";
        Check::warning(ORDER, found, advice)
    } else if [&chain.from_pod, &chain.to_pod].into_iter().flatten().any(|link| link.owner == Owner::AnotherAgent) {
        let advice = "stop the agent with other pins, or remove what it left with `podwitness-agent --detach`: what passes \
                      must be allowed by both";
        Check::warning(ORDER, found, advice)
    } else {
        Check::ok(ORDER, found)
    })
}

fn words(chain: &Chain, with_ids: bool) -> String {
    let links = |links: &[Link]| match links {
        [] => "nothing".to_owned(),
        some => some.iter().map(|link| word(link, with_ids)).collect::<Vec<_>>().join(", "),
    };
    format!("out of the pod: {}; into the pod: {}", links(&chain.from_pod), links(&chain.to_pod))
}

fn word(Link { name, program, priority, owner }: &Link, with_ids: bool) -> String {
    let owner = match owner {
        Owner::ThisAgent => Some("ours".to_owned()),
        Owner::AnotherAgent => Some("another agent's".to_owned()),
        Owner::Other => None,
    };
    let id = program.filter(|_| with_ids).map(|id| format!("id {id}"));
    let priority = priority.map(|priority| format!("priority {priority}"));
    let details: Vec<String> = [owner, id, priority].into_iter().flatten().collect();
    if details.is_empty() { name.clone() } else { format!("{name} ({})", details.join(", ")) }
}

#[cfg(test)]
mod tests {
    use podwitness_datapath::{Chain, Link, Owner};

    use super::{lacking, orders};
    use crate::doctor::check::{Check, State};

    fn link(name: &str, id: u32, owner: Owner) -> Link {
        Link { name: name.to_owned(), program: Some(id), priority: None, owner }
    }

    fn ours() -> Vec<Link> {
        vec![link("pw", 7, Owner::ThisAgent)]
    }

    fn only(from_pod: Vec<Link>) -> Check {
        let chain = Chain { from_pod, to_pod: ours() };
        let mut checks = orders(&[("veth1".to_owned(), chain)]);
        assert_eq!(checks.len(), 1);
        checks.remove(0)
    }

    #[test]
    fn a_missing_hook_is_named_with_its_direction() {
        let whole = Chain { from_pod: ours(), to_pod: ours() };
        assert_eq!(lacking("veth1", &whole), None);
        for (chain, words) in [
            (Chain::default(), "it has no hook:"),
            (Chain { from_pod: ours(), ..Chain::default() }, "enters the pod"),
            (Chain { to_pod: ours(), from_pod: vec![link("cil_x", 1, Owner::Other)] }, "leaves the pod"),
        ] {
            let check = lacking("veth1", &chain).unwrap();
            assert_eq!((check.state, check.subject.as_deref()), (State::Failed, Some("veth1")));
            assert!(check.found.contains(words), "{check:?}");
        }
    }

    #[test]
    fn who_stands_before_ours_is_a_warning_and_who_stands_behind_is_not() {
        assert!(only(ours()).found.starts_with("no other program"));
        let other = || link("tap", 3, Owner::Other);
        let behind = only([ours(), vec![other()]].concat());
        assert_eq!(behind.state, State::Ok);
        assert_eq!(behind.found, "out of the pod: pw (ours, id 7), tap (id 3); into the pod: pw (ours, id 7)");
        let before = only([vec![other()], ours()].concat());
        assert_eq!(before.state, State::Warning);
        assert!(before.advice.unwrap().contains("whether it does is not known"));
        let cilium = only([vec![link("cil_from_contai", 3, Owner::Other)], ours()].concat());
        assert!(cilium.advice.unwrap().contains("hostLegacyRouting"));
        let twin = only([ours(), vec![link("pw_from_pod", 3, Owner::AnotherAgent)]].concat());
        assert_eq!(twin.state, State::Warning);
        assert!(twin.advice.unwrap().contains("other pins"));
    }

    #[test]
    fn a_filter_has_its_priority() {
        let filter = Link { name: "matchall".to_owned(), program: None, priority: Some(49), owner: Owner::Other };
        assert!(only([ours(), vec![filter]].concat()).found.contains("matchall (priority 49)"));
    }

    #[test]
    fn interfaces_that_are_alike_are_one_check_without_ids() {
        let chain = |id| Chain { from_pod: [ours(), vec![link("tap", id, Owner::Other)]].concat(), to_pod: ours() };
        let checks = orders(&[("veth1".to_owned(), chain(3)), ("veth2".to_owned(), chain(4))]);
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].subject.as_deref(), Some("veth1, veth2"));
        assert_eq!(checks[0].found, "out of the pod: pw (ours), tap; into the pod: pw (ours)");
    }
}
