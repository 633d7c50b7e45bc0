//! An HTTP client: a tunnel by CONNECT, or one forwarded request.

use anonnet_errors::ErrorKind;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::http::{Body, CONNECTED, HttpError, HttpRequest, ProxyRequest, options, page, parse_request, rewrite_response, status_of};
use super::session::{Client, Opened, Wish, deadline, farewell, read_more};
use crate::copy::{HalfClosed, abort, download, socket_kind, splice};
use crate::events::ProxyProtocol;
use crate::limits::OUTBOUND_HIGH_WATER_BYTES;
use crate::pipe::StreamHandle;

pub(super) async fn serve(client: &Client, mut socket: TcpStream, mut buffer: Vec<u8>) {
    let deadline = deadline();
    let parsed = loop {
        match parse_request(&buffer) {
            Ok(Some((length, request))) => {
                buffer.drain(..length);
                break Ok(request);
            }
            Ok(None) => match read_more(&mut socket, &mut buffer, deadline).await {
                Ok(true) => {}
                _ => return,
            },
            Err(error) => break Err(error),
        }
    };
    let HttpRequest {
        request,
        host,
        port,
        authorization,
        isolation,
    } = match parsed {
        Ok(request) => request,
        Err(error) => return farewell(socket, &refusal(error)).await,
    };
    if request == ProxyRequest::Options {
        return farewell(socket, &options()).await;
    }
    let literal = host.parse::<std::net::IpAddr>().is_ok();
    let wish = Wish {
        protocol: ProxyProtocol::Http,
        resolve: false,
        host,
        port,
        literal,
        user: authorization,
        password: isolation,
    };
    let opened = match client.open(&wish).await {
        Ok(opened) => opened,
        Err(kind) => return farewell(socket, &failure(kind)).await,
    };
    match request {
        ProxyRequest::Connect => {
            let result = match socket.write_all(CONNECTED).await {
                Ok(()) => splice(&opened.handle, socket, buffer).await,
                Err(error) => Err(socket_kind(&error)),
            };
            client.close(opened, result);
        }
        ProxyRequest::Forward { head, body } => forward(client, opened, socket, head, body, buffer).await,
        ProxyRequest::Options => {}
    }
}

fn refusal(error: HttpError) -> Vec<u8> {
    page(error.status(), ErrorKind::InvalidArgument.code(), &format!("{error}."))
}

fn failure(kind: ErrorKind) -> Vec<u8> {
    page(status_of(kind), kind.code(), kind.advice())
}

/// Carries one request and its answer.
async fn forward(client: &Client, opened: Opened, mut socket: TcpStream, head: Vec<u8>, body: Body, early: Vec<u8>) {
    let mut answered = false;
    abort(&socket);
    let result = {
        let handle = &opened.handle;
        let (mut read, mut write) = socket.split();
        let half = HalfClosed::default();
        // The answer ends the exchange; the request's side only ends it by failing.
        tokio::select! {
            failed = request(handle, &mut read, head, body, early, &half) => Err(failed),
            done = response(handle, &mut write, &mut answered, &half) => done,
            kind = half.abandoned() => Err(kind),
        }
    };
    match result {
        Ok(()) => {
            opened.handle.finish();
            client.close(opened, Ok(()));
            farewell(socket, &[]).await;
        }
        Err(kind) => {
            client.close(opened, Err(kind));
            // The beginning of an answer that breaks off is followed by a reset.
            if !answered {
                farewell(socket, &failure(kind)).await;
            }
        }
    }
}

/// Sends the request; then only watches whether the client goes away. Nothing past the body is passed on.
async fn request(
    handle: &StreamHandle,
    read: &mut ReadHalf<'_>,
    mut head: Vec<u8>,
    mut body: Body,
    early: Vec<u8>,
    half: &HalfClosed,
) -> ErrorKind {
    let sending = async {
        let mut done = push_body(handle, &mut head, &mut body, &early).await?;
        let mut buffer = Vec::new();
        loop {
            read.readable().await.map_err(|error| socket_kind(&error))?;
            buffer.reserve(OUTBOUND_HIGH_WATER_BYTES);
            match read.try_read_buf(&mut buffer) {
                Ok(0) if done => return Ok(()),
                Ok(0) => return Err(ErrorKind::StreamReset),
                Ok(_) if done => {}
                Ok(_) => done = push_body(handle, &mut Vec::new(), &mut body, &buffer).await?,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(socket_kind(&error)),
            }
            buffer.clear();
        }
    };
    match sending.await {
        Err(kind) => kind,
        // The client will send no more, but may still read its answer.
        Ok::<(), ErrorKind>(()) => {
            half.ended();
            std::future::pending().await
        }
    }
}

/// Sends `head` and what of `bytes` belongs to the body; `true` when the body is complete.
async fn push_body(handle: &StreamHandle, head: &mut Vec<u8>, body: &mut Body, bytes: &[u8]) -> Result<bool, ErrorKind> {
    let (count, done) = body.scan(bytes).map_err(|_| ErrorKind::InvalidArgument)?;
    head.extend_from_slice(bytes.get(..count).unwrap_or_default());
    if !head.is_empty() {
        handle.writable().await?;
        handle.write(head);
    }
    Ok(done)
}

/// Passes the answer on, its head rewritten.
async fn response(handle: &StreamHandle, write: &mut WriteHalf<'_>, answered: &mut bool, half: &HalfClosed) -> Result<(), ErrorKind> {
    let (mut head, mut chunk) = (Vec::new(), Vec::new());
    loop {
        match rewrite_response(&head) {
            Ok(Some((length, rewritten, interim))) => {
                *answered = true;
                write.write_all(&rewritten).await.map_err(|error| socket_kind(&error))?;
                head.drain(..length);
                if !interim {
                    break;
                }
            }
            Ok(None) => {
                if !handle.read(&mut chunk).await? {
                    return Err(ErrorKind::StreamReset);
                }
                handle.release(chunk.len());
                head.append(&mut chunk);
            }
            Err(_) => return Err(ErrorKind::CircuitProtocol),
        }
    }
    write.write_all(&head).await.map_err(|error| socket_kind(&error))?;
    download(handle, write, half).await
}
