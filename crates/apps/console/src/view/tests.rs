//! Pages as functions of their views alone.

use askama::Template as _;
use control::views::{FleetFilter, FleetTotals, FleetView};
use identifiers::Timestamp;

use super::*;

fn person() -> Person {
    Person {
        account: "000000000000".to_owned(),
        region: "eu-west-1".to_owned(),
        user: "root".to_owned(),
        is_administrator: true,
        csrf: "form-token".to_owned(),
        is_read_only: false,
    }
}

fn fleet(totals: FleetTotals) -> String {
    let view = FleetView { totals, filter: FleetFilter::All, nodes: Vec::new(), next: Some("abc".to_owned()) };
    Fleet::new(&person(), view, Timestamp::from_seconds(1_700_000_000)).render().unwrap()
}

fn card(tone: &str, figure: &str, what: &str) -> String {
    format!(r#"<div class="card {tone}"><div class="figure">{figure}</div><div class="what">{what}</div></div>"#)
}

#[test]
fn nothing_reported_is_unknown_and_not_none() {
    let page = fleet(FleetTotals { nodes: 3, attention: 3, never_reported: 3, ..FleetTotals::default() });
    assert!(page.contains(&card("warn", "unknown", "patches missing; unknown on 3 nodes")), "{page}");
    assert!(!page.contains(r#"<div class="figure">0</div><div class="what">patches"#), "{page}");
    assert!(page.contains(&card("warn", "3", "nodes without a recent report")), "{page}");
}

#[test]
fn a_zero_is_good_news_only_where_every_node_reported() {
    let all = fleet(FleetTotals { nodes: 2, ..FleetTotals::default() });
    assert!(all.contains(&card("good", "0", "patches missing")), "{all}");
    let some = fleet(FleetTotals { nodes: 2, never_reported: 1, attention: 1, ..FleetTotals::default() });
    assert!(some.contains(&card("warn", "0", "patches missing; unknown on 1 node")), "{some}");
    let bad = fleet(FleetTotals { nodes: 2, missing: 7, ..FleetTotals::default() });
    assert!(bad.contains(&card("bad", "7", "patches missing")), "{bad}");
}

#[test]
fn every_filter_of_the_fleet_leads_back_to_itself() {
    let page = fleet(FleetTotals { nodes: 1, ..FleetTotals::default() });
    for filter in [
        FleetFilter::All,
        FleetFilter::Attention,
        FleetFilter::NonCompliant,
        FleetFilter::Lost,
        FleetFilter::NeverReported,
        FleetFilter::Stale,
    ] {
        let name =
            page.split("/console?show=").filter_map(|rest| rest.split('"').next()).find(|n| fleet_filter(n) == filter);
        assert!(name.is_some(), "{filter:?}");
    }
}

#[test]
fn the_frame_names_the_room_the_scope_and_the_form_token() {
    let page = fleet(FleetTotals { nodes: 1, ..FleetTotals::default() });
    for part in [
        r#"<a href="/console" aria-current="page">Fleet</a>"#,
        "000000000000 · eu-west-1",
        r#"<input type="hidden" name="csrf" value="form-token">"#,
        r##"<a class="skip" href="#content">"##,
        r#"<html lang="en">"#,
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let problem = Problem::new(None, "Not found", "<b>x</b>").render().unwrap();
    assert!(problem.contains("&#60;b&#62;x") && !problem.contains("Sign out"), "{problem}");
}

#[test]
fn a_sign_in_link_is_escaped_and_explained_without_one() {
    let page = SignInPage::new(Some("\"><script>".to_owned()), None).render().unwrap();
    assert!(page.contains(r#"value="&#34;&#62;&#60;script&#62;""#), "{page}");
    let page = SignInPage::new(None, Some(Notice::new("bad", "Used."))).render().unwrap();
    assert!(page.contains("careen admin sign-in-link") && page.contains("Used."), "{page}");
}

#[test]
fn every_status_has_a_colour_and_what_is_unknown_is_bad() {
    for (status, tone) in [
        ("Success", "good"),
        ("InProgress", "warn"),
        ("Cancelled", ""),
        ("Failed", "bad"),
        ("DeliveryTimedOut", "bad"),
        ("NoInstancesInTag", "bad"),
    ] {
        assert_eq!(status_tone(status), tone, "{status}");
    }
}
