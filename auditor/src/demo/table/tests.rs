use super::{clock, lines, render};
use crate::evidence::{PolicyRule, Record, Side};

fn record(time: i64, event: &str, verdict: &str, src: &str, policies: &[(&str, Option<i32>)]) -> Record {
    let pod = |name: &str| (Some("shop".to_owned()), Some(name.to_owned()));
    let (namespace, name) = pod("a-deployment-7d9f8b6c5d-x2x4z");
    Record {
        time,
        namespace: "shop".to_owned(),
        seq: time,
        event: event.to_owned(),
        verdict: Some(verdict.to_owned()),
        direction: Some("ingress".to_owned()),
        reason: Some("no-rule".to_owned()),
        count: 1,
        protocol: Some("TCP".to_owned()),
        src: Side { ip: Some(src.parse().unwrap()), namespace, pod: name, ..Side::default() },
        dst: Side {
            ip: Some("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff".parse().unwrap()),
            port: Some(8080),
            ..Side::default()
        },
        policies: policies
            .iter()
            .map(|(name, rule)| PolicyRule { namespace: "shop".to_owned(), name: (*name).to_owned(), rule: *rule })
            .collect(),
    }
}

#[test]
fn decisions_alike_in_all_but_family_are_one_line() {
    let records = [
        record(1_000, "open", "allow", "10.0.0.1", &[("api", Some(1))]),
        record(2_000, "open", "allow", "fd00::1", &[("api", Some(1))]),
        record(3_000, "close", "allow", "10.0.0.1", &[("api", Some(1))]),
        record(4_000, "open", "allow", "10.0.0.1", &[("api", Some(2))]),
    ];
    let lines = lines(&records);
    let found: Vec<_> = lines.iter().map(|(line, group)| (line.why.as_str(), group.count, group.time)).collect();
    assert_eq!(found, [("shop/api[1]", 2, 1_000), ("shop/api[2]", 1, 4_000)]);
    assert_eq!(lines.values().next().unwrap().families.iter().copied().collect::<Vec<_>>(), ["v4", "v6"]);
}

#[test]
fn the_table_fits_120_columns_and_says_everything() {
    let long: Vec<(&str, Option<i32>)> =
        ["default-deny", "allow-from-the-other-namespace", "dns"].map(|name| (name, None)).into();
    let text = render(&lines(&[
        record(1_700_000_000_123_456, "deny", "deny", "10.0.0.1", &long),
        record(1, "deny", "deny", "fd00::1", &[]),
    ]));
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    let words: String = text.split_whitespace().collect();
    for part in ["22:13:20", "8080/TCP", "ingress", "deny", "v4", "shop/default-deny,", "no-rule"] {
        assert!(words.contains(part), "{part} is not in\n{text}");
    }
    // Not a terminal here, so there are no colours.
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn the_clock_shows_the_time_of_day() {
    assert_eq!(clock(1_700_000_000_000_999), "22:13:20");
}
