use super::*;
use proptest::prelude::*;

fn configuration() -> Configuration {
    Configuration {
        native_architecture: "amd64".to_owned(),
        foreign_architectures: vec!["i386".to_owned()],
        ..Configuration::default()
    }
}

fn read(name: &str, text: &str) -> (Sources, Vec<String>) {
    let mut sources = Sources::default();
    let warnings = sources.read(name, text.as_bytes(), &configuration());
    (sources, warnings.iter().map(ToString::to_string).collect())
}

fn stems(sources: &Sources) -> Vec<&str> {
    sources.index_files.iter().filter(|index| !index.optional).map(|index| index.file_name_stem.as_str()).collect()
}

#[test]
fn one_line_sources() {
    let (sources, warnings) = read(
        "/etc/apt/sources.list",
        "# comment\n\
         deb http://deb.example/debian bookworm main contrib # trailing\n\
         deb-src http://deb.example/debian bookworm main\n\
         deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg trusted=yes] https://u:p@other.example:8443/x ./\n\
         \tdeb\t[ arch-=i386 ] copy:/srv/repo bookworm/updates main\r\n\
         deb http://deb.example/debian bookworm main\n",
    );
    assert_eq!(warnings, [""; 0]);
    assert_eq!(
        stems(&sources),
        [
            "deb.example_debian_dists_bookworm_main_binary-amd64_Packages",
            "deb.example_debian_dists_bookworm_main_binary-i386_Packages",
            "deb.example_debian_dists_bookworm_contrib_binary-amd64_Packages",
            "deb.example_debian_dists_bookworm_contrib_binary-i386_Packages",
            "other.example:8443_x_._Packages",
            "_srv_repo_dists_bookworm_updates_main_binary-amd64_Packages",
        ]
    );
    let optional: Vec<_> = sources.index_files.iter().filter(|index| index.optional).collect();
    assert_eq!(optional.len(), 3);
    assert_eq!(optional[0].file_name_stem, "deb.example_debian_dists_bookworm_main_binary-all_Packages");
    let [debian, flat, local] = &sources.repositories[..] else { panic!("{sources:?}") };
    assert_eq!(debian.release_file_names[0], "deb.example_debian_dists_bookworm_InRelease");
    assert_eq!(debian.release_file_names[1], "deb.example_debian_dists_bookworm_Release");
    assert_eq!((flat.uri.as_str(), flat.site.as_str()), ("https://other.example:8443/x/", "other.example"));
    assert_eq!(flat.release_file_names[1], "other.example:8443_x_._Release");
    assert!(flat.trusted && !debian.trusted);
    assert_eq!((local.uri.as_str(), local.site.as_str()), ("copy:/srv/repo/", ""));
}

#[test]
fn deb822_sources() {
    let (sources, warnings) = read(
        "debian.sources",
        "Types: deb deb-src\n# http://old.example\nURIs: http://a.example/debian\n  http://b.example/debian/\n\
         Suites: bookworm bookworm-updates\nComponents: main\nArchitectures: amd64\nSigned-By:\n -----BEGIN\n .\n abc\n\n\
         # only a comment\n\n\
         Types: deb\nURIs: http://off.example\nSuites: x\nComponents: main\nEnabled: no\n\n\
         Types: deb-src\nURIs: http://src.example\nSuites: x\nComponents: main\n\n\
         Types: deb\nURIs: file:/srv/flat\nSuites: $(ARCH)/ /\nArchitectures-Add: riscv64\n",
    );
    assert_eq!(warnings, [""; 0]);
    assert_eq!(
        stems(&sources),
        [
            "a.example_debian_dists_bookworm_main_binary-amd64_Packages",
            "a.example_debian_dists_bookworm-updates_main_binary-amd64_Packages",
            "b.example_debian_dists_bookworm_main_binary-amd64_Packages",
            "b.example_debian_dists_bookworm-updates_main_binary-amd64_Packages",
            "_srv_flat_amd64_Packages",
            "_srv_flat_Packages",
        ]
    );
    assert_eq!(sources.repositories.len(), 6);
}

#[test]
fn quotes_brackets_and_escapes() {
    let (sources, warnings) = read(
        "a.list",
        "deb [signed-by=\"/a b\"] cdrom:[Debian GNU/Linux 12 _Book_ - x]/ bookworm main\n\
         deb \"http://h.example/a%20b\" \"x\" main\n\
         deb http://h.example/ stable+x main\n",
    );
    assert_eq!(warnings, [""; 0]);
    assert_eq!(
        stems(&sources).into_iter().filter(|stem| stem.contains("amd64")).collect::<Vec<_>>(),
        [
            "Debian%20GNU_Linux%2012%20%5fBook%5f%20-%20x_dists_bookworm_main_binary-amd64_Packages",
            "h.example_a%20b_dists_x_main_binary-amd64_Packages",
            "h.example_dists_stable%252bx_main_binary-amd64_Packages",
        ]
    );
}

#[test]
fn what_apt_would_refuse_is_left_out_by_name() {
    let (sources, warnings) = read(
        "a.list",
        "deb\nrpm http://x y z\ndeb [arch=amd64 http://x y z\ndeb [arch] http://x y z\ndeb http://x\ndeb http://x y\n\
         deb nouri y z\ndeb http://x ./ main\ndeb \"http://x y z\ndeb http://good.example/ y z\n",
    );
    assert_eq!(warnings.len(), 9, "{warnings:#?}");
    assert_eq!(warnings[1], "a.list, line 2: the type rpm is not known");
    assert_eq!(sources.repositories.len(), 1);
    let (sources, warnings) = read("a.sources", "URIs: x\n\n\nTypes: deb\nURIs: http://x\nSuites: y\n\nTypes: dep\n");
    assert!(sources.repositories.is_empty());
    assert_eq!(warnings.len(), 3);
    assert!(warnings[1].starts_with("a.sources, line 4:"), "{warnings:?}");
}

#[test]
fn files_that_apt_does_not_read() {
    for name in ["/etc/apt/sources.list.d/a.list.save", "a.sources~", "a", ".a.list"] {
        assert!(read(name, "deb http://x y z\n").0.repositories.is_empty(), "{name}");
    }
}

#[test]
fn a_stanza_that_multiplies_is_bounded() {
    let many = |word: &str| (0..100).map(|number| format!("{word}{number}")).collect::<Vec<_>>().join(" ");
    let text = format!("Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\n", many("http://h/"), many("s"), many("c"));
    let (sources, warnings) = read("a.sources", &text);
    assert_eq!((sources.named, sources.repositories.len()), (0, 0), "it is left out before anything is done with it");
    assert!(warnings.len() == 1 && warnings[0].contains("multiply to more than 10000"), "{warnings:?}");
    let text = format!("deb [arch={}] http://h x {}\n", many("a").replace(' ', ","), many("c") + " " + "more");
    let (sources, warnings) = read("a.list", &text);
    assert_eq!((sources.named, warnings.len()), (0, 1), "{warnings:?}");
}

#[test]
fn repetitions_and_repositories_without_lists_count_too() {
    let repeated = "deb http://h x main\n".repeat(40_000);
    let without_lists: String =
        (0..20_000).map(|number| format!("deb [target=Sources] http://h/{number} x main\n")).collect();
    for text in [repeated, without_lists] {
        assert!(text.len() <= FILE_BYTES_MAX);
        let (sources, warnings) = read("a.list", &text);
        assert!(sources.named == NAMED_MAX && sources.repositories.len() <= NAMED_MAX);
        assert!(warnings[0].contains("more than 10000 repositories and lists"), "{warnings:?}");
    }
}

#[test]
fn an_endless_uri_is_left_out() {
    let (sources, warnings) = read("a.list", &format!("deb http://h/{} x main\n", "a".repeat(ENTRY_BYTES_MAX)));
    assert_eq!((sources.repositories.len(), warnings.len()), (0, 1), "{warnings:?}");
}

#[test]
fn targets() {
    assert!(stems(&read("a.list", "deb [target=Contents-deb] http://x y z\n").0).is_empty());
    assert!(
        stems(&read("a.sources", "Types: deb\nURIs: http://x\nSuites: y\nComponents: z\nTargets: Sources\n").0)
            .is_empty()
    );
    assert!(!stems(&read("a.list", "deb [target=Packages,Sources] http://x y z\n").0).is_empty());
    assert!(stems(&read("a.list", "deb [Packages=no] http://x y z\n").0).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), line in "(deb |\\[|\\]|\"|=|%|%4|http://|a| |#|/|é|\n){0,20}") {
        for name in ["a.list", "a.sources"] {
            let mut sources = Sources::default();
            let _ = sources.read(name, &bytes, &configuration());
            let _ = sources.read(name, line.as_bytes(), &configuration());
            let _ = sources.read(name, format!("deb {line}").as_bytes(), &configuration());
            let _ = sources.read(name, format!("Types: deb\nURIs: {line}\nSuites: {line}\nComponents: {line}").as_bytes(), &configuration());
        }
    }
}

/// Every form of a source, each good enough for apt.
const ONE_LINE: &str = "\
# deb http://commented.example x main
deb http://deb.example/debian bookworm main contrib # trailing
deb\t[ arch=amd64,arm64  signed-by=/usr/share/keyrings/a.gpg ]\thttps://user:pa%40ss@host.example:8443/a_b/~c stable/updates main
deb [arch-=i386 trusted=yes] copy:/srv/repo+x bookworm main/debug
deb [arch+=riscv64] http://[2001:db8::1]:81/x y z
deb file:/srv/flat ./
deb file:///srv/flat2 $(ARCH)/
deb http://h.example / 
deb http://h.example/$(ARCH)/ x-$(ARCH) main
deb [arch=all,amd64] http://all.example x main
deb [arch-=all] http://notall.example x main
deb [target=Packages] http://t.example x main
deb [target-=Packages] http://no.example x main
deb [Packages=no] http://no2.example x main
deb \"http://quoted.example/a b%20c\" \"x y\" main
deb cdrom:[Debian GNU/Linux 12 _x_ - y]/ bookworm main
deb mirror+file:/etc/apt/mirrors.txt stable+x~y main
deb-src http://src.example x main
deb http://deb.example/debian/ bookworm main
";
const DEB822: &str = "\
# head

Types: deb deb-src
URIs: http://a.example/debian
# inside
  http://b.example/debian/
Suites: bookworm $(ARCH)-x
Components: main non-free/x
Architectures-Remove: i386
Signed-By: /usr/share/keyrings/a.gpg

Types: deb
URIs: http://off.example
Suites: x
Components: main
Enabled: false

Types: deb
URIs: tor+http://onion.example/~user
Suites: flat/ a~b/
Trusted: yes
x-own: field

types: deb
uris: http://lower.example
suites: x
components: main
architectures: amd64 s390x
";

#[test]
fn the_files_that_apt_looks_for() {
    if !crate::test_host::apt_is_here() {
        return;
    }
    let host = crate::test_host::TestHost::new();
    host.write("var/lib/dpkg/status", b"");
    host.write("etc/apt/sources.list", ONE_LINE.as_bytes());
    host.write("etc/apt/sources.list.d/x.sources", DEB822.as_bytes());
    host.write("etc/apt/sources.list.d/x.sources.save", b"deb http://ignored.example x main");
    let inspection = host.inspect();
    let mut ours: Vec<_> = inspection.index_files().iter().map(|index| index.file_name_stem.clone()).collect();
    let output =
        host.apt("apt-get", &["indextargets", "--no-release-info", "--format", "$(FILENAME)", "Created-By: Packages"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let name = |line: &str| line.rsplit('/').next().unwrap().to_owned();
    let mut told: Vec<_> = told.lines().map(name).collect();
    ours.sort();
    told.sort();
    assert_eq!(ours, told);
    assert!(ours.len() > 30);
}
