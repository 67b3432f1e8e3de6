//! Groups of threads: sums, exchanges, silence.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::time::Duration;

use multimae_group::{
    Alone, Elsewhere, Error, Group, Link as _, Linked, Wire, agree, all_agree, in_halves, threads,
};
use proptest::prelude::*;

/// Values that cannot be added without rounding.
fn values(rank: usize, count: usize) -> Vec<f32> {
    (0..count)
        .map(|place| ((place * 31 + rank * 17) as f32).sin() * 10_f32.powi(rank as i32))
        .collect()
}

fn summed(size: usize, count: usize, wire: Wire) -> Vec<Vec<f32>> {
    threads::run(size, |group| {
        let mut sum = values(group.rank(), count);
        group.sum(&mut sum, wire).unwrap();
        sum
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn sums_are_those_of_adding_in_halves(size in 1..6_usize, count in 0..50_usize) {
        let mut term = |rank: usize| Ok::<_, Error>(Some(values(rank, count)));
        let add = |a: Vec<f32>, b: Vec<f32>| a.iter().zip(&b).map(|(a, b)| a + b).collect();
        let expected = in_halves(0..size, &mut term, &add).unwrap().unwrap();
        for sum in summed(size, count, Wire::F32) {
            prop_assert_eq!(&sum, &expected);
        }
    }

    #[test]
    fn halved_sums_are_equal_on_all_ranks_and_near(size in 2..6_usize, count in 1..50_usize) {
        let exact = summed(size, count, Wire::F32);
        let halved = summed(size, count, Wire::Bf16);
        for sum in &halved {
            prop_assert_eq!(sum, &halved[0]);
            for (place, value) in sum.iter().enumerate() {
                // Eight bits of every term, and of the sum.
                let terms: f32 = (0..size).map(|rank| values(rank, count)[place].abs()).sum();
                prop_assert!((value - exact[0][place]).abs() <= 2.0 * terms / 256.0);
            }
        }
    }
}

#[test]
fn everyone_gets_the_bytes_of_all_and_those_of_rank_0() {
    for size in [1, 2, 3, 5, 8] {
        let got = threads::run(size, |group| {
            let own = vec![group.rank() as u8; group.rank() * 1000];
            let all = group.exchange(&own).unwrap();
            let first = group.broadcast(vec![7 + group.rank() as u8; 3000]).unwrap();
            group.await_first().unwrap();
            (all, first)
        });
        for (all, first) in got {
            assert_eq!(all.len(), size);
            for (rank, bytes) in all.iter().enumerate() {
                assert_eq!(*bytes, vec![rank as u8; rank * 1000]);
            }
            assert_eq!(first, vec![7; 3000]);
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq)]
enum Failure {
    #[error("bad sample")]
    Own,
    #[error(transparent)]
    Group(#[from] Error),
    #[error(transparent)]
    Elsewhere(#[from] Elsewhere),
}

#[test]
fn one_failure_fails_all_and_each_knows_whose_it_is() {
    let got = threads::run(4, |group| {
        let own = if group.rank() == 2 { Err(Failure::Own) } else { Ok(group.rank()) };
        agree(&group, own)
    });
    let elsewhere = Failure::from(Elsewhere { rank: 2, message: "bad sample".to_owned() });
    assert_eq!(got[2], Err(Failure::Own));
    for rank in [0, 1, 3] {
        assert_eq!(got[rank], Err(Elsewhere { rank: 2, message: "bad sample".to_owned() }.into()));
    }
    assert_eq!(elsewhere.to_string(), "process 2: bad sample");
}

#[test]
fn agreement_shares_a_value_of_every_rank() {
    let got = threads::run(3, |group| {
        let rank = group.rank();
        all_agree::<_, _, Failure>(&group, Ok((rank, format!("of {rank}"))))
    });
    for (rank, got) in got.into_iter().enumerate() {
        let (own, all) = got.unwrap();
        assert_eq!(
            (own, all),
            (rank, vec!["of 0".to_owned(), "of 1".to_owned(), "of 2".to_owned()])
        );
    }
    let alone = all_agree::<_, _, Failure>(&Alone, Ok((1, 2)));
    assert_eq!(alone, Ok((1, vec![2])));
}

#[test]
fn silent_ranks_are_named() {
    let mut links = threads::links(4);
    // Ranks 1 and 3 do nothing; rank 2 answers.
    let (first, answering) = (links.remove(0), links.remove(1));
    let group = Linked::new(first, Duration::from_millis(50));
    answering.transfer(&[(0, &0_u64.to_le_bytes())], &mut [], None).unwrap();
    let error = group.exchange(b"mine").unwrap_err();
    let Error::Silent { ranks, .. } = &error else { panic!("{error}") };
    assert_eq!(*ranks, [1, 3]);
    assert!(error.to_string().contains("processes 1, 3"), "{error}");
}

#[test]
fn a_rank_that_has_ended_is_an_error_at_once() {
    let mut links = threads::links(2);
    let first = Linked::new(links.remove(0), Duration::from_secs(100));
    drop(links);
    assert_eq!(first.exchange(b"mine").unwrap_err(), Error::Gone { rank: 1 });
}
