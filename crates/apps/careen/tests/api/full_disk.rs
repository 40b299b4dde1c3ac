//! The disk under the data folder is full, and then it is not.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use testkit::{run_bounded, wait_until};

use crate::clients::{Clients, Request, texts};
use crate::server::{Place, Server};

const BOUND: Duration = Duration::from_secs(60);
const ROOM: u64 = 4 << 20;

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [4096, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
}

/// Tries to make baselines of these numbers; gives the names of those that were made and the errors of the others.
fn make(
    server: &Server<'_>,
    clients: &Clients,
    key: &(String, String),
    numbers: std::ops::Range<u32>,
) -> (BTreeSet<String>, Vec<String>) {
    let (mut made, mut refused) = (BTreeSet::new(), Vec::new());
    for number in numbers {
        let name = format!("baseline-{number}");
        let body = json!({"Name": name, "OperatingSystem": "DEBIAN", "Description": "d".repeat(900)}).to_string();
        let answer = clients.send(&Request::ssm(&server.address(), "CreatePatchBaseline", &body).signed(key));
        match answer.status {
            200 => drop(made.insert(name)),
            _ => {
                assert_eq!(answer.error(), (500, "InternalServerError".to_owned()), "{answer:?}");
                refused.push(answer.body);
            }
        }
    }
    (made, refused)
}

fn listed(clients: &Clients) -> BTreeSet<String> {
    let owned = ["ssm", "describe-patch-baselines", "--filters", "Key=OWNER,Values=Self"];
    let names = clients.query("BaselineIdentities[].BaselineName", &owned);
    texts(&names).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_full_disk_changes_nothing_and_the_server_goes_on_by_itself() {
    let place = Place::new();
    let server = place.start_with_room(ROOM);
    let (clients, key) = (server.clients(), place.key());
    let (mut made, refused) = make(&server, &clients, &key, 0..3);
    assert!(made.len() == 3 && refused.is_empty(), "{refused:?}");

    let filler = server.inside().join("filler");
    fill(&filler);
    let (few, refused) = make(&server, &clients, &key, 3..60);
    made.extend(few);
    assert!(refused.len() > 20 && refused.iter().all(|body| body.contains("disk is full")), "{refused:?}");
    // What was acknowledged is there, what was refused is not; questions are answered.
    assert_eq!(listed(&clients), made);
    assert!(server.get("/healthz").unwrap().contains("200 OK"));
    wait_until("/readyz to say it", BOUND, || {
        let answer = server.get("/readyz").unwrap();
        answer.contains("503") && answer.contains("disk is full")
    })
    .unwrap();

    // A backup can be taken now, elsewhere; here it cannot, and nothing is left of it.
    let inside = server.inside().display().to_string();
    let elsewhere = place.path().join("backup");
    let back_up = |file: &Path| {
        let all = ["admin", "backup", file.to_str().unwrap(), "--data", &inside];
        run_bounded(&mut place.careen(&all), BOUND).unwrap()
    };
    back_up(&elsewhere).expect_success("backup").unwrap();
    let here = server.inside().join("backup");
    let ended = back_up(&here);
    assert!(ended.code == Some(1) && ended.stderr_text().contains("No space left"), "{ended:?}");
    assert!(!here.exists() && !server.inside().join("backup.partial").exists());
    let complaints = server.log().lines().filter(|line| line.contains("ERROR")).count();
    assert!(complaints <= 2, "{complaints} complaints: {}", server.log());

    fs::remove_file(&filler).unwrap();
    let (after, refused) = make(&server, &clients, &key, 60..63);
    assert!(after.len() == 3 && refused.is_empty(), "{refused:?}");
    made.extend(after);
    assert_eq!(listed(&clients), made);
    wait_until("/readyz to say that all is well", BOUND, || server.get("/readyz").unwrap().contains("200 OK")).unwrap();
    wait_until("the log to say it", BOUND, || server.log().contains("can be written again")).unwrap();
    let check = ["admin", "check", "--data", &inside];
    run_bounded(&mut place.careen(&check), BOUND).unwrap().expect_success("check").unwrap();
    drop(clients);
    server.stop();
}
