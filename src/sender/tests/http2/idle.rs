//! Connections that end while nobody uses them.

use super::*;

/// How the receiver ends its first connection after the first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing but the connection's end.
    Closes,
    /// GOAWAY, and it stays open.
    SaysGoodbye,
    SaysGoodbyeAndCloses,
    /// The next request is on its way already, and it reads that first.
    Crosses,
}

#[test]
fn a_connection_that_ended_while_idle_is_replaced_without_a_failed_attempt() {
    for (end, requests) in
        [(End::Closes, 4), (End::SaysGoodbye, 4), (End::SaysGoodbyeAndCloses, 4), (End::Crosses, 5)]
    {
        let (go, gate) = mpsc::channel::<()>();
        let (over, ended) = mpsc::channel::<()>();
        let whole = Arc::new(AtomicUsize::new(0));
        let ways = Mutex::new((gate, over));
        let receiver = Receiver::playing({
            let whole = whole.clone();
            move |caller| {
                let number = caller.number;
                let mut frames = Frames::accept(caller.stream());
                while let Some(stream) = frames.request() {
                    whole.fetch_add(1, Ordering::SeqCst);
                    frames.answer(stream);
                    if number == 0 {
                        return finish(end, frames, stream, &ways, &whole);
                    }
                }
            }
        });
        let mut rig = Rig::new(vec![Target { http: HttpVersion::Two, ..target(&receiver.url()) }]);

        assert_status(&rig.make(), 200);
        if end != End::Crosses {
            go.send(()).unwrap();
            ended.recv_timeout(PATIENCE).expect("the receiver ends the connection");
        }
        for _ in 0..3 {
            assert_status(&rig.make(), 200);
        }
        assert_eq!((receiver.accepts(), whole.load(Ordering::SeqCst)), (2, requests), "{end:?}");
    }
}

fn finish(
    end: End,
    mut frames: Frames,
    last: u32,
    ways: &Mutex<(mpsc::Receiver<()>, mpsc::Sender<()>)>,
    whole: &AtomicUsize,
) {
    if end == End::Crosses {
        if frames.request().is_some() {
            whole.fetch_add(1, Ordering::SeqCst);
        }
        return;
    }
    let ways = ways.lock().unwrap();
    let _ = ways.0.recv();
    if end != End::Closes {
        frames.go_away(last);
    }
    match end {
        End::SaysGoodbye => {
            let _ = ways.1.send(());
            // What comes in spite of it is not looked at.
            while frames.request().is_some() {}
        }
        _ => {
            drop(frames);
            let _ = ways.1.send(());
        }
    }
}
