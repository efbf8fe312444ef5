//! `twistor demo` shows a loss, a return, a feed and a summary, and ends by itself.

use crate::command::run;

#[test]
fn the_demo_explains_itself_and_ends() {
    let ended = run(&["demo", "--for", "5500ms"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    for part in [
        "a small world in one process",
        "echo    up     connected in",
        "the door closes",
        "door    down   closed by the peer",
        "the door opens again",
        "was down for",
        "silent  error  connected, but no answer within 1.5 s",
        "roads   ok     congestion/level",
        "uptime",
    ] {
        assert!(ended.out.contains(part), "{part:?} is missing in\n{}", ended.out);
    }
}
