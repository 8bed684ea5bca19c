//! Giving up what the brain does not need (restricted tokens).
