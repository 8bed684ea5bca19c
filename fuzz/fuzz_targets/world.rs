#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vipdrift_fuzz::run("world", bytes));
