//! Values that are read, and read again as they are written.

use multimae::encoder::EncoderConfig;
use multimae::modality::Size;
use serde_json::{Value, json};

use super::*;
use crate::keys::RecipeValue;

fn round_trip<T: RecipeValue + PartialEq + std::fmt::Debug>(value: &Value) -> T {
    let read = T::read(value).unwrap();
    assert_eq!(T::read(&read.write()).unwrap(), read);
    read
}

#[test]
fn numbers_may_be_written_as_texts() {
    assert_eq!(round_trip::<f64>(&json!("1e-4")), 1e-4);
    assert_eq!(round_trip::<usize>(&json!(3.0)), 3);
    assert!(usize::read(&json!(-1)).is_err());
    assert!(usize::read(&json!(1.5)).is_err());
    assert!(f64::read(&json!("nan")).is_err());
    assert!(round_trip::<bool>(&json!("yes")));
}

#[test]
fn none_has_three_spellings() {
    for none in [json!(null), json!(""), json!("None")] {
        assert_eq!(round_trip::<Option<f64>>(&none), None);
    }
    assert_eq!(round_trip::<Option<f64>>(&json!(3)), Some(3.0));
}

#[test]
fn names_and_sizes() {
    let names = round_trip::<Names>(&json!("rgb-depth"));
    assert_eq!(names, round_trip::<Names>(&json!(["rgb", "depth"])));
    assert!(Names::read(&json!("rgb-rgb")).is_err());
    assert_eq!(round_trip::<Size>(&json!([96, 128])), Size::new(96, 128));
    assert_eq!(round_trip::<Size>(&json!(224)), Size::square(224));
    assert!(Size::read(&json!([96, 128, 3])).is_err());
}

#[test]
fn encoders_by_name_or_by_numbers() {
    let base = round_trip::<EncoderChoice>(&json!("pretrain_multimae_base"));
    assert_eq!(base.config, EncoderConfig::base());
    let own = round_trip::<EncoderChoice>(&json!({ "width": 64, "depth": 2, "heads": 4 }));
    assert_eq!(own.config.width, 64);
    assert!(EncoderChoice::read(&json!({ "width": 64, "depth": 2 })).is_err());
    assert!(EncoderChoice::read(&json!("huge")).is_err());
}

#[test]
fn an_integer_alpha_is_a_number() {
    assert_eq!(round_trip::<Alphas>(&json!(1)).for_modalities(3).unwrap(), [1.0; 3]);
    assert!(Alphas(vec![1.0, 2.0]).for_modalities(3).is_err());
    assert!(Alphas::read(&json!(0)).is_err());
}
