//! passwd, group and shadow as text.
