//! Nothing can be reached over a network, and no local service either.

use crate::world::{holds, refuses};

#[test]
fn tcp() {
    holds(
        1,
        "import socket\nheld(lambda: socket.create_connection(('127.0.0.1', @TCP@)))",
    );
}

#[test]
fn tcp_over_ipv6() {
    holds(
        1,
        "import socket\nheld(lambda: socket.socket(socket.AF_INET6).connect(('::1', @TCP@)))",
    );
}

#[test]
fn udp() {
    holds(
        1,
        "import socket\nheld(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', @UDP@)))",
    );
}

#[test]
fn listening() {
    holds(1, "import socket\nheld(lambda: socket.create_server(('127.0.0.1', 0)))");
}

#[test]
fn names() {
    holds(
        2,
        "import socket
held(lambda: socket.getaddrinfo('example.org', 80))
held(lambda: socket.gethostbyname('localhost'))",
    );
}

#[test]
fn web() {
    holds(
        1,
        "import urllib.request\nheld(lambda: urllib.request.urlopen('http://127.0.0.1:@TCP@/', timeout=2))",
    );
}

#[test]
fn abstract_socket() {
    holds(
        1,
        "import socket\nheld(lambda: socket.socket(socket.AF_UNIX).connect('\\0@ABSTRACT@'))",
    );
}

#[test]
fn unix_sockets() {
    holds(
        4,
        "import socket
held(lambda: socket.socket(socket.AF_UNIX).connect('/run/dbus/system_bus_socket'))
held(lambda: socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock'))
held(lambda: socket.socket(socket.AF_UNIX).bind(MARK))
held(lambda: socket.socketpair())",
    );
}

#[test]
fn raw_packet_and_netlink_sockets() {
    holds(
        4,
        "import socket
held(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
held(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
held(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
held(lambda: socket.socket(40, socket.SOCK_STREAM))",
    );
}

#[test]
fn bare_socket_calls() {
    refuses(&[
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept4,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_recvmsg,
    ]);
}
