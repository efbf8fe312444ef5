"""The echo server on Twisted's epoll reactor, as anyone would write it.

It prints its port, and ends when its standard input closes."""

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import main, protocol, reactor  # noqa: E402 (the reactor is chosen first)


class Echo(protocol.Protocol):
    def connectionMade(self):
        self.transport.setTcpNoDelay(True)
        # In bulk the client reads when it can: the rest waits with it, and not in this process.
        self.transport.registerProducer(self.transport, True)

    def dataReceived(self, data):
        self.transport.write(data)

    def connectionLost(self, reason):
        self.transport.unregisterProducer()


class Lifeline:
    """Standard input, which says only that it has closed."""

    def fileno(self):
        return 0

    def doRead(self):
        return main.CONNECTION_DONE

    def connectionLost(self, reason):
        reactor.stop()

    def logPrefix(self):
        return "lifeline"


factory = protocol.Factory.forProtocol(Echo)
factory.noisy = False
port = reactor.listenTCP(0, factory, backlog=1024, interface="127.0.0.1")
reactor.addReader(Lifeline())
print(port.getHost().port, flush=True)
reactor.run()
