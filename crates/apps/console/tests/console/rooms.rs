//! The rooms over a real server and store: what they show, to whom, and what a form does.

use crate::browser::Browser;
use crate::furnished::{
    self, ALPINE, DATABASE, DAY, Furnished, HOSTILE, INSTALLED, LOST, RUNNING, SCANNED, SCRIPT, SHELL, SILENT, WEB, id,
};
use axum::http::StatusCode;
use commands::{CommandState, GivenParameters};
use control::views;
use identifiers::Timestamp;
use patching::{PatchState, Reason};
use store::{AuditQuery, CommandQuery};

fn now() -> Timestamp {
    Timestamp::parse("2026-11-22T15:00:00Z").unwrap()
}

async fn signed_in() -> (Furnished, Browser) {
    let furnished = Furnished::new(now()).await;
    let mut browser = Browser::new(&furnished);
    browser.sign_in(&furnished.link().await).await;
    (furnished, browser)
}

async fn sent(furnished: &Furnished) -> Vec<commands::Command> {
    let rows = furnished.server.store.command_list(&furnished::scope(), &CommandQuery::all(100)).await.unwrap();
    rows.into_iter().map(|found| found.row).filter(|row| row.requested_at == furnished.clock.now()).collect()
}

#[tokio::test]
async fn the_fleet_shows_what_is_known_and_says_what_is_not() {
    let (_furnished, mut browser) = signed_in().await;
    let page = browser.get("/console").await.ok();
    page.shows("web-1.example.net");
    page.shows(&format!(r#"<a class="id" href="/console/nodes/{WEB}">"#));
    // Sums over three reports, and that two nodes are not in them.
    page.shows(r#"<div class="figure">3</div><div class="what">patches missing; unknown on 2 nodes</div>"#);
    page.shows(r#"<div class="figure">2</div><div class="what">patches wait for a reboot; unknown on 2 nodes</div>"#);
    page.shows("held: two hosts connect with its key");
    page.shows("never heard of");
    page.shows(r#"<span class="tag warn">never reported</span>"#);
    page.shows("12 days ago</span> <span class=\"tag warn\">old</span>");
    assert_eq!(page.count("Connection lost</span>"), 2);
    assert_eq!(page.count("<tr>"), 1 + 6, "{}", page.body);
}

#[tokio::test]
async fn the_fleet_is_narrowed_to_what_is_asked_for() {
    let (_furnished, mut browser) = signed_in().await;
    for (show, nodes) in [
        ("lost", vec![LOST, ALPINE]),
        ("never-reported", vec![SILENT, ALPINE]),
        ("stale", vec![LOST]),
        ("non-compliant", vec![WEB, LOST, HOSTILE]),
        ("attention", vec![WEB, LOST, SILENT, ALPINE, HOSTILE]),
        ("something-else", vec![WEB, DATABASE, LOST, SILENT, ALPINE, HOSTILE]),
    ] {
        let page = browser.get(&format!("/console?show={show}")).await.ok();
        for node in [WEB, DATABASE, LOST, SILENT, ALPINE, HOSTILE] {
            assert_eq!(page.body.contains(node), nodes.contains(&node), "{show}: {node}");
        }
    }
}

#[tokio::test]
async fn a_fleet_without_nodes_says_how_to_get_one() {
    let furnished = Furnished::empty(now()).await;
    let mut browser = Browser::new(&furnished);
    browser.sign_in(&furnished.link().await).await;
    let page = browser.get("/console").await.ok();
    page.shows("aws ssm create-activation");
    page.lacks("class=\"figure\"");
}

#[tokio::test]
async fn a_fleet_of_many_pages_is_walked_to_its_end() {
    let (furnished, mut browser) = signed_in().await;
    furnished.many_nodes(230).await;
    let (mut link, mut seen, mut pages) = ("/console".to_owned(), 0, 0);
    loop {
        let page = browser.get(&link).await.ok();
        seen += page.count(r#"<th scope="row">"#);
        pages += 1;
        match page.link_named("Next nodes") {
            Some(next) => link = next,
            None => break,
        }
    }
    assert_eq!((pages, seen), (3, 236));
    // The position belongs to its question.
    let page = browser.get(&link.replace("show=all", "show=lost")).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_node_shows_first_what_needs_attention_each_with_its_reason() {
    let (_furnished, mut browser) = signed_in().await;
    let page = browser.get(&format!("/console/nodes/{WEB}")).await.ok();
    page.shows("openssh-server.amd64");
    page.shows("<dt>Its own policy</dt><dd>no scripts; no reboot</dd>");
    page.shows("1:9.2p1-2+deb12u7");
    page.shows("Approval rule 1 approves the newer version");
    page.shows("Missing, held");
    page.shows("The newer version is approved, but the package is on hold");
    page.shows("Installed, but the node has not been rebooted since");
    page.lacks("vim-common");
    page.lacks("lib-quiet-000");
    page.shows("Installed, other <b>321</b>");
    page.shows("AWS-DebianDefaultPatchBaseline");
    page.shows("The predefined default for this operating system");
    page.shows("Approval delays and dates have no effect here");
    // Which package from which version to which, when, by which command.
    page.shows("3.0.15-1~deb12u1</td>");
    page.shows("3.0.17-1~deb12u3</td>");
    page.shows(&format!(r#"<a href="/console/commands/{INSTALLED}/{WEB}">"#));
    page.shows("another tool or person");
    page.shows("2026-11-20 15:01 UTC");
    page.lacks("http-equiv");

    let other = browser.get(&format!("/console/nodes/{WEB}?state=InstalledOther")).await.ok();
    other.shows("Nothing newer is offered; the installed version comes from no security archive");
    other.lacks("openssh-server");
    let next = other.link_named("More patches").unwrap();
    let rest = browser.get(&next).await.ok();
    rest.shows("vim-common");
    rest.shows("A newer version is offered, but by no security archive");
    assert_eq!(rest.link_named("More patches"), None);
    browser.get(&format!("/console/nodes/{WEB}?state=all")).await.ok().shows("libssl3.amd64");
}

#[tokio::test]
async fn a_node_says_what_it_is_not_known_of() {
    let (furnished, mut browser) = signed_in().await;
    let lost = browser.get(&format!("/console/nodes/{LOST}")).await.ok();
    lost.shows("This node does not answer: last heard of 3 days ago");
    lost.shows("nobody may connect as it, so it gets no orders. Two hosts, lately from 10.0.0.7.");
    lost.shows(&format!("careen admin node release {LOST}"));
    lost.shows("The last patch report is from 12 days ago");
    lost.shows("was made with another patch baseline (pb-09a5f8eb62bde80b1)");
    let silent = browser.get(&format!("/console/nodes/{SILENT}")).await.ok();
    silent.shows("has never reported its patches: whether any are missing is unknown");
    silent.lacks("class=\"figure\"");
    let alpine = browser.get(&format!("/console/nodes/{ALPINE}")).await.ok();
    alpine.shows("do not know the distribution &#39;alpine&#39;");
    alpine.shows("has not been heard of since it was registered");
    alpine.shows("sent no inventory");
    alpine.lacks("Install approved patches");
    // Good news is only what is known: the same report is no good news when it is old.
    let fresh = browser.get(&format!("/console/nodes/{DATABASE}")).await.ok();
    fresh.shows("every approved patch is in force");
    furnished.clock.advance_seconds(8 * DAY);
    browser.sign_in(&furnished.link().await).await;
    let stale = browser.get(&format!("/console/nodes/{DATABASE}")).await.ok();
    stale.shows("Nothing needed attention at the time of the last report");
    stale.lacks("card good");
}

#[tokio::test]
async fn long_histories_and_lists_of_commands_have_pages() {
    let (furnished, mut browser) = signed_in().await;
    furnished.many_changes(SILENT, 250).await;
    let node = browser.get(&format!("/console/nodes/{SILENT}")).await.ok();
    let all = node.link_named("The whole history").unwrap();
    let first = browser.get(&all).await.ok();
    assert_eq!(first.count("<tr>"), 1 + 200);
    let second = browser.get(&first.link_named("Older").unwrap()).await.ok();
    assert_eq!(second.count("<tr>"), 1 + 50);
    assert_eq!(second.link_named("Older"), None);

    furnished.many_commands(SILENT, 60).await;
    let first = browser.get("/console/commands").await.ok();
    assert_eq!(first.count("<tr>"), 1 + 50);
    let second = browser.get(&first.link_named("Older").unwrap()).await.ok();
    assert_eq!(second.count("<tr>"), 1 + 14);
    let of_node = browser.get(&format!("/console/commands?node={SILENT}")).await.ok();
    of_node.shows("build-7.example.net");
    let rest = browser.get(&of_node.link_named("Older").unwrap()).await.ok();
    assert_eq!(rest.count("<tr>"), 1 + 10);
}

#[tokio::test]
async fn commands_show_parameters_nodes_and_output() {
    let (_furnished, mut browser) = signed_in().await;
    let list = browser.get("/console/commands").await.ok();
    list.shows("AWS-RunPatchBaseline");
    list.shows("Install, NoReboot");
    let command = browser.get(&format!("/console/commands/{SCANNED}")).await.ok();
    command.shows("2 of 2");
    command.shows("web-1.example.net");
    command.lacks("http-equiv");
    let invocation = browser.get(&format!("/console/commands/{INSTALLED}/{WEB}")).await.ok();
    invocation.shows("Installed 2 packages; no reboot is needed");
    invocation.shows("exit code 0");
    invocation.shows("Packages it changed");
    invocation.shows("7.88.1-10+deb12u14");
}

#[tokio::test]
async fn what_runs_is_reloaded_without_a_script() {
    let (_furnished, mut browser) = signed_in().await;
    for page in [format!("/console/nodes/{DATABASE}"), format!("/console/commands/{RUNNING}")] {
        let page = browser.get(&page).await.ok();
        page.shows(r#"<meta http-equiv="refresh" content=""#);
        page.shows("this page reloads");
        page.lacks("<script");
    }
}

#[tokio::test]
async fn what_a_running_step_writes_is_shown_as_it_comes() {
    let (furnished, mut browser) = signed_in().await;
    let address = format!("/console/commands/{RUNNING}/{DATABASE}");
    let empty = browser.get(&address).await.ok();
    empty.shows("No output yet.");
    // Without scripts it reads itself anew.
    empty.shows(r#"<noscript><meta http-equiv="refresh" content="3"></noscript>"#);
    let script = empty.between("<script src=\"", "\"").unwrap();
    let script = browser.get(&script).await.ok();
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(empty.count("<script"), 1, "and none within the page");

    furnished.live(0, &format!("first {SCRIPT}\n")).await;
    let page = browser.get(&address).await.ok();
    page.shows("first &#60;script&#62;alert(1)&#60;/script&#62;");
    let after = page.between("data-after=\"", "\"").unwrap();
    let output = page.between("data-live-output=\"", "\"").unwrap();
    furnished.live(1, "second \u{1b}]0;title\u{7} \u{202e}\n").await;
    let news = browser.get(&format!("{output}?after={after}")).await.ok();
    assert_eq!(news.header("content-type"), "application/json");
    news.shows(r#""ended":false"#);
    news.shows("second ␛]0;title␇ \u{fffd}");
    news.lacks("first");
    let next = news.between("\"next\":\"", "\"").unwrap();
    browser.get(&format!("{output}?after={next}")).await.ok().shows(r#""pieces":[]"#);
    browser.get(&format!("{output}?after=nonsense")).await.ok().shows("first");
    assert_eq!(browser.get(&format!("/console/commands/{RUNNING}/{WEB}/output")).await.status, StatusCode::NOT_FOUND);

    let over = browser.get(&format!("/console/commands/{SHELL}/{HOSTILE}")).await.ok();
    over.lacks("<script");
    browser.get(&format!("/console/commands/{SHELL}/{HOSTILE}/output")).await.ok().shows(r#""ended":true"#);
    browser.cookie = None;
    assert_eq!(browser.get(&output).await.location(), "/console/sign-in", "nobody reads it unasked");
}

#[tokio::test]
async fn texts_of_hosts_and_callers_never_become_markup() {
    let (_furnished, mut browser) = signed_in().await;
    for path in [
        "/console".to_owned(),
        format!("/console/nodes/{HOSTILE}"),
        format!("/console/nodes/{HOSTILE}/history"),
        format!("/console/commands/{SHELL}"),
        format!("/console/commands/{SHELL}/{HOSTILE}"),
        format!("/console/commands?node={HOSTILE}"),
        "/console/nodes/%3Cscript%3Ealert(1)%3C%2Fscript%3E".to_owned(),
        "/console/sign-in?token=%22%3E%3Cscript%3Ealert(1)".to_owned(),
    ] {
        let page = browser.get(&path).await;
        for markup in ["<script", "<img", "<b>Debian", "<b>one", "<i>", "</pre>: not"] {
            assert!(!page.body.contains(markup), "{path}: {markup}\n{}", page.body);
        }
        assert!(!page.body.contains("value=\"\">"), "{path}");
    }
    let output = browser.get(&format!("/console/commands/{SHELL}/{HOSTILE}")).await.ok();
    output.shows("&#60;script&#62;alert(1)&#60;/script&#62;");
    output.shows("␛[31mred");
    output.shows("It goes on; the rest was cut.");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_frame() {
    let (_furnished, mut browser) = signed_in().await;
    for path in [
        "/console/nodes/mi-0000000000000000f".to_owned(),
        "/console/nodes/nonsense".to_owned(),
        "/console/nodes/%FF".to_owned(),
        "/console/nodes/nonsense/history".to_owned(),
        "/console/commands/00000000-0000-4000-8000-000000000000".to_owned(),
        "/console/commands/nonsense".to_owned(),
        format!("/console/commands/{INSTALLED}/{DATABASE}"),
        format!("/console/commands/{INSTALLED}/nonsense"),
        "/console/rooms/nowhere".to_owned(),
    ] {
        let page = browser.get(&path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        page.shows("Not found");
        page.shows("Sign out");
    }
    assert_eq!(browser.get("/console/commands?after=nonsense").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(browser.post("/console/commands", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_form_sends_the_command_that_the_api_would_send() {
    let (furnished, mut browser) = signed_in().await;
    let form = format!("csrf={}&operation=Install&reboot_option=RebootIfNeeded", browser.csrf().await);
    let answer = browser.post(&format!("/console/nodes/{WEB}/patch"), &form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let [command] = sent(&furnished).await.try_into().unwrap();
    let parameters: GivenParameters = [("Operation", "Install"), ("RebootOption", "RebootIfNeeded")]
        .map(|(name, value)| (name.to_owned(), vec![value.to_owned()]))
        .into();
    assert_eq!(command.document_name.as_str(), "AWS-RunPatchBaseline");
    assert_eq!((command.parameters, command.instance_ids), (parameters, vec![id(WEB)]));
    assert_eq!((command.requested_by.as_str(), command.state), ("console/root", CommandState::Pending));
    let location = answer.location();
    assert_eq!(location, format!("/console/nodes/{WEB}?sent={}", command.command_id));
    let page = browser.get(&location).await.ok();
    page.shows("The command was sent.");
    page.shows("Install, RebootIfNeeded");

    let query = AuditQuery { action: Some("ssm:SendCommand".to_owned()), ..AuditQuery::all(10) };
    let [audit] = furnished.server.store.audit_list(&furnished::scope(), &query).await.unwrap().try_into().unwrap();
    assert_eq!((audit.record.principal.as_str(), audit.record.source_address.as_str()), ("console/root", "127.0.0.1"));
    assert_eq!((audit.record.outcome.as_str(), audit.record.request_id), ("done", command.request_id));
}

#[tokio::test]
async fn without_a_choice_nothing_is_installed_and_nothing_reboots() {
    let (furnished, mut browser) = signed_in().await;
    let form = format!("csrf={}", browser.csrf().await);
    browser.post(&format!("/console/nodes/{WEB}/patch"), &form).await;
    let [command] = sent(&furnished).await.try_into().unwrap();
    assert_eq!(command.parameters["Operation"], ["Scan"]);
    assert_eq!(command.parameters["RebootOption"], ["NoReboot"]);
}

#[tokio::test]
async fn other_values_are_refused_by_name() {
    let (furnished, mut browser) = signed_in().await;
    let csrf = browser.csrf().await;
    for (form, said) in [
        ("operation=Remove", "Operation cannot be &#39;Remove&#39;"),
        ("operation=scan", "Operation cannot be"),
        ("operation=", "Operation cannot be"),
        ("operation=Install&reboot_option=Always", "RebootOption cannot be &#39;Always&#39;"),
    ] {
        let page = browser.post(&format!("/console/nodes/{WEB}/patch"), &format!("csrf={csrf}&{form}")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{form}");
        page.shows(said);
    }
    let nobody = browser.post("/console/nodes/mi-0000000000000000f/patch", &format!("csrf={csrf}")).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    assert_eq!(sent(&furnished).await, []);
}

#[tokio::test]
async fn a_failing_store_is_said_with_the_request_and_nothing_else() {
    let (furnished, mut browser) = signed_in().await;
    furnished.server.store.close().await;
    for path in ["/console".to_owned(), format!("/console/nodes/{WEB}")] {
        let page = browser.get(&path).await;
        assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
        page.shows("Something went wrong here");
        let id = page.between("Request <code>", "</code>").unwrap();
        assert!(identifiers::RequestId::parse(&id).is_ok(), "{id}");
        for internal in ["sqlite", "SQLite", "pool", "closed", "store"] {
            page.lacks(internal);
        }
    }
}

#[tokio::test]
async fn a_rejected_package_that_is_installed_is_shown() {
    let furnished = Furnished::empty(now()).await;
    furnished.many_nodes(1).await;
    let node = Furnished::numbered(0);
    let action = patching::RejectedPatchesAction::Block;
    let row = furnished::row("telnetd", "0.17", None, PatchState::InstalledRejected, Reason::Rejected { action });
    furnished.report(&node, SCANNED, now(), vec![row]).await;
    let mut browser = Browser::new(&furnished);
    browser.sign_in(&furnished.link().await).await;
    let page = browser.get(&format!("/console/nodes/{node}")).await.ok();
    page.shows("installed, rejected");
    page.shows("The list of rejected patches names it, and rejected patches are blocked");
    browser.get("/console").await.ok().shows("1 rejected");
}

#[tokio::test]
async fn every_view_asks_whether_its_caller_may_and_writes_a_refusal_down() {
    let furnished = Furnished::new(now()).await;
    let node = access::Principal::Node { scope: furnished::scope(), node_id: id(WEB) };
    let context = furnished.server.context(furnished::scope(), node, "10.0.0.7".to_owned());
    let all = views::PatchFilter::All;
    let refusals = [
        views::fleet(&context, views::FleetFilter::All, None).await.err(),
        views::node(&context, WEB, all, None).await.err(),
        views::package_history(&context, WEB, None).await.err(),
        views::commands(&context, None, None).await.err(),
        views::command(&context, INSTALLED, None).await.err(),
        views::invocation(&context, INSTALLED, WEB).await.err(),
    ];
    let codes: Vec<_> = refusals.iter().map(|error| error.as_ref().map(|error| error.code)).collect();
    assert_eq!(codes, [Some("AccessDeniedException"); 6]);
    let query = AuditQuery { principal: Some(format!("node/{WEB}")), ..AuditQuery::all(10) };
    let audit = furnished.server.store.audit_list(&furnished::scope(), &query).await.unwrap();
    assert_eq!(audit.len(), 6);
    assert!(audit.iter().all(|entry| entry.record.outcome.starts_with("refused: ")));
}
