use super::*;
use crate::limits::RUN_CELLS;
use anonnet_transport::TransportError;
use bytes::Bytes;

/// A far end that sends for ever, and takes everything.
struct Endless;

impl StreamRecv for Endless {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, TransportError>> {
        buffer.fill(1);
        Poll::Ready(Ok(buffer.len()))
    }

    fn stop(&mut self) {}
}

impl StreamSend for Endless {
    fn poll_write(&mut self, _: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, TransportError>> {
        Poll::Ready(Ok(data.len()))
    }

    fn poll_write_chunk(&mut self, _: &mut Context<'_>, data: &mut Bytes) -> Poll<Result<usize, TransportError>> {
        Poll::Ready(Ok(std::mem::take(data).len()))
    }

    fn finish(&mut self) {}

    fn reset(&mut self) {}

    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        std::future::pending()
    }
}

/// A far end that says nothing.
struct Silent;

impl StreamRecv for Silent {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<Result<usize, TransportError>> {
        Poll::Pending
    }

    fn stop(&mut self) {}
}

/// Has something for its owner in each cell.
#[derive(Default)]
struct Chatty {
    rested: usize,
}

impl Side for Chatty {
    type Note = ();

    fn receive(&mut self, run: &mut [u8], _: &mut Vec<u8>, _: &mut Router<'_>, notes: &mut VecDeque<()>) -> Result<(), ErrorKind> {
        notes.extend(run.chunks(anonnet_cells::CELL_LEN).map(|_| ()));
        Ok(())
    }

    fn needs_flush(&mut self) -> bool {
        false
    }

    fn flush(&mut self, _: &mut Vec<u8>) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn send(&mut self, _: u16, data: &[u8], _: &mut Vec<u8>) -> Result<usize, ErrorKind> {
        Ok(data.len())
    }

    fn finish(&mut self, _: u16, _: &mut Vec<u8>) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn reset(&mut self, _: u16, _: EndReason, _: &mut Vec<u8>) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn consumed(&mut self, _: u16, _: usize) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn answer(&mut self, _: u16, _: Answer, _: &mut Vec<u8>) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn rest(&mut self) {
        self.rested += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_where_nothing_passes_rests_once() {
    let mut driver = Driver::new(Chatty::default(), Endless, CellReader::new(Silent), Vec::new());
    let long = crate::limits::REST_AFTER * 10;
    assert!(tokio::time::timeout(long, driver.note()).await.is_err());
    assert_eq!(driver.side.rested, 1);
}

#[tokio::test]
async fn what_waits_for_the_owner_is_bounded_by_one_run() {
    let mut driver = Driver::new(Chatty::default(), Endless, CellReader::new(Endless), Vec::new());
    for _ in 0..10 * RUN_CELLS {
        driver.note().await.unwrap();
        assert!(driver.notes.len() < RUN_CELLS);
    }
}

#[test]
fn the_end_of_a_stream_comes_after_its_last_bytes_even_in_the_middle_of_a_run() {
    let (mut streams, mailbox) = (Streams::default(), Mailbox::new());
    let handle = streams.open(1, &mailbox);
    let mut router = Router::new(&mut streams, &mailbox);
    router.data(1, b"last ");
    router.data(1, b"words");
    router.finished(1);
    // As an edge on another thread may, before the run is over.
    let (cx, mut read) = (Context::from_waker(std::task::Waker::noop()), Vec::new());
    assert_eq!(handle.poll_read(&cx, &mut read), Poll::Ready(Ok(true)));
    assert_eq!(read, b"last words");
    read.clear();
    assert_eq!(handle.poll_read(&cx, &mut read), Poll::Ready(Ok(false)));
}
