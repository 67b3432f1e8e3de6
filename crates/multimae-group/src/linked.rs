//! A group over a link.

use std::borrow::Cow;
use std::time::Duration;

use crate::halves::in_halves;
use crate::segments::{add_decoded, encode, encoded_len, segment, segments_mut};
use crate::{Error, Group, Link, Patience, Result, Wire};

/// The largest message; larger ones go in several.
const LARGEST: usize = 64 << 20;

/// A group whose ranks send and receive by a [`Link`].
///
/// A sum is a scatter and a gather: every rank adds up one segment of the values and sends the sums
/// to all. A value travels twice, as in a ring, and no rank waits for
/// more than two messages of another.
#[derive(Debug)]
pub struct Linked<L> {
    link: L,
    timeout: Duration,
}

impl<L: Link> Linked<L> {
    /// A group that waits no longer than `timeout` for a rank that should be at the same place.
    #[must_use]
    pub fn new(link: L, timeout: Duration) -> Self {
        Self { link, timeout }
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<L> {
        let own = self.link.rank();
        (0..self.link.size()).filter(move |&rank| rank != own)
    }

    /// The patience of a rank with one that works as much.
    fn patience(&self) -> Patience {
        Some(self.timeout)
    }

    /// The patience with rank 0, which waits for others itself and names them first.
    fn patience_with_first(&self) -> Patience {
        Some(2 * self.timeout)
    }

    fn send(&self, bytes: &[u8], to: &[usize], patience: Patience) -> Result<()> {
        let length = (bytes.len() as u64).to_le_bytes();
        let all = |bytes| to.iter().map(|&rank| (rank, bytes)).collect::<Vec<(usize, &[u8])>>();
        self.link.transfer(&all(&length), &mut [], patience)?;
        for part in bytes.chunks(LARGEST) {
            self.link.transfer(&all(part), &mut [], patience)?;
        }
        Ok(())
    }

    fn receive(&self, from: usize, patience: Patience) -> Result<Vec<u8>> {
        let mut length = [0; 8];
        self.link.transfer(&[], &mut [(from, &mut length)], patience)?;
        let length = usize::try_from(u64::from_le_bytes(length)).map_err(|_| Error::Message {
            rank: from,
            problem: "it is larger than the memory".to_owned(),
        })?;
        let mut bytes = vec![0; length];
        for part in bytes.chunks_mut(LARGEST) {
            self.link.transfer(&[], &mut [(from, part)], patience)?;
        }
        Ok(bytes)
    }

    /// The messages of all ranks, on rank 0.
    fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        let size = self.link.size();
        let mut lengths = vec![[0; 8]; size];
        // All at once: who is silent is named, not only the first of them.
        let mut incoming: Vec<(usize, &mut [u8])> =
            lengths.iter_mut().enumerate().skip(1).map(|(rank, l)| (rank, &mut l[..])).collect();
        self.link.transfer(&[], &mut incoming, self.patience())?;
        let mut messages = vec![own.to_vec()];
        for (rank, length) in lengths.iter().enumerate().skip(1) {
            let length = u64::from_le_bytes(*length);
            let Some(length) = usize::try_from(length).ok().filter(|&length| length <= LARGEST)
            else {
                let problem = format!("it has {length} bytes");
                return Err(Error::Message { rank, problem });
            };
            let mut message = vec![0; length];
            if length > 0 {
                self.link.transfer(&[], &mut [(rank, &mut message)], self.patience())?;
            }
            messages.push(message);
        }
        Ok(messages)
    }
}

/// The ranks that `rank` passes a broadcast on to, and the one that it has it from: a binomial
/// tree, in which a rank sends to no more than a logarithm of the ranks.
fn tree(rank: usize, size: usize) -> (Option<usize>, Vec<usize>) {
    let lowest = if rank == 0 { size.next_power_of_two() } else { rank & rank.wrapping_neg() };
    let parent = (rank > 0).then(|| rank - lowest);
    let children = std::iter::successors(Some(lowest >> 1), |bit| Some(bit >> 1));
    let children = children.take_while(|&bit| bit > 0).map(|bit| rank + bit);
    (parent, children.filter(|&child| child < size).collect())
}

impl<L: Link> Group for Linked<L> {
    fn rank(&self) -> usize {
        self.link.rank()
    }

    fn size(&self) -> usize {
        self.link.size()
    }

    fn exchange(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        if self.rank() > 0 {
            self.send(own, &[0], self.patience_with_first())?;
            let all = self.receive(0, self.patience_with_first())?;
            return postcard::from_bytes(&all)
                .map_err(|e| Error::Message { rank: 0, problem: e.to_string() });
        }
        let messages = self.gather(own)?;
        let all = postcard::to_allocvec(&messages)
            .map_err(|e| Error::Message { rank: 0, problem: e.to_string() })?;
        self.send(&all, &self.others().collect::<Vec<_>>(), self.patience())?;
        Ok(messages)
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let (parent, children) = tree(self.rank(), self.size());
        let bytes = match parent {
            Some(parent) => self.receive(parent, self.patience_with_first())?,
            None => bytes,
        };
        self.send(&bytes, &children, self.patience_with_first())?;
        Ok(bytes)
    }

    fn sum(&self, values: &mut [f32], wire: Wire) -> Result<()> {
        let sums = self.own_sums(values, wire)?;
        self.gather_sums(values, &sums, wire)
    }

    fn await_first(&self) -> Result<()> {
        if self.rank() == 0 {
            let others: Vec<(usize, &[u8])> = self.others().map(|rank| (rank, &[1][..])).collect();
            self.link.transfer(&others, &mut [], self.patience())
        } else {
            self.link.transfer(&[], &mut [(0, &mut [0])], None)
        }
    }
}

impl<L: Link> Linked<L> {
    /// The sums of the segment of this rank; every rank sends each other the values that the other
    /// adds up.
    fn own_sums(&self, values: &[f32], wire: Wire) -> Result<Vec<f32>> {
        let (rank, size) = (self.rank(), self.size());
        let part = |rank| segment(values.len(), size, rank);
        let own = part(rank);
        let sent: Vec<(usize, Cow<'_, [u8]>)> =
            self.others().map(|to| (to, encode(&values[part(to)], wire))).collect();
        let mut received = vec![vec![0; encoded_len(own.len(), wire)]; size];
        let others = received.iter_mut().enumerate().filter(|(from, _)| *from != rank);
        self.transfer_all(
            sent.iter().map(|(to, bytes)| (*to, &**bytes)),
            others.map(|(from, bytes)| (from, bytes.as_mut_slice())),
        )?;
        let mut term = |from: usize| {
            if from == rank {
                return Ok(Some(values[own.clone()].to_vec()));
            }
            let mut term = vec![0.0; own.len()];
            add_decoded(&mut term, &received[from], wire);
            Ok(Some(term))
        };
        let add = |mut sum: Vec<f32>, term: Vec<f32>| {
            sum.iter_mut().zip(&term).for_each(|(sum, value)| *sum += value);
            sum
        };
        let sums = in_halves::<_, Error>(0..size, &mut term, &add)?;
        Ok(sums.unwrap_or_default())
    }

    /// Sends the sums of this rank's segment to all, and puts those of all into `values`. The rounding
    /// of the wire applies here too.
    fn gather_sums(&self, values: &mut [f32], sums: &[f32], wire: Wire) -> Result<()> {
        let rank = self.rank();
        let encoded = encode(sums, wire);
        let sent = self.others().map(|to| (to, &*encoded));
        let mut segments = segments_mut(values, self.size());
        if wire == Wire::F32 {
            segments[rank].copy_from_slice(sums);
            let others = segments.into_iter().enumerate().filter(|(from, _)| *from != rank);
            return self
                .transfer_all(sent, others.map(|(from, s)| (from, bytemuck::cast_slice_mut(s))));
        }
        let mut received: Vec<Vec<u8>> =
            segments.iter().map(|segment| vec![0; encoded_len(segment.len(), wire)]).collect();
        let others = received.iter_mut().enumerate().filter(|(from, _)| *from != rank);
        self.transfer_all(sent, others.map(|(from, bytes)| (from, bytes.as_mut_slice())))?;
        received[rank] = encoded.to_vec();
        for (segment, bytes) in segments.into_iter().zip(&received) {
            segment.fill(0.0);
            add_decoded(segment, bytes, wire);
        }
        Ok(())
    }

    /// Messages to and from others at once; empty ones do not travel.
    fn transfer_all<'a>(
        &self,
        outgoing: impl Iterator<Item = (usize, &'a [u8])>,
        incoming: impl Iterator<Item = (usize, &'a mut [u8])>,
    ) -> Result<()> {
        let outgoing: Vec<_> = outgoing.filter(|(_, bytes)| !bytes.is_empty()).collect();
        let mut incoming: Vec<_> = incoming.filter(|(_, bytes)| !bytes.is_empty()).collect();
        self.link.transfer(&outgoing, &mut incoming, self.patience())
    }
}

#[cfg(test)]
mod tests {
    use super::tree;

    #[test]
    fn a_broadcast_reaches_every_rank_once() {
        for size in 1..70 {
            let mut reached = vec![0; size];
            for rank in 0..size {
                for child in tree(rank, size).1 {
                    reached[child] += 1;
                    assert_eq!(tree(child, size).0, Some(rank), "{child} of {size}");
                }
            }
            assert_eq!(reached[0], 0);
            assert!(reached[1..].iter().all(|&times| times == 1), "{size}: {reached:?}");
        }
    }
}
