//! The helper of a gateway on Windows, where there is no sandbox to stay out of: the gateway itself.

use std::io;
use std::sync::Arc;

use crate::base::secret::Secret;
use crate::error::Result;
use crate::system::kernel::console::End;

/// What answers a question, which is a list of words.
pub(crate) type Answer = dyn Fn(&[&str]) -> Result<Option<Secret>> + Send + Sync;

/// The helper, as the gateway has it.
pub(crate) struct Helper {
    answer: Arc<Answer>,
    pub(crate) life: End,
}

impl Helper {
    pub(crate) fn start(answer: &Arc<Answer>, _: impl FnOnce()) -> io::Result<Option<Arc<Helper>>> {
        Ok(Some(Arc::new(Helper { answer: Arc::clone(answer), life: End })))
    }

    pub(crate) fn ask(&self, question: &[&str]) -> Result<Option<Secret>> {
        (self.answer)(question)
    }

    /// It ends with the gateway.
    pub(crate) fn is_over(&self) -> bool {
        false
    }
}
