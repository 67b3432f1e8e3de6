//! Recipe keys as data: name, group, meaning, kind and default of each are declared once; reading,
//! writing and the reference of all keys follow from that.

use serde_json::Value;

/// What is known of one key.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// The key in the file.
    pub name: &'static str,
    /// The group it belongs to.
    pub group: &'static str,
    /// What it means, a line each.
    pub doc: &'static [&'static str],
    /// What values it takes.
    pub kind: String,
    /// Its value where nothing sets it.
    pub default: Value,
}

/// A type that a key can have.
pub trait RecipeValue: Sized {
    /// Reads a value.
    ///
    /// # Errors
    /// Says what was expected.
    fn read(value: &Value) -> Result<Self, String>;
    /// The value as it is written into a file.
    fn write(&self) -> Value;
    /// What values the type takes, in a few words.
    fn kind() -> String;
}

/// The keys of one kind of recipe.
pub trait Keys: Default {
    /// All keys in order.
    fn keys() -> Vec<KeyInfo>;
    /// Sets a key. `None` if there is no such key.
    fn set(&mut self, key: &str, value: &Value) -> Option<Result<(), String>>;
    /// The values of all keys in order.
    fn values(&self) -> Vec<(&'static str, Value)>;
}

/// Declares a recipe: a struct with one documented field per key.
macro_rules! recipe_keys {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( group $group:literal { $(
                $(#[doc = $doc:literal])+
                $key:ident: $kind:ty = $default:expr,
            )* } )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($( $(#[doc = $doc])+ pub $key: $kind, )*)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($( $key: $default, )*)* }
            }
        }

        impl $crate::keys::Keys for $name {
            fn keys() -> Vec<$crate::keys::KeyInfo> {
                let default = Self::default();
                vec![$($( $crate::keys::KeyInfo {
                    name: stringify!($key),
                    group: $group,
                    doc: &[$($doc),+],
                    kind: <$kind as $crate::keys::RecipeValue>::kind(),
                    default: $crate::keys::RecipeValue::write(&default.$key),
                }, )*)*]
            }

            fn set(&mut self, key: &str, value: &serde_json::Value) -> Option<Result<(), String>> {
                match key {
                    $($( stringify!($key) => Some(
                        $crate::keys::RecipeValue::read(value).map(|v| self.$key = v),
                    ), )*)*
                    _ => None,
                }
            }

            fn values(&self) -> Vec<(&'static str, serde_json::Value)> {
                vec![$($(
                    (stringify!($key), $crate::keys::RecipeValue::write(&self.$key)),
                )*)*]
            }
        }
    };
}
pub(super) use recipe_keys;

/// Declares a key that takes one of a few words.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal ),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $( $(#[$variant_meta])* $variant ),+ }

        impl $crate::keys::RecipeValue for $name {
            fn read(value: &serde_json::Value) -> Result<Self, String> {
                match value.as_str() {
                    $( Some($word) => Ok(Self::$variant), )+
                    _ => Err(format!("{value} is none of {}", Self::kind())),
                }
            }

            fn write(&self) -> serde_json::Value {
                match self { $( Self::$variant => $word.into() ),+ }
            }

            fn kind() -> String {
                [$($word),+].join(" | ")
            }
        }
    };
}
pub(super) use choice;
