//! For tests only (`cfg(test)`): enums whose variants have words must have the same ones in `strum` and
//! `serde`.

use std::fmt::Debug;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use strum::VariantArray;

/// Checks every variant: its word as text and in JSON is the same, and both are read back.
pub(crate) fn words_agree<T>()
where
    T: VariantArray + FromStr + Copy + Debug + PartialEq + Serialize + DeserializeOwned + Into<&'static str>,
{
    for &variant in T::VARIANTS {
        let word: &'static str = variant.into();
        let json = serde_json::Value::from(word);
        assert_eq!(serde_json::to_value(variant).expect("a variant is a word"), json);
        assert_eq!(serde_json::from_value::<T>(json).expect("a word is a variant"), variant);
        assert_eq!(T::from_str(word).ok(), Some(variant), "{word}");
    }
}
