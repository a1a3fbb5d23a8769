//! A tiny HTTP responder: one page, whatever is asked.

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;

/// Connections served at a time.
const CONNECTIONS: usize = 2;
const PORT: u16 = 80;

pub(super) struct Server {
    response: Vec<u8>,
    connections: Vec<Connection>,
}

struct Connection {
    handle: SocketHandle,
    request_end: [u8; 4],
    sent: Option<usize>,
}

impl Server {
    pub(super) fn new(sockets: &mut SocketSet<'static>, page: &str) -> Self {
        let response = format!(
            "HTTP/1.0 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
            page.len()
        );
        let connections = (0..CONNECTIONS)
            .map(|_| {
                let socket = tcp::Socket::new(
                    tcp::SocketBuffer::new(vec![0; 2048]),
                    tcp::SocketBuffer::new(vec![0; 4096]),
                );
                Connection { handle: sockets.add(socket), request_end: [0; 4], sent: None }
            })
            .collect();
        Server { response: response.into_bytes(), connections }
    }

    /// Moves every connection on; answers whether the stack has something to do for it.
    pub(super) fn serve(&mut self, sockets: &mut SocketSet<'static>) -> bool {
        let mut worked = false;
        for connection in &mut self.connections {
            worked |= connection.serve(sockets.get_mut::<tcp::Socket>(connection.handle), &self.response);
        }
        worked
    }
}

impl Connection {
    fn serve(&mut self, socket: &mut tcp::Socket<'static>, response: &[u8]) -> bool {
        if !socket.is_open() {
            (self.request_end, self.sent) = ([0; 4], None);
            // Fails only for port 0.
            return socket.listen(PORT).is_ok();
        }
        let mut worked = false;
        while socket.can_recv() {
            let taken = socket.recv(|bytes| {
                for &byte in bytes.iter() {
                    self.request_end.rotate_left(1);
                    self.request_end[3] = byte;
                    if self.request_end == *b"\r\n\r\n" && self.sent.is_none() {
                        self.sent = Some(0);
                    }
                }
                (bytes.len(), ())
            });
            worked |= taken.is_ok();
        }
        if let Some(sent) = &mut self.sent {
            if socket.can_send() && *sent < response.len() {
                *sent += socket.send_slice(&response[*sent..]).unwrap_or(0);
                worked = true;
            }
            if *sent == response.len() && socket.may_send() {
                socket.close();
                worked = true;
            }
        } else if !socket.may_recv() && socket.may_send() {
            // The client went away without a request.
            socket.close();
            worked = true;
        }
        worked
    }
}
