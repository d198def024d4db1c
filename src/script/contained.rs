//! Panics of the host's code end here: they become texts.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

/// Calls `f`; the text of its panic if it panics.
pub fn contained<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    // What `f` was in the middle of is the host's own: nothing of ours is left half-done by it.
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| text_of(&*panic))
}

/// A future whose panic, while it is polled or dropped, is a text.
pub struct Contained<F> {
    inner: Option<Pin<Box<F>>>,
}

impl<F> Contained<F> {
    /// Contains the panics of `future`.
    pub fn new(future: F) -> Self {
        Self {
            inner: Some(Box::pin(future)),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        let inner = self.inner.take();
        contained(|| drop(inner))
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Err("polled after its end".to_owned()));
        };
        let polled = contained(|| inner.as_mut().poll(context));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(self.end().map(|()| value)),
            Err(text) => {
                let _ = self.end();
                Poll::Ready(Err(text))
            }
        }
    }
}

impl<F> Drop for Contained<F> {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = self.end();
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    match panic.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => "a panic without a text".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_text() {
        assert_eq!(contained(|| 1), Ok(1));
        assert_eq!(
            contained(|| -> u8 { panic!("literal") }),
            Err("literal".to_owned())
        );
        let number = 7;
        assert_eq!(
            contained(|| -> u8 { panic!("formatted {number}") }),
            Err("formatted 7".to_owned())
        );
    }

    #[test]
    fn a_futures_panic_becomes_its_text_also_when_it_is_dropped() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let panics = Contained::new(async { panic!("polled") });
        assert_eq!(smol::block_on(panics), Err::<(), _>("polled".to_owned()));
        drop(Contained::new(async {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        }));
        let mut waits = Contained::new(async {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        });
        smol::block_on(async {
            assert!(futures_lite::future::poll_once(&mut waits).await.is_none());
        });
        drop(waits);
    }
}
