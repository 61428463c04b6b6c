//! Build contexts, and the Debian bootstrap where no registry answers.
