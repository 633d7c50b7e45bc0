//! The ends of a bench's streams, the same for every network that is measured: an HTTP server, forwarders, and clients that read or write
//! through a SOCKS5 proxy. Written with the standard library alone, because on two processors a costly client would hide what is measured.
//! Built by `lib/pump.mjs`; what it is told stands in `main`. It ends when its standard input does.

use std::{
    env,
    error::Error,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    process::exit,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

type Failure = Box<dyn Error + Send + Sync>;

const BLOCK: usize = 256 * 1024;
/// More than any run moves.
const ENDLESS: u64 = 1 << 50;
const PAUSE: Duration = Duration::from_millis(10);

fn main() {
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        exit(0);
    });
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["serve"] => serve("127.0.0.1"),
        ["serve", address] => serve(address),
        ["forward", to] => forward(to),
        // `proxy` is a port, or `-` for no proxy; the target a port, or an address or a name and a port; the streams' SOCKS users are separated by commas.
        ["load", proxy, target, way, warm, seconds, users] => load(proxy, target, way, warm, seconds, users),
        ["first", proxy, target, count, user] => first(proxy, target, count, user),
        _ => Err("usage: serve [ADDRESS] | forward TO | load PROXY TARGET down|up WARM SECONDS USERS | first PROXY TARGET COUNT USER".into()),
    };
    if let Err(error) = done {
        eprintln!("pump: {error}");
        exit(1);
    }
    exit(0);
}

/// Accepts on a free port of the address, which it prints, and gives each connection a thread.
fn listen(address: &str, each: impl Fn(TcpStream) -> Result<(), Failure> + Send + Sync + 'static) -> Result<(), Failure> {
    let listener = TcpListener::bind((address, 0))?;
    println!("{}", listener.local_addr()?.port());
    let each = Arc::new(each);
    for socket in listener.incoming() {
        let (socket, each) = (socket?, Arc::clone(&each));
        // A client that goes away in the middle is how a download of no given length ends.
        thread::spawn(move || each(socket).ok());
    }
    Ok(())
}

/// `GET /n` is answered with n bytes, `GET /received` with the count of bytes uploaded so far, on and on on one connection; `POST /` takes
/// bytes until the other side goes away.
fn serve(address: &str) -> Result<(), Failure> {
    let received = Arc::new(AtomicU64::new(0));
    listen(address, move |mut socket| {
        socket.set_nodelay(true)?;
        let mut block = vec![0u8; BLOCK];
        while let Some(head) = read_head(&mut socket)? {
            let path = head.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
            if head.starts_with("POST") {
                loop {
                    let got = socket.read(&mut block)?;
                    received.fetch_add(got as u64, Ordering::Relaxed);
                    if got == 0 {
                        return Ok(());
                    }
                }
            } else if path == "received" {
                let body = received.load(Ordering::Relaxed).to_string();
                write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
            } else {
                let mut left: u64 = path.parse()?;
                write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n")?;
                block.fill(0x5a);
                while left > 0 {
                    let part = left.min(BLOCK as u64) as usize;
                    socket.write_all(&block[..part])?;
                    left -= part as u64;
                }
            }
        }
        Ok(())
    })
}

/// The lines up to the empty one; absent when the other side ended instead.
fn read_head(socket: &mut TcpStream) -> Result<Option<String>, Failure> {
    let (mut head, mut byte) = (Vec::new(), [0u8]);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 4096 || socket.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    Ok(Some(String::from_utf8(head)?))
}

/// Passes every connection on, both ways: nothing but the copies into and out of the kernel.
fn forward(to: &str) -> Result<(), Failure> {
    let to = format!("127.0.0.1:{to}");
    listen("127.0.0.1", move |near| {
        let far = TcpStream::connect(&to)?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let back = (far.try_clone()?, near.try_clone()?);
        let other = thread::spawn(move || copy(back.0, back.1));
        copy(near, far).ok();
        other.join().ok();
        Ok(())
    })
}

fn copy(mut from: TcpStream, mut to: TcpStream) -> Result<(), Failure> {
    let mut block = vec![0u8; BLOCK];
    let ended = loop {
        match from.read(&mut block) {
            Ok(got) if got > 0 && to.write_all(&block[..got]).is_ok() => {}
            ended => break ended,
        }
    };
    to.shutdown(Shutdown::Write).ok();
    from.shutdown(Shutdown::Read).ok();
    ended?;
    Ok(())
}

/// A connection to the target, through the proxy if there is one; the user names the circuit. A target that is a name is for the proxy to find.
fn connect(proxy: &str, target: &str, user: &str) -> Result<TcpStream, Failure> {
    let (host, port) = target.split_once(':').unwrap_or(("127.0.0.1", target));
    let port: u16 = port.parse()?;
    if proxy == "-" {
        let socket = TcpStream::connect((host.parse::<Ipv4Addr>()?, port))?;
        socket.set_nodelay(true)?;
        return Ok(socket);
    }
    let mut socket = TcpStream::connect(("127.0.0.1", proxy.parse()?))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut answer = [0u8; 10];
    socket.write_all(&[5, 1, 2])?;
    socket.read_exact(&mut answer[..2])?;
    let mut credentials = vec![1, user.len() as u8];
    credentials.extend_from_slice(user.as_bytes());
    credentials.extend_from_slice(&[1, b'x']);
    socket.write_all(&credentials)?;
    socket.read_exact(&mut answer[..2])?;
    let mut request = vec![5, 1, 0];
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        request.push(1);
        request.extend_from_slice(&address.octets());
    } else {
        request.extend_from_slice(&[3, host.len() as u8]);
        request.extend_from_slice(host.as_bytes());
    }
    request.extend_from_slice(&port.to_be_bytes());
    socket.write_all(&request)?;
    socket.read_exact(&mut answer)?;
    if answer[1] != 0 {
        return Err(format!("SOCKS reply {}", answer[1]).into());
    }
    Ok(socket)
}

/// Moves bytes on one stream a user. Prints `begin` after `warm` seconds and `end BYTES SECONDS` when `seconds` more are over. What was
/// received is what counts: an upload is counted by the server.
fn load(proxy: &str, target: &str, way: &str, warm: &str, seconds: &str, users: &str) -> Result<(), Failure> {
    let users: Vec<&str> = users.split(',').collect();
    let total = Arc::new(AtomicU64::new(0));
    let begin = Arc::new(Barrier::new(users.len() + 1));
    let up = way == "up";
    let mut sockets = Vec::new();
    for user in users {
        sockets.push(connect(proxy, target, user)?);
    }
    for socket in &sockets {
        let (mut socket, total, begin) = (socket.try_clone()?, Arc::clone(&total), Arc::clone(&begin));
        thread::spawn(move || {
            let mut block = vec![0u8; BLOCK];
            begin.wait();
            let head = if up {
                "POST / HTTP/1.1\r\n\r\n".to_owned()
            } else {
                format!("GET /{ENDLESS} HTTP/1.1\r\n\r\n")
            };
            let mut moved = socket.write_all(head.as_bytes()).map(|()| 1);
            while let Ok(1..) = moved {
                moved = if up { socket.write(&block) } else { socket.read(&mut block) };
                total.fetch_add(*moved.as_ref().unwrap_or(&0) as u64, Ordering::Relaxed);
            }
            // Only the end of the process may end a stream.
            eprintln!("pump: a stream ended early: {moved:?}");
            exit(1);
        });
    }
    // Only the server knows what arrived of an upload.
    let mut counter = if up { Some(connect("-", target, "")?) } else { None };
    let mut count = || match &mut counter {
        Some(counter) => received(counter),
        None => Ok(total.load(Ordering::Relaxed)),
    };
    begin.wait();
    thread::sleep(Duration::from_secs_f64(warm.parse()?));
    let (before, began) = (count()?, Instant::now());
    println!("begin");
    thread::sleep(Duration::from_secs_f64(seconds.parse()?));
    let (after, took) = (count()?, began.elapsed().as_secs_f64());
    println!("end {} {took}", after - before);
    // Until the bench has read this process's figures, and says so.
    loop {
        thread::park();
    }
}

/// What the server has received so far.
fn received(counter: &mut TcpStream) -> Result<u64, Failure> {
    counter.write_all(b"GET /received HTTP/1.1\r\n\r\n")?;
    let head = read_head(counter)?.ok_or("the server ended")?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .ok_or("no length")?;
    let mut body = vec![0u8; length.parse()?];
    counter.read_exact(&mut body)?;
    Ok(String::from_utf8(body)?.parse()?)
}

/// Milliseconds from the connection to the proxy to the first byte of the answer, one line for each request, one after another. A `#` in the
/// user's name becomes the number of the request, so that each has a circuit of its own.
fn first(proxy: &str, target: &str, count: &str, user: &str) -> Result<(), Failure> {
    for number in 0..count.parse::<u32>()? {
        let user = user.replace('#', &number.to_string());
        let began = Instant::now();
        let mut socket = connect(proxy, target, &user)?;
        socket.write_all(b"GET /1024 HTTP/1.1\r\n\r\n")?;
        let mut block = [0u8; 2048];
        if socket.read(&mut block)? == 0 {
            return Err("no answer".into());
        }
        println!("{}", began.elapsed().as_secs_f64() * 1e3);
        drop(socket);
        thread::sleep(PAUSE);
    }
    Ok(())
}
