//! The kinds of endpoints of all layers together: the only place where layers above
//! [`endpoint`](crate::endpoint) add theirs.

use crate::endpoint::Registry;

/// Contains the built-in kinds, listed in the table of [the module](crate::endpoint).
impl Default for Registry {
    fn default() -> Registry {
        #[cfg_attr(not(feature = "tls-no-provider"), expect(unused_mut))]
        let mut registry = Registry::of_sockets();
        #[cfg(feature = "tls-no-provider")]
        crate::tls::register_endpoints(&mut registry);
        registry
    }
}
