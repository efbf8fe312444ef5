/*
 * The yardstick: an echo server on bare epoll, the way a careful C programmer writes it.
 *
 * Edge-triggered; both directions registered once; one shared read buffer; write through, and keep what the kernel
 * does not take; a short read means drained, unless the peer has closed; no reading while output waits.
 * It listens on a loopback port of the kernel's choice, prints that port, and ends when its standard input closes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BUFFER = 64 * 1024, EVENTS = 1024, BACKLOG = 1024 };

struct connection {
	int fd;
	char *unsent; /* NULL while the kernel takes everything */
	size_t start, end;
};

static char buffer[READ_BUFFER];
static int poller, listener;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void lose(struct connection *connection)
{
	close(connection->fd);
	free(connection->unsent);
	free(connection);
}

/* Bytes the kernel took of `size`; -1 when the connection is broken. */
static ssize_t send_some(int fd, const char *data, size_t size)
{
	size_t sent = 0;
	while (sent < size) {
		ssize_t count = write(fd, data + sent, size - sent);
		if (count >= 0)
			sent += count;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			return -1;
	}
	return sent;
}

/* What was kept goes out first: 1 all gone, 0 still blocked, -1 broken. */
static int flush(struct connection *connection)
{
	size_t size = connection->end - connection->start;
	ssize_t sent = send_some(connection->fd, connection->unsent + connection->start, size);
	if (sent < 0)
		return -1;
	connection->start += sent;
	if ((size_t)sent < size)
		return 0;
	free(connection->unsent);
	connection->unsent = NULL;
	return 1;
}

/* Echo until drained or blocked; -1 when the connection is over. */
static int echo(struct connection *connection, int peer_closed)
{
	for (;;) {
		ssize_t count = read(connection->fd, buffer, sizeof buffer);
		if (count == 0)
			return -1;
		if (count < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN ? 0 : -1;
		}
		ssize_t sent = send_some(connection->fd, buffer, count);
		if (sent < 0)
			return -1;
		if (sent < count) {
			size_t left = count - sent;
			connection->unsent = malloc(left);
			if (!connection->unsent)
				fail("malloc");
			memcpy(connection->unsent, buffer + sent, left);
			connection->start = 0;
			connection->end = left;
			return 0;
		}
		if ((size_t)count < sizeof buffer && !peer_closed)
			return 0;
	}
}

static void ready(struct connection *connection, unsigned events)
{
	int peer_closed = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
	int readable = (events & EPOLLIN) != 0 || peer_closed;
	if (connection->unsent) {
		int flushed = flush(connection);
		if (flushed < 0)
			lose(connection);
		if (flushed <= 0)
			return;
		readable = peer_closed = 1; /* reading stopped with bytes, or the end, in the socket: no edge would tell */
	}
	if (readable && echo(connection, peer_closed) < 0)
		lose(connection);
}

static void accept_all(void)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			if (errno == EAGAIN)
				return;
			fail("accept4");
		}
		int on = 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		struct connection *connection = calloc(1, sizeof *connection);
		if (!connection)
			fail("calloc");
		connection->fd = fd;
		struct epoll_event event = {
			.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
			.data.ptr = connection,
		};
		if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
			fail("epoll_ctl");
	}
}

static void watch(int fd, void *mark)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = mark };
	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll_ctl");
}

int main(void)
{
	static struct epoll_event events[EVENTS];
	static char input; /* its address marks standard input, as the listener's marks the listener */
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;

	signal(SIGPIPE, SIG_IGN);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, BACKLOG) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &size) < 0)
		fail("listen");
	poller = epoll_create1(EPOLL_CLOEXEC);
	if (poller < 0)
		fail("epoll_create1");
	watch(listener, &listener);
	watch(STDIN_FILENO, &input);
	printf("%u\n", ntohs(address.sin_port));
	fflush(stdout);

	for (;;) {
		int count = epoll_wait(poller, events, EVENTS, -1);
		if (count < 0 && errno != EINTR)
			fail("epoll_wait");
		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr == &listener)
				accept_all();
			else if (events[i].data.ptr == &input)
				return 0;
			else
				ready(events[i].data.ptr, events[i].events);
		}
	}
}
