//! The page: its scripts in Node, and all of it in a browser. The tests themselves are in `page/`, in the scripts' language.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Write as _};
use std::process::{Command, Output};

use common::Running;
use ferrochat_server::{Limits, Options};

/// The first Node with a runner of tests that tells what it ran.
const OLDEST: u32 = 18;

/// What Node makes of a script beside this file; none where there is no Node or an old one, which is said.
fn node(args: &[&str]) -> Option<Output> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page");
    let run = |args: &[&str]| Command::new("node").args(args).current_dir(folder).output();
    let lacking = match run(&["--version"]) {
        Ok(version) => {
            // "v20.20.2"
            let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
            let major = version.trim_start_matches('v').split('.').next();
            if major.and_then(|major| major.parse().ok()) >= Some(OLDEST) {
                return Some(run(args).expect("Node starts as it did"));
            }
            format!("Node is {version}, not {OLDEST} or later")
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            "Node is not installed (apt-get install nodejs)".to_owned()
        }
        Err(error) => panic!("node does not start: {error}"),
    };
    // Not by `eprintln`, which tests that pass keep to themselves.
    let _ = writeln!(std::io::stderr(), "the page's scripts are not tested: {lacking}");
    None
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
