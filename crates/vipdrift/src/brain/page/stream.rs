//! What the page is told as it happens: server-sent events (HTML Standard, section 9.2).
//!
//! | Event | Data |
//! |---|---|
//! | `status` | the whole status, at the beginning and when anything about a group has changed |
//! | `pulse` | the same without groups, every second: nothing about them has changed |
//! | `events` | what has happened since the last: the last ones at the beginning, then one by one, with the number of the last as id |
//! | `lost` | in a sentence why there is nothing to tell |
//!
//! A stream ends after a while and the browser comes back by itself, with the number of the last event that it was told.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::{Instant, sleep, timeout};
use vipdrift_control::{Answer, EventsRequest, Failure, Group, PeerGroup, STREAM, Status};

use super::board::Board;

/// Without news the page is told so often that all is as it was.
const PULSE: Duration = Duration::from_secs(1);
/// What follows at once on news is told with them.
const TOGETHER: Duration = Duration::from_millis(20);
/// Events at the beginning.
const PAST: usize = 200;
/// A page that does not read waits at the end of this.
const WAITING: usize = 4;

/// Begins to tell.
pub(super) fn begin(request: &Request<Incoming>, board: Arc<Board>, place: OwnedSemaphorePermit) -> Answer {
    let last = request.headers().get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let (tell, told) = channel(WAITING);
    tokio::spawn(async move {
        // Whoever has gone is told nothing more.
        let _place = place;
        let _ = timeout(STREAM, Teller { board, tell, seen: last, shown: None }.run()).await;
    });
    let frames = futures_util::stream::unfold(told, |mut told| async {
        let text: Bytes = told.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(text)), told))
    });
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // The next one begins a connection of its own, so that none is cut off at the end of the time of this one.
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn lost(failure: Failure) -> String {
    match failure {
        Failure::Unknown(why) | Failure::NotDone(why) | Failure::Unavailable(why) => why,
    }
}

/// What is said of groups, by this node and by each peer, but for what changes all the time.
#[derive(PartialEq)]
struct Shown(Vec<Group>, Vec<Vec<PeerGroup>>);

struct Teller {
    board: Arc<Board>,
    tell: Sender<Bytes>,
    /// Number of the last event that the page knows.
    seen: Option<u64>,
    shown: Option<Shown>,
}

/// Nobody listens any more.
struct Gone;

impl Teller {
    async fn run(mut self) -> Result<(), Gone> {
        let board = Arc::clone(&self.board);
        self.put("retry: 500\n\n".into()).await?;
        loop {
            // Whatever happens from here on is not missed, for it is waited for before it is looked at.
            let (news, stirred) = (board.history().news(), board.stirred());
            tokio::pin!(news, stirred);
            news.as_mut().enable();
            stirred.as_mut().enable();
            self.look().await?;
            if timeout(PULSE, select(news, stirred)).await.is_ok() {
                sleep(TOGETHER).await;
            }
        }
    }

    async fn look(&mut self) -> Result<(), Gone> {
        match self.board.after(Instant::now()).await {
            Ok(view) => self.status(&view.status, &view.json).await?,
            Err(failure) => self.event("lost", None, &lost(failure)).await?,
        }
        let request = EventsRequest { after: self.seen, limit: Some(PAST), ..EventsRequest::default() };
        let events = self.board.history().select(&request).await;
        if let Some(last) = events.last() {
            self.seen = Some(last.seq);
            self.event("events", self.seen, &events).await?;
        }
        Ok(())
    }

    async fn status(&mut self, status: &Status, json: &Bytes) -> Result<(), Gone> {
        let peers = status.peers.iter().map(|peer| peer.groups.clone()).collect();
        let mut shown = Shown(status.groups.clone(), peers);
        // Each look of a check changes these.
        shown.0.iter_mut().flat_map(|group| &mut group.checks).for_each(|check| {
            check.took_us = None;
            check.looks = 0;
        });
        if self.shown.as_ref() != Some(&shown) {
            self.shown = Some(shown);
            let text = [b"event: status\ndata: ", &json[..], b"\n"].concat();
            return self.put(text.into()).await;
        }
        let mut short = Status { groups: Vec::new(), ..status.clone() };
        short.peers.iter_mut().for_each(|peer| peer.groups.clear());
        self.event("pulse", None, &short).await
    }

    /// JSON has no line feeds of its own.
    async fn event(&self, name: &str, id: Option<u64>, data: &(impl Serialize + ?Sized)) -> Result<(), Gone> {
        let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
        let data = serde_json::to_string(data).unwrap_or_default();
        self.put(format!("event: {name}\n{id}data: {data}\n\n").into()).await
    }

    async fn put(&self, text: Bytes) -> Result<(), Gone> {
        self.tell.send(text).await.map_err(|_| Gone)
    }
}
