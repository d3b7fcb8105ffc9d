//! The simulated vendors on a thread of their own, so that whoever watches them may block.

use std::ops::Deref;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::sandbox::{self, Options, Running};

/// A sandbox that ends when it is dropped.
pub(super) struct Vendors {
    running: Running,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Vendors {
    /// Listens on a free port of loopback; knows ids, keeps no element.
    pub(super) fn start(options: Options) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::Builder::new().name("demo-vendors".into()).spawn(move || {
            runtime.block_on(async {
                // Whoever waits for it has not stopped waiting, and dropping the sender is what ends the thread.
                let _told = tell.send(sandbox::start(options).await);
                let _dropped = stopped.await;
            });
        })?;
        let running = told.recv().map_err(|_| std::io::Error::other("the thread of the vendors has ended"))??;
        Ok(Self { running, stop: Some(stop), thread: Some(thread) })
    }
}

impl Deref for Vendors {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl Drop for Vendors {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _panicked = thread.join();
        }
    }
}
