//! The one error of the program: what was attempted on what, why it failed,
//! what to do next, and under which of conda's names scripts know it.
//! Printed in one place (`report::failure`).

use std::fmt;

/// Result with the program's [`Error`].
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// An error that a user reads.
pub(crate) struct Error {
    name: &'static str,
    message: String,
    source: Option<Source>,
    hints: Vec<String>,
    code: u8,
}

impl Error {
    /// An error under conda's name for it (`PackagesNotFoundError`).
    pub(crate) fn named(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, message: message.into(), source: None, hints: Vec::new(), code: 1 }
    }

    /// A failure that conda has no name of its own for.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::named("CondaError", message)
    }

    /// A value on the command line or in a file that makes no sense.
    pub(crate) fn value(message: impl Into<String>) -> Self {
        Self::named("CondaValueError", message)
    }

    /// Not a failure: the command ends here, with code 0, and says so.
    pub(crate) fn exit(name: &'static str, message: impl Into<String>) -> Self {
        Self { code: 0, ..Self::named(name, message) }
    }

    /// Ended by a signal of the user's.
    pub(crate) fn interrupted() -> Self {
        Self { code: 130, ..Self::new("interrupted") }
    }

    /// Another exit code for the same error.
    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub(crate) fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds a line that says what to do next.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// conda's name of the class of this error.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The exit code of the program.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// What to do next, a line each.
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The messages of the causes, outermost first; repeated ones once.
    pub(crate) fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            let text = error.to_string();
            if causes.last().is_none_or(|last| *last != text) {
                causes.push(text);
            }
            next = error.source();
        }
        causes
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)?;
        self.causes().iter().try_for_each(|cause| write!(f, ": {cause}"))?;
        self.hints.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}

/// Adds operation and object to any error on its way up.
pub(crate) trait Context<T> {
    /// Wraps the error as the cause of a failure described by `message`.
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Source>> Context<T> for std::result::Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::new(message()).with_source(e))
    }
}
