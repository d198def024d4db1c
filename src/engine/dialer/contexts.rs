//! TLS contexts, one for each set of options.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use smol::lock::OnceCell;

use crate::engine::tls::{ClientTls, ClientTlsOptions, TlsError};

/// Contexts kept at the most: each holds the system's trust store, a few hundred KiB.
const MOST: usize = 32;

/// Contexts that were made once: reading the trust store takes about 25 ms, so it is done off the thread and kept. Files
/// that change later are not read again.
#[derive(Default)]
pub struct Contexts {
    made: RefCell<HashMap<ClientTlsOptions, Rc<OnceCell<Rc<ClientTls>>>>>,
}

impl Contexts {
    /// The context for `options`; any number of tasks that ask at once wait for one.
    pub async fn get(&self, options: &ClientTlsOptions) -> Result<Rc<ClientTls>, TlsError> {
        let cell = self.cell(options);
        let context = cell.get_or_try_init(|| async {
            let options = options.clone();
            smol::unblock(move || ClientTls::new(&options))
                .await
                .map(Rc::new)
        });
        context.await.cloned()
    }

    fn cell(&self, options: &ClientTlsOptions) -> Rc<OnceCell<Rc<ClientTls>>> {
        let mut made = self.made.borrow_mut();
        if let Some(cell) = made.get(options) {
            return cell.clone();
        }
        if made.len() >= MOST {
            made.clear();
        }
        made.entry(options.clone()).or_default().clone()
    }
}
