//! Ways by which packets come to a pod without passing the hook on the host side of its interface.
//!
//! What a CNI does is read off its configuration and off the names of programs in the kernel. Neither says everything:
//! where it is not known it says so.

use std::fs;
use std::path::{Path, PathBuf};

use aya::programs::loaded_programs;
use serde::Deserialize;
use serde_json::Value;

use super::check::{Check, count, list, sentence};

/// Where runtimes look for the CNI's configuration, and take the first file by its name.
const CNI: &str = "/etc/cni/net.d";

/// The names of Cilium's programs begin so (`bpf/bpf_lxc.c`, `bpf_host.c`); the kernel keeps 15 characters of a name.
pub(super) const CILIUM: &str = "cil_";

const HOST_ROUTING: &str = "set `bpf.hostLegacyRouting: true` and `bpf.datapathMode: veth` in Cilium: bpf_redirect_peer \
                            and netkit bring packets into pods past the hook";

/// What is known of a plugin's interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A veth pair, through which everything passes.
    Veth,
    /// Interfaces without a host side.
    NoHostSide,
    /// A veth or netkit pair, which programs may bring packets past.
    Cilium,
    /// It makes no interface: it goes with one that does.
    None,
    Unknown,
}

fn way_of(plugin: &str) -> Way {
    match plugin {
        "aws-cni" | "bridge" | "calico" | "flannel" | "ptp" | "weave-net" => Way::Veth,
        "dummy" | "host-device" | "ib-sriov" | "ipvlan" | "macvlan" | "sriov" | "tap" | "vlan" => Way::NoHostSide,
        "cilium-cni" => Way::Cilium,
        "bandwidth" | "egress-cni" | "firewall" | "loopback" | "portmap" | "sbr" | "tuning" | "vrf" => Way::None,
        _ => Way::Unknown,
    }
}

pub(super) fn checks() -> Vec<Check> {
    vec![cni(Path::new(CNI)), redirects()]
}

fn cni(folder: &Path) -> Check {
    let name = "routes.cni";
    let look = "see which CNI the node has: only interfaces with a host side, such as veth, can be hooked";
    let file = match first_configuration(folder) {
        Ok(Some(file)) => file,
        Ok(None) => {
            return Check::unknown(name, format!("there is no CNI configuration in {}", folder.display()), look);
        }
        Err(error) => return Check::unknown(name, format!("cannot list {}: {error}", folder.display()), look),
    };
    match plugins(&file) {
        Ok(plugins) => judge_plugins(&plugins, &file),
        Err(why) => Check::unknown(name, format!("cannot read {}: {why}", file.display()), look),
    }
}

fn judge_plugins(plugins: &[String], file: &Path) -> Check {
    let name = "routes.cni";
    let found = format!("{} ({})", plugins.join(", "), file.display());
    let ways: Vec<Way> = plugins.iter().map(|plugin| way_of(plugin)).collect();
    if ways.contains(&Way::NoHostSide) {
        let advice = "pods of this CNI are not enforced: use one with veth pairs, such as ptp or bridge";
        return Check::failed(name, format!("{found} makes interfaces without a host side"), advice);
    }
    if ways.contains(&Way::Cilium) {
        return Check::warning(name, format!("{found} can bring packets past the hook"), HOST_ROUTING);
    }
    if ways.contains(&Way::Unknown) || !ways.contains(&Way::Veth) {
        let advice = "see whether it makes veth pairs, and whether its programs redirect packets past them";
        return Check::unknown(name, format!("it is not known how {found} connects pods"), advice);
    }
    Check::ok(name, format!("{found} makes veth pairs"))
}

fn first_configuration(folder: &Path) -> std::io::Result<Option<PathBuf>> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        files.push(entry?.path());
    }
    let is_configuration = |file: &PathBuf| {
        let ending = file.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| ["conflist", "conf", "json"].contains(&ending))
    };
    Ok(files.into_iter().filter(is_configuration).min())
}

/// The plugins of a list, or the one of a file of the older form.
fn plugins(file: &Path) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct Plugin {
        r#type: String,
    }
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let whole: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let listed = whole.get("plugins").cloned().unwrap_or_else(|| Value::Array(vec![whole]));
    let plugins: Vec<Plugin> = serde_json::from_value(listed).map_err(|error| error.to_string())?;
    Ok(plugins.into_iter().map(|plugin| plugin.r#type).collect())
}

/// Programs anywhere in the kernel that are known to redirect into pods: one on the node's own device is at no hook of
/// the pod's.
fn redirects() -> Check {
    let name = "routes.redirects";
    let mut names = Vec::new();
    for program in loaded_programs() {
        match program {
            Ok(program) => names.push(String::from_utf8_lossy(program.name()).into_owned()),
            Err(error) => {
                return Check::unknown(
                    name,
                    format!("the kernel's programs cannot be listed: {}", sentence(&error)),
                    "run this as root",
                );
            }
        }
    }
    judge_programs(&names)
}

fn judge_programs(names: &[String]) -> Check {
    let name = "routes.redirects";
    let mut cilium: Vec<&String> = names.iter().filter(|name| name.starts_with(CILIUM)).collect();
    cilium.sort();
    cilium.dedup();
    if cilium.is_empty() {
        let programs = count(names.len(), "program", "programs");
        return Check::ok(name, format!("none of the {programs} in the kernel is known to redirect past the hook"));
    }
    Check::warning(name, format!("Cilium's programs are in the kernel: {}", list(&cilium)), HOST_ROUTING)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{cni, judge_programs};
    use crate::doctor::check::State;

    #[test]
    fn the_first_configuration_says_how_pods_are_connected() {
        let folder = tempfile::tempdir().unwrap();
        let list = |plugins: &[&str]| {
            let plugins: Vec<String> = plugins.iter().map(|plugin| format!(r#"{{"type": "{plugin}"}}"#)).collect();
            format!(r#"{{"cniVersion": "1.0.0", "name": "a", "plugins": [{}]}}"#, plugins.join(","))
        };
        fs::write(folder.path().join("20-later.conflist"), list(&["macvlan"])).unwrap();
        fs::write(folder.path().join("05-other.txt"), "not a configuration").unwrap();
        for (text, state, words) in [
            (list(&["ptp", "portmap"]), State::Ok, "ptp, portmap"),
            (list(&["ipvlan"]), State::Failed, "without a host side"),
            (list(&["cilium-cni"]), State::Warning, "past the hook"),
            (list(&["bridge", "home-made"]), State::Unknown, "home-made"),
            (list(&["portmap"]), State::Unknown, "portmap"),
            (r#"{"name": "a", "type": "bridge"}"#.to_owned(), State::Ok, "bridge"),
            ("{".to_owned(), State::Unknown, "cannot read"),
        ] {
            fs::write(folder.path().join("10-first.conflist"), &text).unwrap();
            let check = cni(folder.path());
            assert_eq!(check.state, state, "{check:?}");
            assert!(check.found.contains(words), "{check:?}");
        }
        assert_eq!(cni(Path::new("/nowhere/at/all")).state, State::Unknown);
    }

    #[test]
    fn programs_of_cilium_are_named_wherever_they_are() {
        let names = ["pw_to_pod", "cil_from_netdev", "cil_from_contai", "cil_from_contai"].map(str::to_owned);
        let check = judge_programs(&names);
        assert_eq!(check.state, State::Warning);
        assert!(check.found.ends_with("cil_from_contai, cil_from_netdev"), "{check:?}");
        assert_eq!(judge_programs(&names[..1]).state, State::Ok);
    }
}
