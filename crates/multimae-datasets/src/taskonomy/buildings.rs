//! The buildings of the "tiny" split.

/// The lists in their order.
pub(super) const LISTS: [&str; 3] = ["train", "val", "test"];

/// Buildings to train on, to validate with and to test on.
const TINY: [&[&str]; 3] = [
    &[
        "hanson",
        "merom",
        "klickitat",
        "onaga",
        "leonardo",
        "marstons",
        "newfields",
        "pinesdale",
        "lakeville",
        "cosmos",
        "benevolence",
        "pomaria",
        "tolstoy",
        "shelbyville",
        "allensville",
        "wainscott",
        "beechwood",
        "coffeen",
        "stockman",
        "hiteman",
        "woodbine",
        "lindenwood",
        "forkland",
        "mifflinburg",
        "ranchester",
    ],
    &["wiconisco", "corozal", "collierville", "markleeville", "darden"],
    &["ihlen", "muleshoe", "uvalda", "noxapater", "mcdade"],
];

/// Buildings with known faults.
const FAULTY: [(&str, &str); 2] = [
    ("newfields", "the small release lacks RGB of some of its views"),
    ("rough", "its views were rendered from wrong viewpoints"),
];

/// The list of the "tiny" split that a building is on.
pub(super) fn tiny_list(building: &str) -> Option<&'static str> {
    let on = |(_, buildings): &(&str, &[&str])| buildings.contains(&building);
    LISTS.into_iter().zip(TINY).find(on).map(|(list, _)| list)
}

/// The buildings of a list that are not among these.
pub(super) fn missing(list: &str, found: &[String]) -> Vec<&'static str> {
    let of_list = LISTS.into_iter().zip(TINY).find(|(name, _)| *name == list);
    let buildings = of_list.map_or(&[][..], |(_, buildings)| buildings).iter();
    buildings.copied().filter(|building| !found.iter().any(|found| found == building)).collect()
}

/// A notice about a building with a known fault.
pub(super) fn fault(building: &str) -> Option<String> {
    let (name, fault) = FAULTY.into_iter().find(|(name, _)| *name == building)?;
    Some(format!("the building {name} has a known fault: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_has_35_buildings_once_each() {
        assert_eq!(TINY.map(<[_]>::len), [25, 5, 5]);
        let mut all: Vec<&str> = TINY.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 35);
        assert_eq!(
            ["hanson", "darden", "ihlen", "rough"].map(tiny_list),
            [Some("train"), Some("val"), Some("test"), None]
        );
        assert_eq!(missing("val", &["darden".to_owned(), "corozal".to_owned()]).len(), 3);
    }
}
