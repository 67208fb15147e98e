//! The contract of exit codes, and how an error reaches a person.

use std::error::Error;
use std::process::{ExitCode, Termination};

/// How a command ended. Return it from `main`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, and the answer is good.
    Success,
    /// 1: done, and the answer is bad: a verification failed, a connection is denied.
    BadAnswer,
    /// 2: not done: the question was bad or could not be answered, such as a faulty configuration or a kernel without
    /// BPF.
    BadQuestion,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::BadAnswer => 1,
            Self::BadQuestion => 2,
        }
    }

    /// What `main` returns for `result`: an error is told on standard error and means [`Exit::BadQuestion`].
    pub fn of<E: AsRef<dyn Error + Send + Sync>>(result: Result<Self, E>) -> Self {
        result.unwrap_or_else(|error| {
            tell(error.as_ref());
            Self::BadQuestion
        })
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// Writes `error: ...` to standard error, as [`sentence`] puts it.
pub fn tell(error: &(dyn Error + 'static)) {
    eprintln!("error: {}", sentence(error));
}

/// The error and what caused it, joined by `: `. A cause that the message before it ends with already is not repeated.
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !sentence.ends_with(&text) {
            sentence.push_str(": ");
            sentence.push_str(&text);
        }
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Link {
        message: &'static str,
        source: Option<Box<Link>>,
    }

    fn chain(messages: &[&'static str]) -> Link {
        let (message, rest) = messages.split_first().expect("a chain has a first link");
        let source = (!rest.is_empty()).then(|| Box::new(chain(rest)));
        Link { message, source }
    }

    #[test]
    fn a_sentence_joins_the_causes() {
        let error = chain(&["cannot open the spool", "cannot lock it", "resource busy"]);
        assert_eq!(sentence(&error), "cannot open the spool: cannot lock it: resource busy");
    }

    #[test]
    fn a_cause_that_was_said_already_is_not_repeated() {
        let error = chain(&["cannot open x: no such file", "no such file", "os error 2"]);
        assert_eq!(sentence(&error), "cannot open x: no such file: os error 2");
    }

    #[test]
    fn codes_are_the_contract() {
        assert_eq!([Exit::Success, Exit::BadAnswer, Exit::BadQuestion].map(Exit::code), [0, 1, 2]);
        assert_eq!(Exit::of(Ok::<_, Box<dyn Error + Send + Sync>>(Exit::BadAnswer)), Exit::BadAnswer);
        assert_eq!(Exit::of(Err::<Exit, Box<dyn Error + Send + Sync>>("no".into())), Exit::BadQuestion);
    }
}
