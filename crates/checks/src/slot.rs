//! Work that may block, one piece at a time.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// On a file system or a name service that hangs, work does not come back. It occupies one thread then, and what comes
/// after it is refused rather than given another.
#[derive(Debug, Clone)]
pub struct Slot(Arc<Semaphore>);

impl Default for Slot {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Slot {
    /// Does it on a thread for such work. Whoever stops waiting gives up the result, not the place.
    ///
    /// # Errors
    /// Earlier work is still at it.
    pub(crate) async fn take<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let slot =
            Arc::clone(&self.0).try_acquire_owned().map_err(|_| "an earlier look still hangs".to_owned())?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(slot);
            result
        });
        done.await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_hangs_occupies_one_thread() {
        let slot = Slot::default();
        let (end, wait) = mpsc::channel::<()>();
        let hangs = slot.take(move || wait.recv().is_ok());
        assert!(tokio::time::timeout(Duration::from_millis(20), hangs).await.is_err());
        assert_eq!(slot.take(|| 1).await, Err("an earlier look still hangs".to_owned()));
        end.send(()).unwrap();
        for _ in 0..1000 {
            match slot.take(|| 1).await {
                Ok(done) => return assert_eq!(done, 1),
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        panic!("it does not come back");
    }
}
