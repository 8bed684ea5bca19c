//! The last look at the node, for all who ask: many readers cost the heartbeat's thread no more than one.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::Mutex;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use vipdrift_control::{Failure, Status};

use crate::brain::heart::HeartReport;
use crate::brain::history::History;
use crate::brain::slow::Control;

/// The node is not looked at more often.
const PACE: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Board {
    control: Arc<Control>,
    latest: Mutex<Option<Look>>,
}

/// The last look: when it began and when it was over, and what was seen.
struct Look {
    began: Instant,
    over: Instant,
    seen: Result<Arc<View>, Failure>,
}

/// What was seen.
pub(super) struct View {
    pub(super) report: HeartReport,
    pub(super) status: Status,
    /// The status as JSON, with a line feed.
    pub(super) json: Bytes,
}

impl Board {
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self { control, latest: Mutex::default() }
    }

    /// What was seen a moment ago.
    ///
    /// # Errors
    /// The heartbeat's thread does not answer.
    pub(super) async fn view(&self) -> Result<Arc<View>, Failure> {
        self.since(Instant::now().checked_sub(PACE)).await
    }

    /// What was seen after this moment. Waits for the pace.
    ///
    /// # Errors
    /// As above.
    pub(super) async fn after(&self, moment: Instant) -> Result<Arc<View>, Failure> {
        self.since(Some(moment)).await
    }

    /// Who comes while another one looks waits for what that one sees. A look in vain takes its time, and is shared by all who have come
    /// by its end.
    async fn since(&self, moment: Option<Instant>) -> Result<Arc<View>, Failure> {
        let mut latest = self.latest.lock().await;
        if let Some(Look { began, over, seen }) = &*latest {
            let from = if seen.is_ok() { *began } else { *over };
            if moment.is_some_and(|moment| from >= moment) {
                return seen.clone();
            }
            tokio::time::sleep_until(*began + PACE).await;
        }
        let began = Instant::now();
        let seen = self.look().await;
        *latest = Some(Look { began, over: Instant::now(), seen: seen.clone() });
        seen
    }

    async fn look(&self) -> Result<Arc<View>, Failure> {
        let report = self.control.report().await?;
        let status = self.control.status(&report);
        let mut json = serde_json::to_vec(&status).unwrap_or_default();
        json.push(b'\n');
        Ok(Arc::new(View { report, status, json: Bytes::from(json) }))
    }

    /// Ends when a peer says something new.
    pub(super) fn stirred(&self) -> Notified<'_> {
        self.control.stirred()
    }

    /// What has happened.
    pub(super) fn history(&self) -> &History {
        self.control.history()
    }
}
