//! Windows programs on hosts of the lab, by wine. What they show is that a program asks for the right things; how Windows
//! answers, and when, wine cannot show.

mod prefix;

pub use prefix::{WineHost, program, template};
