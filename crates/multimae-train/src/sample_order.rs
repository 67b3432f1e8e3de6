//! The random order of training samples.

use multimae_config::DataKeys;
use multimae_data::Order;

/// Returns the order that a recipe asks for.
pub(crate) fn order_of(keys: &DataKeys) -> Order {
    keys.shard_window.map_or(Order::Samples, |window| Order::Shards { window })
}
