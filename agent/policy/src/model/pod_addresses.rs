//! The addresses of a pod.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of a pod, in the order in which its status has them. One of each family, as there is in the API, takes
/// no block of memory of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct PodAddresses(Kept);

/// One list is kept in one way only, so that those which are kept alike are the same.
#[derive(Clone, PartialEq, Eq)]
enum Kept {
    /// What is not there is 0.
    OfFamilies(Families, [u8; 4], [u8; 16]),
    /// More than one of a family.
    Many(Box<[IpAddr]>),
}

/// Of which families there is an address, in which order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Families {
    None,
    V4,
    V6,
    V4V6,
    V6V4,
}

impl PodAddresses {
    /// All of them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = IpAddr> + Clone {
        let (single, many): ([Option<IpAddr>; 2], &[IpAddr]) = match &self.0 {
            Kept::OfFamilies(families, v4, v6) => {
                let (v4, v6) = (Some(Ipv4Addr::from(*v4).into()), Some(Ipv6Addr::from(*v6).into()));
                let single = match families {
                    Families::None => [None, None],
                    Families::V4 => [v4, None],
                    Families::V6 => [v6, None],
                    Families::V4V6 => [v4, v6],
                    Families::V6V4 => [v6, v4],
                };
                (single, &[])
            }
            Kept::Many(addresses) => ([None, None], addresses),
        };
        single.into_iter().flatten().chain(many.iter().copied())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether this is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.iter().any(|own| own == address)
    }
}

impl Default for PodAddresses {
    fn default() -> Self {
        Self(Kept::OfFamilies(Families::None, [0; 4], [0; 16]))
    }
}

impl From<Vec<IpAddr>> for PodAddresses {
    fn from(addresses: Vec<IpAddr>) -> Self {
        let (families, v4, v6) = match addresses[..] {
            [] => return Self::default(),
            [IpAddr::V4(v4)] => (Families::V4, v4.octets(), [0; 16]),
            [IpAddr::V6(v6)] => (Families::V6, [0; 4], v6.octets()),
            [IpAddr::V4(v4), IpAddr::V6(v6)] => (Families::V4V6, v4.octets(), v6.octets()),
            [IpAddr::V6(v6), IpAddr::V4(v4)] => (Families::V6V4, v4.octets(), v6.octets()),
            _ => return Self(Kept::Many(addresses.into())),
        };
        Self(Kept::OfFamilies(families, v4, v6))
    }
}

impl FromIterator<IpAddr> for PodAddresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        addresses.into_iter().collect::<Vec<IpAddr>>().into()
    }
}

impl fmt::Debug for PodAddresses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_list_in_its_order() {
        let addresses = ["10.0.0.5", "0.0.0.0", "fd00::5", "::", "::ffff:10.0.0.5"].map(|text| text.parse().unwrap());
        let mut lists: Vec<Vec<IpAddr>> = vec![Vec::new()];
        for length in 0..3 {
            let longer: Vec<Vec<IpAddr>> = lists
                .iter()
                .filter(|list| list.len() == length)
                .flat_map(|list| addresses.map(|address| list.iter().copied().chain([address]).collect()))
                .collect();
            lists.extend(longer);
        }
        assert_eq!(lists.len(), 1 + 5 + 25 + 125);
        for list in &lists {
            let own: PodAddresses = list.iter().copied().collect();
            assert_eq!(own.iter().collect::<Vec<_>>(), *list);
            assert_eq!((own.len(), own.is_empty()), (list.len(), list.is_empty()));
            assert!(addresses.iter().all(|address| own.contains(*address) == list.contains(address)));
            for other in &lists {
                assert_eq!(own == other.iter().copied().collect(), list == other, "{list:?} {other:?}");
            }
        }
    }

    #[test]
    fn one_of_each_family_takes_24_bytes_in_all() {
        assert_eq!(size_of::<PodAddresses>(), 24);
        let both: PodAddresses = ["10.0.0.5", "fd00::5"].map(|text| text.parse().unwrap()).into_iter().collect();
        assert!(matches!(both.0, Kept::OfFamilies(..)));
    }
}
