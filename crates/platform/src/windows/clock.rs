//! The one clock of the project.
