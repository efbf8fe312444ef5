//! Certificates and keys: of this side, and those that are trusted.

mod identity;
mod pem;
mod provider;
mod reload;
mod resolver;
mod roots;

pub use self::identity::Identity;
pub use self::pem::{certificates_from_file, certificates_from_pem, revocation_lists_from_pem};
pub(super) use self::provider::chosen;
pub use self::provider::default_provider;
pub(super) use self::reload::certificates_at;
pub use self::reload::{IdentityFiles, IdentityWatch, ReloadStatistics, WatchIdentities};
pub(super) use self::resolver::Resolver;
pub use self::roots::Roots;
