//! The content of rendered frames.

use std::collections::BTreeSet;

use multimae_synth::{Frame, LABEL_NAMES, render};

const SIZE: (usize, usize) = (72, 96);

fn classes(frame: &Frame) -> BTreeSet<u8> {
    frame.labels.iter().copied().collect()
}

#[test]
fn a_frame_is_the_same_twice() {
    assert_eq!(render(3, 8, SIZE), render(3, 8, SIZE));
    assert_ne!(render(3, 8, SIZE).labels, render(3, 9, SIZE).labels);
    assert_ne!(render(3, 8, SIZE).labels, render(4, 8, SIZE).labels);
}

#[test]
fn maps_have_their_shapes_and_ranges() {
    for (index, size) in [(0, (40, 40)), (1, (30, 50)), (2, (1, 1))] {
        let frame = render(1, index, size);
        let pixels = size.0 * size.1;
        assert_eq!((frame.height, frame.width), size);
        assert_eq!(frame.rgb.len(), 3 * pixels);
        assert_eq!(frame.depth.len(), pixels);
        assert_eq!(frame.labels.len(), pixels);
        assert_eq!(frame.normals.len(), 3 * pixels);
        assert!(frame.depth.iter().all(|&d| d > 0.2 && d < 12.0));
        assert!(frame.labels.iter().all(|&id| (1..=40).contains(&id)));
        assert!(frame.normals.iter().all(|n| (-1.0..=1.0).contains(n)));
    }
}

#[test]
fn an_empty_frame_is_empty() {
    assert!(render(1, 0, (0, 10)).rgb.is_empty());
}

#[test]
fn frames_show_furnished_rooms() {
    let frames: Vec<Frame> = (0..20).map(|index| render(0, index, SIZE)).collect();
    let mut total = 0;
    for (index, frame) in frames.iter().enumerate() {
        let seen = classes(frame);
        assert!(seen.contains(&1) && seen.contains(&2), "frame {index} has no wall or no floor");
        total += seen.len();
    }
    assert!(total >= 5 * 20, "{total} classes in 20 frames");
    let all: BTreeSet<u8> = frames.iter().flat_map(classes).collect();
    let names: Vec<&str> = all.iter().map(|&id| LABEL_NAMES[id as usize]).collect();
    assert!(all.len() >= 16, "only {names:?}");
}

/// Pictures are neither dark nor burnt out, and have contrast.
#[test]
fn frames_are_well_exposed() {
    for index in 0..20 {
        let frame = render(0, index, SIZE);
        let values = || frame.rgb.iter().map(|&v| f32::from(v));
        let count = frame.rgb.len() as f32;
        let mean = values().sum::<f32>() / count;
        let spread = (values().map(|v| (v - mean).powi(2)).sum::<f32>() / count).sqrt();
        assert!((60.0..200.0).contains(&mean), "frame {index}: mean {mean}");
        assert!(spread > 15.0, "frame {index}: spread {spread}");
    }
}
