//! Which crate of the workspace may use which.

use super::Breach;
use super::cargo::{Kind, Member};
use super::table::{Row, Wing};

/// Crates outside the wings.
const OUTSIDE: [&str; 2] = ["testkit", "xtask"];

/// What server and agent agree on must not grow with either: the wire's crate uses these of the workspace alone.
const AGENT_WIRE: (&str, &[&str]) = ("agent-wire", &["identifiers", "packages", "patching"]);

/// Everything about the workspace's own edges that the table does not allow.
pub(super) fn judge(table: &[Row], members: &[Member]) -> Vec<Breach> {
    let mut breaches = both_ways(table, members);
    for member in members.iter().filter(|member| member.name != "xtask") {
        for (used, kind) in &member.uses {
            breaches.extend(edge(table, member, used, *kind));
        }
    }
    breaches
}

/// Every crate has its row, in the wing its folder says, and every row its crate.
fn both_ways(table: &[Row], members: &[Member]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for member in members.iter().filter(|member| !OUTSIDE.contains(&member.name.as_str())) {
        let (name, folder) = (&member.name, &member.folder);
        match table.iter().find(|row| row.name == *name) {
            None => breaches.push(Breach::new(
                format!("{name} is not in the table of crates"),
                folder,
                "add its row to ARCHITECTURE.md, or move what it does into a crate that is there",
            )),
            Some(row) if !folder.starts_with(&format!("crates/{}/", row.wing.name())) => breaches.push(Breach::new(
                format!("{name} does not lie in its wing, {}", row.wing.name()),
                folder,
                "move its folder, or correct its row in ARCHITECTURE.md",
            )),
            Some(_) => {}
        }
    }
    for row in table {
        if !members.iter().any(|member| member.name == row.name) {
            breaches.push(Breach::new(
                format!("{} is in the table of crates but not in the workspace", row.name),
                "ARCHITECTURE.md",
                "remove its row",
            ));
        }
        for used in &row.may_use {
            if !table.iter().any(|other| other.name == *used && other.wing == row.wing) {
                breaches.push(Breach::new(
                    format!("{} may use {used}, which is no crate of its wing", row.name),
                    "ARCHITECTURE.md",
                    "the column lists crates of the same wing only; lower wings need no mention",
                ));
            }
        }
    }
    breaches
}

fn edge(table: &[Row], member: &Member, used: &str, kind: Kind) -> Option<Breach> {
    let place = format!("{}/Cargo.toml", member.folder);
    let breach = |what: String, remedy: &str| Some(Breach::new(what, place.clone(), remedy));
    let name = member.name.as_str();
    if used == "testkit" {
        return match kind {
            Kind::Normal => {
                breach(format!("{name} uses testkit"), "only [dev-dependencies] may: tests use it, no more")
            }
            Kind::Tests => None,
        };
    }
    if used == "xtask" {
        return breach(format!("{name} uses xtask"), "nothing may: move what is shared into a crate of its own");
    }
    // Reported as missing from the table already, if it is no crate outside the wings.
    let target = table.iter().find(|row| row.name == used)?;
    if name == "testkit" {
        // It may use all, yet it stands below every test: a cycle is cargo's to refuse.
        return None;
    }
    let own = table.iter().find(|row| row.name == name)?;
    match kind {
        Kind::Tests if own.wing == Wing::Core && target.wing > Wing::Formats => breach(
            format!("the tests of {name} (core) use {used} ({})", target.wing.name()),
            "test the rule with values; put a test that needs the outside beside the crate that has it",
        ),
        Kind::Tests => None,
        Kind::Normal if name == AGENT_WIRE.0 && !AGENT_WIRE.1.contains(&used) => breach(
            format!("{name} uses {used}"),
            "its messages may carry ids and the core values of packages and patching, nothing else",
        ),
        Kind::Normal if target.wing > own.wing => breach(
            format!("{name} ({}) uses {used} ({}), a higher wing", own.wing.name(), target.wing.name()),
            "turn the edge round: pass the value in, or move the decision down",
        ),
        Kind::Normal if target.wing == own.wing && !own.may_use.iter().any(|may| may == used) => breach(
            format!("{name} uses {used} of its own wing, which its row does not list"),
            "do without it, or list it in ARCHITECTURE.md and say why in the commit",
        ),
        Kind::Normal => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::parse;
    use super::*;

    fn table() -> Vec<Row> {
        parse(
            "<!-- crates:begin -->\n| crate | wing | may use in its own wing | decides |\n|---|---|---|---|\n\
             | identifiers | core | | ids |\n| nodes | core | identifiers | who |\n| packages | core | | what |\n\
             | agent-wire | formats | | messages |\n| store | adapters | | rows |\n| api | apps | | routes |\n\
             <!-- crates:end -->",
        )
        .unwrap()
    }

    fn member(name: &str, folder: &str, uses: &[(&str, Kind)]) -> Member {
        let uses = uses.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        Member { name: name.to_owned(), folder: folder.to_owned(), uses }
    }

    /// All members of the table, with these uses for one of them.
    fn house(changed: &str, uses: &[(&str, Kind)]) -> Vec<Member> {
        let rows = table();
        let in_wings = rows.iter().map(|row| {
            let folder = format!("crates/{}/{}", row.wing.name(), row.name);
            member(&row.name, &folder, if row.name == changed { uses } else { &[] })
        });
        let outside = [("testkit", "crates/testkit"), ("xtask", "xtask")];
        let outside = outside.map(|(name, folder)| member(name, folder, if name == changed { uses } else { &[] }));
        in_wings.chain(outside).collect()
    }

    fn said(changed: &str, uses: &[(&str, Kind)]) -> String {
        let breaches = judge(&table(), &house(changed, uses));
        breaches.iter().map(|breach| breach.what.clone()).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn allowed_edges_pass() {
        use Kind::{Normal, Tests};
        assert_eq!(said("nodes", &[("identifiers", Normal), ("testkit", Tests)]), "");
        assert_eq!(said("api", &[("store", Normal), ("nodes", Normal)]), "");
        assert_eq!(said("store", &[("nodes", Normal), ("api", Tests)]), "");
        assert_eq!(said("xtask", &[("api", Normal), ("testkit", Normal)]), "");
        assert_eq!(said("agent-wire", &[("identifiers", Normal)]), "");
    }

    #[test]
    fn every_other_edge_is_told() {
        use Kind::{Normal, Tests};
        assert_eq!(said("nodes", &[("store", Normal)]), "nodes (core) uses store (adapters), a higher wing");
        assert_eq!(
            said("nodes", &[("packages", Normal)]),
            "nodes uses packages of its own wing, which its row does not list"
        );
        assert_eq!(said("agent-wire", &[("nodes", Normal)]), "agent-wire uses nodes");
        assert_eq!(said("api", &[("testkit", Normal)]), "api uses testkit");
        assert_eq!(said("nodes", &[("store", Tests)]), "the tests of nodes (core) use store (adapters)");
        assert_eq!(said("api", &[("xtask", Tests)]), "api uses xtask");
    }

    #[test]
    fn table_and_workspace_must_agree() {
        let mut members = house("", &[]);
        members.retain(|member| member.name != "store");
        members.push(member("shed", "crates/apps/shed", &[]));
        members.push(member("api2", "x", &[]));
        let mut rows = table();
        rows[1].may_use.push("store".to_owned());
        let whats: Vec<String> = judge(&rows, &members).into_iter().map(|breach| breach.what).collect();
        assert!(whats.contains(&"shed is not in the table of crates".to_owned()), "{whats:?}");
        assert!(whats.contains(&"store is in the table of crates but not in the workspace".to_owned()), "{whats:?}");
        assert!(whats.contains(&"nodes may use store, which is no crate of its wing".to_owned()), "{whats:?}");
        let misplaced = judge(&table(), &{
            let mut members = house("", &[]);
            members.retain(|member| member.name != "api");
            members.push(member("api", "crates/core/api", &[]));
            members
        });
        assert_eq!(misplaced.len(), 1);
        assert_eq!(misplaced[0].what, "api does not lie in its wing, apps");
    }
}
