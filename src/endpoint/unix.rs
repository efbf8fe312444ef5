//! `unix:`, for servers, clients and datagrams.

use std::time::Duration;

use super::{Argument, Arguments, ClientEndpoint, DatagramEndpoint, ParseError, ServerEndpoint};
use crate::endpoint::text::TextBuilder;
use crate::{
    ClientFactory, ConnectUnix, ConnectorId, DatagramId, DatagramProtocol, Factory, ListenUnix,
    ListenUnixDatagram, Listener, Reactor, Result, UnixAddress,
};

/// (Twisted: `UNIXServerEndpoint`.)
impl ServerEndpoint for ListenUnix {
    fn listen(&self, reactor: &mut Reactor, factory: Box<dyn Factory>) -> Result<Listener> {
        reactor.listen_unix(self.clone(), factory)
    }

    fn describe(&self) -> String {
        let defaults = ListenUnix::new(UnixAddress::UNNAMED);
        TextBuilder::new("unix")
            .positional(name(&self.address))
            .optional("mode", self.mode.map(|mode| format!("{mode:o}")))
            .key("backlog", self.backlog, defaults.backlog)
            .flag("remove_stale", self.remove_stale, defaults.remove_stale)
            .flag("unlink", self.unlink, defaults.unlink)
            .optional("send_buffer", self.send_buffer)
            .optional("receive_buffer", self.receive_buffer)
            .text()
    }
}

/// (Twisted: `UNIXClientEndpoint`.)
impl ClientEndpoint for ConnectUnix {
    fn connect(&self, reactor: &mut Reactor, factory: Box<dyn ClientFactory>) -> Result<ConnectorId> {
        reactor.connect_unix(self.clone(), factory)
    }

    fn describe(&self) -> String {
        let defaults: Duration = ConnectUnix::new(UnixAddress::UNNAMED).timeout;
        TextBuilder::new("unix")
            .positional(name(&self.address))
            .seconds("timeout", self.timeout, defaults)
            .optional("bind", self.bind.as_ref().map(name))
            .optional("send_buffer", self.send_buffer)
            .optional("receive_buffer", self.receive_buffer)
            .text()
    }
}

/// (No counterpart in Twisted.)
impl DatagramEndpoint for ListenUnixDatagram {
    fn open(&self, reactor: &mut Reactor, protocol: Box<dyn DatagramProtocol>) -> Result<DatagramId> {
        reactor.open_unix(self, protocol)
    }

    fn describe(&self) -> String {
        let defaults = ListenUnixDatagram::default();
        let text = TextBuilder::new("unix");
        let text = match &self.address {
            Some(address) => text.positional(name(address)),
            None => text,
        };
        text.optional("peer", self.peer.as_ref().map(name))
            .key("max_size", self.max_size, defaults.max_size)
            .optional("mode", self.mode.map(|mode| format!("{mode:o}")))
            .flag("remove_stale", self.remove_stale, defaults.remove_stale)
            .flag("unlink", self.unlink, defaults.unlink)
            .optional("send_buffer", self.send_buffer)
            .optional("receive_buffer", self.receive_buffer)
            .text()
    }
}

/// Formats an address as [`address`] parses it, unescaped. A path that begins with `@` gets a
/// prefix, because it would be an abstract name.
fn name(address: &UnixAddress) -> String {
    let path = address.path().map(|path| path.to_string_lossy());
    match (path, address.abstract_name()) {
        (Some(path), _) if path.starts_with('@') => format!("./{path}"),
        (Some(path), _) => path.into_owned(),
        (None, Some(name)) => format!("@{}", String::from_utf8_lossy(name)),
        (None, None) => address.to_string(),
    }
}

/// Parses `unix:PATH` or `unix:@NAME`.
pub(super) fn server(arguments: &mut Arguments) -> Result<ListenUnix, ParseError> {
    let defaults = ListenUnix::new(arguments.required("path", address)?);
    Ok(ListenUnix {
        mode: arguments.key("mode", Argument::mode)?,
        backlog: arguments.key("backlog", Argument::number)?.unwrap_or(defaults.backlog),
        remove_stale: arguments.key("remove_stale", Argument::flag)?.unwrap_or(defaults.remove_stale),
        unlink: arguments.key("unlink", Argument::flag)?.unwrap_or(defaults.unlink),
        send_buffer: arguments.key("send_buffer", Argument::number)?,
        receive_buffer: arguments.key("receive_buffer", Argument::number)?,
        ..defaults
    })
}

/// Parses `unix:PATH` or `unix:@NAME`.
pub(super) fn client(arguments: &mut Arguments) -> Result<ConnectUnix, ParseError> {
    let defaults = ConnectUnix::new(arguments.required("path", address)?);
    Ok(ConnectUnix {
        timeout: arguments.key("timeout", Argument::positive_seconds)?.unwrap_or(defaults.timeout),
        bind: arguments.key("bind", address)?,
        send_buffer: arguments.key("send_buffer", Argument::number)?,
        receive_buffer: arguments.key("receive_buffer", Argument::number)?,
        ..defaults
    })
}

/// Parses `unix:PATH` or `unix:@NAME`, which receive from a single peer or from all. Without path
/// and name, the socket only sends.
pub(super) fn datagram(arguments: &mut Arguments) -> Result<ListenUnixDatagram, ParseError> {
    let defaults = ListenUnixDatagram::default();
    Ok(ListenUnixDatagram {
        address: arguments.optional("path", address)?,
        peer: arguments.key("peer", address)?,
        max_size: arguments.key("max_size", Argument::number)?.unwrap_or(defaults.max_size),
        mode: arguments.key("mode", Argument::mode)?,
        remove_stale: arguments.key("remove_stale", Argument::flag)?.unwrap_or(defaults.remove_stale),
        unlink: arguments.key("unlink", Argument::flag)?.unwrap_or(defaults.unlink),
        send_buffer: arguments.key("send_buffer", Argument::number)?,
        receive_buffer: arguments.key("receive_buffer", Argument::number)?,
    })
}

fn address(argument: &Argument) -> Result<UnixAddress, ParseError> {
    argument.value().parse().map_err(|bad: crate::BadAddress| argument.bad(bad.why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_described_is_read_back() {
        for text in [
            "unix:/run/x",
            "unix:@name",
            "unix:./@name",
            r"unix:/a\:b\=c:mode=660:backlog=5:remove_stale=no:unlink=no:send_buffer=1:receive_buffer=2",
        ] {
            assert_eq!(server(&mut Arguments::of(text).unwrap()).unwrap().describe(), text);
        }
        for text in [
            "unix:/run/x",
            "unix:@name",
            "unix:peer=/run/log",
            "unix",
            "unix:./@name:peer=@other:max_size=512:mode=660:remove_stale=no:unlink=no:send_buffer=1:receive_buffer=2",
        ] {
            assert_eq!(datagram(&mut Arguments::of(text).unwrap()).unwrap().describe(), text);
        }
        for text in ["unix:/run/x", "unix:@name:timeout=0.5:bind=/run/y:send_buffer=1:receive_buffer=2"] {
            assert_eq!(client(&mut Arguments::of(text).unwrap()).unwrap().describe(), text);
        }
    }
}
