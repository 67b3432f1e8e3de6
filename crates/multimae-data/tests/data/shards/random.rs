//! Random names and sizes come back.

use std::collections::BTreeMap;

use multimae_data::encode::npy;
use multimae_data::{DataModality, Dataset, Encoding, Layout, RawMap};
use proptest::prelude::*;

use super::{ids, write_tar};

fn labels() -> DataModality {
    DataModality { stride: 1, ..DataModality::new("npy", Encoding::labels(256, None, 0)) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn random_names_and_sizes_come_back(
        samples in prop::collection::btree_map(
            "[a-zA-Z0-9_ é-]{1,12}(/[a-z0-9_é]{1,80}){0,3}",
            (1_usize..40, 1_usize..40, any::<u8>(), 0_usize..3),
            1..12,
        ),
    ) {
        // The three shards have the samples in an order that is not that of their ids.
        let samples: BTreeMap<String, _> = samples
            .into_iter()
            .filter(|(id, _)| !id.starts_with("__"))
            .collect();
        prop_assume!(!samples.is_empty());
        let dir = tempfile::tempdir().unwrap();
        for shard in 0..3 {
            let members: Vec<(String, Vec<u8>)> = samples
                .iter()
                .rev()
                .filter(|(_, (.., own))| *own == shard)
                .map(|(id, (height, width, value, _))| {
                    let bytes = npy(&vec![*value; height * width], &[*height, *width]);
                    (format!("{id}.npy"), bytes.unwrap())
                })
                .collect();
            let members: Vec<(&str, &[u8])> =
                members.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
            write_tar(&dir.path().join(format!("part_{shard}.tar")), &members);
        }
        for _ in 0..2 {
            let data = Dataset::open(dir.path(), &Layout::Folders, &[labels()]).unwrap();
            let expected: Vec<&str> = samples.keys().map(String::as_str).collect();
            prop_assert_eq!(ids(&data), expected);
            for (index, (height, width, value, _)) in samples.values().enumerate() {
                let sample = data.decode(index).unwrap();
                prop_assert_eq!((sample.height, sample.width), (*height, *width));
                let map = RawMap::Labels(vec![i64::from(*value); height * width]);
                prop_assert_eq!(&sample.maps["npy"], &map);
            }
        }
    }
}
