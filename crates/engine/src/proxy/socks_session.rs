//! A SOCKS client.

use anonnet_errors::{ErrorKind, HasKind};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::session::{Client, Wish, deadline, farewell, read_more};
use super::socks::{Command, Reply, Socks, SocksRequest, Step, reply};
use crate::copy::splice;
use crate::events::ProxyProtocol;
use crate::pipe::Answer;

pub(super) async fn serve(client: &Client, mut socket: TcpStream, mut buffer: Vec<u8>) {
    let Some(request) = handshake(&mut socket, &mut buffer).await else {
        return;
    };
    let version = request.version;
    let resolve = request.command == Command::Resolve;
    let invalid = if !resolve && request.port == 0 {
        Some(ErrorKind::InvalidAddress)
    } else {
        None
    };
    if let Some(kind) = invalid {
        return farewell(socket, &reply(version, Reply::from_kind(kind), None)).await;
    }
    if resolve && let Ok(address) = request.host.parse() {
        return farewell(socket, &reply(version, Reply::Succeeded, Some(address))).await;
    }
    let wish = Wish {
        protocol: if version == 4 {
            ProxyProtocol::Socks4
        } else {
            ProxyProtocol::Socks5
        },
        resolve,
        host: request.host,
        port: request.port,
        literal: request.literal,
        user: request.user,
        password: request.password,
    };
    let opened = match client.open(&wish).await {
        Ok(opened) => opened,
        Err(kind) => return farewell(socket, &reply(version, Reply::from_kind(kind), None)).await,
    };
    if let Answer::Resolved(addresses) = &opened.answer {
        let answer = reply(version, Reply::Succeeded, addresses.first().copied());
        client.close(opened, Ok(()));
        return farewell(socket, &answer).await;
    }
    let result = match socket.write_all(&reply(version, Reply::Succeeded, None)).await {
        Ok(()) => splice(&opened.handle, socket, buffer).await,
        Err(error) => Err(crate::copy::socket_kind(&error)),
    };
    client.close(opened, result);
}

/// Reads until there is a request; what follows it stays in the buffer.
async fn handshake(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<SocksRequest> {
    let (mut socks, deadline) = (Socks::default(), deadline());
    loop {
        match socks.step(buffer) {
            Ok(Step::Wait) => {
                if !read_more(socket, buffer, deadline).await.ok()? {
                    return None;
                }
            }
            Ok(Step::Send { consumed, bytes }) => {
                buffer.drain(..consumed);
                socket.write_all(&bytes).await.ok()?;
            }
            Ok(Step::Request { consumed, request }) => {
                buffer.drain(..consumed);
                return Some(request);
            }
            Err(error) => {
                debug_assert!(error.kind() != ErrorKind::Internal);
                if let Some(bytes) = Socks::refusal(error) {
                    let _ = socket.write_all(&bytes).await;
                    let _ = socket.shutdown().await;
                }
                return None;
            }
        }
    }
}
