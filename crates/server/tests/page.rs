//! The page: its scripts in Node, and all of it in a browser. The tests themselves are in `page/`, in the scripts' language.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Write as _};
use std::process::{Command, Output};

use common::Running;
use ferrochat_server::{Limits, Options};

/// What Node makes of a script beside this file; none where there is no Node, which is said.
fn node(args: &[&str]) -> Option<Output> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page");
    match Command::new("node").args(args).current_dir(folder).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Not by `eprintln`, which tests that pass keep to themselves.
            let _ = writeln!(
                std::io::stderr(),
                "the page's scripts are not tested: node is not installed (apt-get install nodejs)"
            );
            None
        }
        Err(error) => panic!("node does not start: {error}"),
    }
}

fn assert_passed(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn the_scripts_pass_their_tests() {
    let Some(output) = node(&["--test"]) else { return };
    assert_passed(&output);
    // A runner that finds no tests passes too.
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let passed = told
        .lines()
        .find_map(|line| line.split_once("pass ")?.1.parse::<u32>().ok());
    assert!(passed.is_some_and(|count| count > 10), "{told}");
}

#[test]
#[ignore = "needs Node and Chromium (FERROCHAT_CHROMIUM, else chromium)"]
fn a_browser_shows_an_answer_as_it_grows_and_stops_it() {
    let server = Running::start(Options {
        limits: Limits {
            max_tokens: 1 << 14,
            ..Limits::default()
        },
        ..Options::default()
    });
    let url = format!("http://{}/", server.address);
    let chromium = std::env::var("FERROCHAT_CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
    assert_passed(&node(&["browser.mjs", &url, &chromium]).expect("Node"));
}
