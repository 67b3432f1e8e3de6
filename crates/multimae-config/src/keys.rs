//! Recipe keys as data: name, group, meaning, kind and default of each are declared once; reading,
//! writing and the reference of all keys follow from that.
//!
//! Keys that both recipes have are declared in a struct of their own, which each recipe takes in.

use serde_json::Value;

use super::range::Range;

/// The declaration of one key.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// The key in the file.
    pub name: &'static str,
    /// The group it belongs to.
    pub group: &'static str,
    /// The struct that declares it.
    pub declared_in: &'static str,
    /// Its meaning, a line each.
    pub doc: &'static [&'static str],
    /// The values it takes, in a few words.
    pub kind: String,
    /// The values it takes, as a JSON Schema.
    pub schema: Value,
    /// The numbers it takes, if they are bounded.
    pub range: Option<Range>,
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
    /// The part of the value that must not change when a run is resumed.
    fn fixed(&self) -> Value {
        self.write()
    }
    /// The values of the type, in a few words.
    fn kind() -> String;
    /// The values of the type, as a JSON Schema (draft 7).
    fn schema() -> Value;
}

/// The keys of a recipe, or of a part that recipes share.
pub trait Keys: Default {
    /// All keys in order.
    fn keys() -> Vec<KeyInfo>;
    /// Sets a key. `None` if there is no such key.
    fn set(&mut self, key: &str, value: &Value) -> Option<Result<(), String>>;
    /// The values of all keys in order.
    fn values(&self) -> Vec<(&'static str, Value)>;
    /// The parts of these values that must not change when a run is resumed.
    fn fixed_values(&self) -> Vec<(&'static str, Value)>;
}

/// The meaning of a key in one recipe, where it says more than the shared one.
pub(super) type OtherDoc = (&'static str, &'static [&'static str]);

/// The keys of a shared part as a recipe takes them into one of its groups.
pub(super) fn taken<S: Keys>(group: &'static str, docs: &[OtherDoc]) -> Vec<KeyInfo> {
    let mut keys = S::keys();
    for key in &mut keys {
        key.group = group;
        if let Some((_, doc)) = docs.iter().find(|(name, doc)| *name == key.name && !doc.is_empty())
        {
            key.doc = doc;
        }
    }
    keys
}

/// Declares keys: a struct with one documented field per key.
///
/// A group may begin with `use field: Shared { ... }`, which takes in the keys of a shared struct;
/// the braces name those whose default, or meaning, is another in this recipe. A range of numbers
/// stands in brackets behind the type.
macro_rules! recipe_keys {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( group $group:literal {
                $( use $shared:ident: $shared_type:ident { $(
                    $(#[doc = $other_doc:literal])*
                    $other:ident $(= $other_default:expr)?,
                )* } )?
                $(
                    $(#[doc = $doc:literal])+
                    $key:ident: $kind:ty $([$range:expr])? = $default:expr,
                )*
            } )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $(
                $(
                    #[doc = concat!("The keys under \"", $group, "\" that recipes share.")]
                    pub $shared: $shared_type,
                )?
                $( $(#[doc = $doc])+ pub $key: $kind, )*
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $(
                    $( $shared: $shared_type {
                        $( $( $other: $other_default, )? )*
                        ..Default::default()
                    }, )?
                    $( $key: $default, )*
                )* }
            }
        }

        impl $crate::keys::Keys for $name {
            fn keys() -> Vec<$crate::keys::KeyInfo> {
                let groups: Vec<Vec<$crate::keys::KeyInfo>> = vec![ $(
                    $( $crate::keys::taken::<$shared_type>(
                        $group,
                        &[$( (stringify!($other), &[$( $other_doc ),*]) ),*],
                    ), )?
                    vec![ $( $crate::keys::KeyInfo {
                        name: stringify!($key),
                        group: $group,
                        declared_in: stringify!($name),
                        doc: &[$($doc),+],
                        kind: <$kind as $crate::keys::RecipeValue>::kind(),
                        schema: <$kind as $crate::keys::RecipeValue>::schema(),
                        range: None $(.or(Some($range)))?,
                        default: serde_json::Value::Null,
                    }, )* ],
                )* ];
                let mut keys = groups.concat();
                // A shared key's default may be this recipe's own.
                for (key, (_, value)) in keys.iter_mut().zip(Self::default().values()) {
                    key.default = value;
                }
                keys
            }

            fn set(&mut self, key: &str, value: &serde_json::Value) -> Option<Result<(), String>> {
                $(
                    $( if let Some(done) = self.$shared.set(key, value) {
                        return Some(done);
                    } )?
                    $( if key == stringify!($key) {
                        return Some(
                            $crate::keys::RecipeValue::read(value).map(|read| self.$key = read),
                        );
                    } )*
                )*
                None
            }

            fn values(&self) -> Vec<(&'static str, serde_json::Value)> {
                let groups: Vec<Vec<(&'static str, serde_json::Value)>> = vec![ $(
                    $( self.$shared.values(), )?
                    vec![ $( (
                        stringify!($key),
                        $crate::keys::RecipeValue::write(&self.$key),
                    ), )* ],
                )* ];
                groups.concat()
            }

            fn fixed_values(&self) -> Vec<(&'static str, serde_json::Value)> {
                let groups: Vec<Vec<(&'static str, serde_json::Value)>> = vec![ $(
                    $( self.$shared.fixed_values(), )?
                    vec![ $( (
                        stringify!($key),
                        $crate::keys::RecipeValue::fixed(&self.$key),
                    ), )* ],
                )* ];
                groups.concat()
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

        impl $name {
            /// The word that stands for it in a recipe.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word ),+ }
            }
        }

        impl $crate::keys::RecipeValue for $name {
            fn read(value: &serde_json::Value) -> Result<Self, String> {
                match value.as_str() {
                    $( Some($word) => Ok(Self::$variant), )+
                    _ => Err(format!("{value} is none of {}", Self::kind())),
                }
            }

            fn write(&self) -> serde_json::Value {
                self.word().into()
            }

            fn kind() -> String {
                [$($word),+].join(" | ")
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({ "enum": [$($word),+] })
            }
        }
    };
}
pub(super) use choice;
