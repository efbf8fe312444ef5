//! Conversions into option types.

/// Implements `TryFrom` for an option type. Several source types share one conversion.
macro_rules! try_from {
    ($options:ident from $($source:ty),+: $value:ident => $result:expr) => {
        $(impl TryFrom<$source> for $options {
            type Error = crate::reactor::Error;

            fn try_from($value: $source) -> crate::reactor::Result<$options> {
                $result
            }
        })+
    };
}

pub(in crate::reactor) use try_from;
