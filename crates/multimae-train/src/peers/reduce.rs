//! The sums of gradients over processes.

use multimae::burn::tensor::{Device, Tensor, TensorData};
use multimae_group::{Group, Wire};

use crate::Result;
use crate::optim::GradientMap;

/// Values that travel together: 16 MB. Smaller buckets cost more messages, larger ones memory.
const BUCKET: usize = 4 << 20;

/// A sum over the processes of a group.
pub(super) struct Reduction<'a> {
    pub(super) group: &'a dyn Group,
    pub(super) wire: Wire,
    /// A factor for all sums.
    pub(super) correction: f64,
    /// The device of the sums, without autodiff.
    pub(super) device: Device,
}

impl Reduction<'_> {
    /// The sums of gradients `(n)` by name, `names` with their numbers of values being those that
    /// any process has. Every process calls this with the same names in the same order; one without
    /// a gradient of its own adds zeros.
    pub(super) fn sum(
        &self,
        mut own: GradientMap,
        names: Vec<(String, usize)>,
    ) -> Result<GradientMap> {
        let mut sums = GradientMap::with_capacity(names.len());
        let mut bucket = Vec::new();
        let mut members = Vec::new();
        for (name, count) in names {
            match own.swap_remove(&name) {
                Some(gradient) => append(&mut bucket, gradient.into_data()),
                None => bucket.resize(bucket.len() + count, 0.0),
            }
            members.push((name, count));
            if bucket.len() >= BUCKET {
                self.flush(&mut bucket, &mut members, &mut sums)?;
            }
        }
        self.flush(&mut bucket, &mut members, &mut sums)?;
        Ok(sums)
    }

    /// Sums a bucket and cuts it into its members again.
    fn flush(
        &self,
        bucket: &mut Vec<f32>,
        members: &mut Vec<(String, usize)>,
        sums: &mut GradientMap,
    ) -> Result<()> {
        for part in bucket.chunks_mut(BUCKET) {
            self.group.sum(part, self.wire)?;
        }
        let mut rest = bucket.as_slice();
        for (name, count) in members.drain(..) {
            let (values, behind) = rest.split_at(count);
            rest = behind;
            let data = TensorData::new(values.to_vec(), [count]);
            let sum = Tensor::from_data(data, &self.device);
            let corrected =
                if self.correction == 1.0 { sum } else { sum.mul_scalar(self.correction) };
            sums.insert(name, corrected);
        }
        bucket.clear();
        Ok(())
    }
}

fn append(bucket: &mut Vec<f32>, data: TensorData) {
    match data.as_slice::<f32>() {
        Ok(values) => bucket.extend_from_slice(values),
        Err(_) => bucket.extend(data.iter::<f32>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use multimae_group::threads;

    #[test]
    fn gradients_are_summed_over_buckets_and_missing_ones_are_zeros() {
        let names = || vec![("a".to_owned(), BUCKET - 1), ("b".to_owned(), 5), ("c".to_owned(), 3)];
        let sums = threads::run(3, |group| {
            let device = Device::default();
            let rank = group.rank() as f32;
            let gradient =
                |count: usize| Tensor::<1>::ones([count], &device).mul_scalar(rank + 1.0);
            let mut own: GradientMap = names().into_iter().map(|(n, c)| (n, gradient(c))).collect();
            if group.rank() > 0 {
                own.swap_remove("b");
            }
            let reduction = Reduction {
                group: &group,
                wire: Wire::F32,
                correction: 2.0,
                device: device.clone(),
            };
            let sums = reduction.sum(own, names()).unwrap();
            sums.into_iter()
                .map(|(name, sum)| {
                    let values = sum.into_data().try_to_vec::<f32>().unwrap();
                    assert!(values.iter().all(|value| *value == values[0]));
                    (name, values.len(), values[0])
                })
                .collect::<Vec<_>>()
        });
        for sum in sums {
            let expected = [("a", BUCKET - 1, 12.0), ("b", 5, 2.0), ("c", 3, 12.0)];
            let expected = expected.map(|(name, count, value)| (name.to_owned(), count, value));
            assert_eq!(sum, expected);
        }
    }
}
