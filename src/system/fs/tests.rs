//! Directories, with two threads at one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::Dir;

#[test]
fn a_directory_that_is_cleared_away_while_it_is_made_is_made_once_more() {
    let path = std::env::temp_dir().join(format!("lf-test-fs-{}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    let dir = Dir::open(&path).unwrap().unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                dir.remove_child("child").unwrap();
            }
        });
        let make = |_| dir.create_child("child").map(drop);
        let made: Vec<_> = (0..500).map(make).collect();
        is_over.store(true, Ordering::Relaxed);
        for made in made {
            made.unwrap();
        }
    });
    std::fs::remove_dir_all(&path).unwrap();
}
