use super::prefixes;

fn ports_in(prefixes: &[(u16, u8)]) -> Vec<u16> {
    let of_prefix = |&(port, bits): &(u16, u8)| {
        let last = u32::from(port) + (1_u32 << (16 - bits)) - 1;
        port..=u16::try_from(last).expect("a prefix ends within the ports")
    };
    prefixes.iter().flat_map(of_prefix).collect()
}

#[test]
fn prefixes_hold_exactly_the_ports_of_the_interval() {
    let edges = [0, 1, 2, 79, 80, 81, 1023, 1024, 32767, 32768, 65534, 65535];
    for first in edges {
        for last in edges.into_iter().filter(|last| first <= *last) {
            let expected: Vec<u16> = (first..=last).collect();
            assert_eq!(ports_in(&prefixes(first, last)), expected, "{first}-{last}");
        }
    }
}

#[test]
fn an_aligned_interval_is_one_prefix() {
    assert_eq!(prefixes(0, 65535), [(0, 0)]);
    assert_eq!(prefixes(1024, 2047), [(1024, 6)]);
    assert_eq!(prefixes(443, 443), [(443, 16)]);
}
