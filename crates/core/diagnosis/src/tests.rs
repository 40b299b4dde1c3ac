use super::*;

fn verdicts(judgements: impl IntoIterator<Item = Judgement>) -> Vec<Verdict> {
    let judgements: Vec<Judgement> = judgements.into_iter().collect();
    for judgement in &judgements {
        assert_eq!(
            judgement.advice.is_some(),
            judgement.verdict != Verdict::Ok,
            "what is wrong says what to do: {judgement:?}"
        );
    }
    judgements.into_iter().map(|judgement| judgement.verdict).collect()
}

use Verdict::{Failed, Ok as Good, Warning};

#[test]
fn a_folder_is_the_processs_own() {
    let judge = |found: Folder, user| folder("/d", &found, user);
    let found = |owner, mode| Folder::Found { owner, mode };
    let judged = [
        judge(Folder::Absent, 0),
        judge(Folder::NoFolder, 0),
        judge(Folder::Unreadable("denied".to_owned()), 7),
        judge(found(7, 0o700), 7),
        judge(found(7, 0o700), 0),
        judge(found(0, 0o700), 7),
        judge(found(7, 0o770), 7),
        judge(found(7, 0o755), 7),
        judge(found(7, 0o702), 0),
    ];
    assert_eq!(verdicts(judged), [Good, Failed, Failed, Good, Good, Failed, Failed, Warning, Failed]);
}

#[test]
fn room_is_bytes_and_files() {
    let room = |free_bytes, free_files| Capacity { free_bytes, bytes: 1 << 40, free_files, files: 1 << 20 };
    let judged = [
        capacity(Ok(room(1 << 30, 1 << 19))),
        capacity(Ok(room((1 << 30) - 1, 1 << 19))),
        capacity(Ok(room((64 << 20) - 1, 1 << 19))),
        capacity(Ok(room(1 << 35, 10))),
        capacity(Ok(Capacity { files: 0, free_files: 0, ..room(1 << 35, 0) })),
        capacity(Err("no such folder")),
    ];
    assert_eq!(verdicts(judged), [Good, Warning, Failed, Failed, Good, Warning]);
    assert_eq!(capacity(Ok(room(3 << 29, 1 << 19))).found, "1.5 GiB of 1024.0 GiB free");
    assert_eq!(
        verdicts([durability(None), durability(Some(Ok(()))), durability(Some(Err("read-only")))]),
        [Good, Good, Failed]
    );
}

#[test]
fn a_key_is_private_and_not_lost() {
    let judge = |found: FileFound, fresh| private_file("key file", "/d/key", &found, fresh);
    let judged = [
        judge(FileFound::Absent, true),
        judge(FileFound::Absent, false),
        judge(FileFound::Unreadable("denied".to_owned()), false),
        judge(FileFound::Found { mode: 0o100_600 }, false),
        judge(FileFound::Found { mode: 0o100_640 }, false),
    ];
    assert_eq!(verdicts(judged), [Good, Failed, Failed, Good, Failed]);
}

#[test]
fn a_machine_is_new_and_large_enough() {
    let judge = |kernel: &str, available_bytes, control_groups| {
        verdicts(machine(&Machine { kernel: kernel.to_owned(), available_bytes, control_groups }, 100))
    };
    assert_eq!(judge("6.1.0-18-amd64", 100, true), [Good; 3]);
    assert_eq!(judge("4.18.0-553.el8", 99, true), [Good, Warning, Good]);
    assert_eq!(judge("4.9.0", 0, false), [Failed, Warning, Warning]);
    assert_eq!(judge("strange", 100, true), [Warning, Good, Good]);
}

#[test]
fn a_database_has_a_schema_that_is_known() {
    let judge = |found: Database| database("sqlite:/d/careen.db", &found);
    let schema = |found| Database::Schema { found, known: 3 };
    let unusable = Database::Unusable("connection refused".to_owned());
    let all = [Database::Absent, Database::Empty, schema(3), schema(2), schema(4), unusable];
    assert_eq!(verdicts(all.map(judge)), [Good, Good, Good, Warning, Failed, Failed]);
}

#[test]
fn a_clock_agrees_with_others() {
    let judged = [
        clock(100, 200, "the database", None),
        clock(300, 200, "the database", None),
        clock(300, 200, "the database", Some(-60)),
        clock(300, 200, "the database", Some(61)),
        clock(300, 200, "the database", Some(-61)),
    ];
    assert!(judged[3].found.contains("61 s behind the database") && judged[4].found.contains("61 s ahead of"));
    assert_eq!(verdicts(judged), [Failed, Good, Good, Failed, Failed]);
}

#[test]
fn a_port_is_free_or_the_servers_own() {
    let judge = |found: Port, running| port("127.0.0.1:8470", &found, running);
    let judged = [
        judge(Port::Free, false),
        judge(Port::Taken, true),
        judge(Port::Taken, false),
        judge(Port::Free, true),
        judge(Port::Refused("denied".to_owned()), false),
    ];
    assert_eq!(verdicts(judged), [Good, Good, Failed, Failed, Failed]);
}

#[test]
fn a_certificate_can_be_shown() {
    let files = |wrong: Option<&str>, uncovered: &[&str]| Certificate::Files {
        wrong: wrong.map(str::to_owned),
        uncovered: uncovered.iter().map(|name| (*name).to_owned()).collect(),
    };
    let plaintext = |off_loopback| Certificate::Plaintext { off_loopback };
    let all = [
        plaintext(false),
        plaintext(true),
        Certificate::Own,
        files(None, &[]),
        files(None, &["a"]),
        files(Some("x"), &[]),
    ];
    assert_eq!(verdicts(all.map(|found| certificate(&found))), [Good, Warning, Good, Good, Warning, Failed]);
}

#[test]
fn files_make_room_for_agents() {
    assert_eq!(verdicts([512, 1024, 8192].map(files_max)), [Failed, Warning, Good]);
    assert!(files_max(65_536).found.contains("room for 65280 agents"));
}

#[test]
fn a_running_server_speaks_for_itself() {
    let said = |good| [("database: it is full".to_owned(), good), ("reconcilers: fine".to_owned(), true)];
    assert_eq!(verdicts(running(None)), [Good]);
    assert_eq!(verdicts(running(Some(&said(true)))), [Good]);
    assert_eq!(verdicts(running(Some(&said(false)))), [Failed]);
}

#[test]
fn a_node_is_registered_privileged_and_connected() {
    assert_eq!(verdicts([privileges(0), privileges(1000)]), [Good, Warning]);
    let registered = Registration::Registered { node: "mi-1".to_owned(), server: "https://s".to_owned() };
    let all = [Registration::None, Registration::Unusable("damaged".to_owned()), registered];
    assert_eq!(verdicts(all.map(|found| registration(&found))), [Failed, Failed, Good]);
    let judged = [connection(None), connection(Some((true, Some("old")))), connection(Some((false, None)))];
    assert_eq!(verdicts(judged), [Failed, Good, Failed]);
    let judged = [policy(None), policy(Some(("/p", Ok(())))), policy(Some(("/p", Err("line 1"))))];
    assert_eq!(verdicts(judged), [Good, Good, Failed]);
}

#[test]
fn the_way_to_the_server_names_the_step_that_failed() {
    let steps = [Step::Resolve, Step::Connect, Step::Converse, Step::Identify];
    let judged: Vec<Judgement> = steps.map(|step| way("s:1", Some("p:2"), Err((step, "why")))).into();
    assert!(judged.iter().all(|judgement| judgement.found.starts_with("s:1 through the proxy p:2: ")), "{judged:?}");
    let texts: std::collections::BTreeSet<_> = judged.iter().map(|judgement| judgement.advice.clone()).collect();
    assert_eq!(texts.len(), 4, "each step has advice of its own");
    assert_eq!(verdicts(judged), [Failed; 4]);
    assert_eq!(verdicts([way("s:1", None, Ok(()))]), [Good]);
}

#[test]
fn packages_can_be_installed() {
    let judge = |present, audit: Option<&str>| dpkg(&Packages { present, audit: audit.map(str::to_owned) });
    let judged = [judge(false, None), judge(true, None), judge(true, Some("")), judge(true, Some("half\nmore"))];
    assert_eq!(judged[3].found, "half");
    assert_eq!(verdicts(judged), [Warning, Warning, Good, Failed]);
    assert_eq!(verdicts([lists(None), lists(Some(8 * 86_400)), lists(Some(3600))]), [Warning, Warning, Good]);
    assert_eq!(verdicts([locks(&[]), locks(&[(7, "apt-get".to_owned())])]), [Good, Warning]);
    let with = |kill_mode: &str| Unit { name: "careen-agent.service".to_owned(), kill_mode: kill_mode.to_owned() };
    let judged = [unit(None), unit(Some(&with("process"))), unit(Some(&with("control-group")))];
    assert_eq!(verdicts(judged), [Good, Good, Failed]);
}

#[test]
fn a_line_is_one_line_and_the_worst_counts() {
    let judgement = Judgement::failed("x", "a\nb\u{1b}[2J", "do\nthis");
    assert_eq!(judgement.line(), "failed   x: a b [2J\n         -> do this");
    assert_eq!(Judgement::ok("x", "well").line(), "ok       x: well");
    assert_eq!(worst(&[]), Good);
    assert_eq!(worst(&[Judgement::ok("a", ""), judgement, Judgement::warning("b", "", "")]), Failed);
    assert_eq!([Good, Warning, Failed].map(Verdict::exit_code), [0, 1, 2]);
    assert_eq!(Good.as_str(), "ok");
}
