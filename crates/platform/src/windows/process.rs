//! Starting and ending the child process, and what is handed to it.
