use super::*;
use proptest::prelude::*;
use std::process::Command;

fn read(text: &str) -> (Configuration, Vec<Warning>) {
    let mut configuration = Configuration::default();
    let warnings = configuration.read_apt_conf("/etc/apt/apt.conf.d/10x", text.as_bytes());
    (configuration, warnings)
}

#[test]
fn settings_in_every_form() {
    let (configuration, warnings) = read(
        "// a comment\n# another\n/* and\n one more */\n\
         APT::Default-Release \"stable\"; APT { Architecture \"arm64\"; Architectures { \"arm64\"; \"armhf\"; };\n\
         Get { Always-Include-Phased-Updates \"false\"; Phase-Policy yes; }; };\n\
         apt::architectures:: \"i386\";\nUpdate-Manager::Never-Include-Phased-Updates true;\n\
         APT::Machine-ID \"abc\";\nDPkg::Post-Invoke {\"if [ -x /a ]; then b || true; fi\";};\nAcquire::URIEncode \"~\";\n",
    );
    assert_eq!(warnings, []);
    assert_eq!(configuration.default_release, "stable");
    assert_eq!(configuration.architectures(), ["arm64", "armhf", "i386"]);
    assert!(configuration.phased_updates.is_never() && !configuration.phased_updates.is_always());
    assert!(configuration.phase_policy);
    assert_eq!(configuration.machine_id, "abc");
    assert_eq!(configuration.uri_encode.as_deref(), Some("~"));
}

#[test]
fn apts_own_setting_comes_before_the_managers() {
    let (configuration, _) =
        read("APT::Get::Always-Include-Phased-Updates false; Update-Manager::Always-Include-Phased-Updates true;");
    assert!(!configuration.phased_updates.is_always());
    let (configuration, _) = read("Update-Manager::Always-Include-Phased-Updates true;");
    assert!(configuration.phased_updates.is_always());
}

#[test]
fn what_is_not_understood() {
    let (_, warnings) = read("#include \"/etc/other\";\n#clear APT::Default-Release;\n}\n");
    assert_eq!(warnings.len(), 3);
    let (configuration, warnings) = read(&"a {".repeat(100));
    assert_eq!((configuration, warnings.len()), (Configuration::default(), 1));
    let mut configuration = Configuration::default();
    assert!(configuration.read_apt_conf("a.conf.bak", b"APT::Default-Release x;").is_empty());
    assert_eq!(configuration, Configuration::default());
}

#[test]
fn foreign_architectures_of_dpkg() {
    let mut configuration = Configuration { native_architecture: "amd64".to_owned(), ..Configuration::default() };
    configuration.read_dpkg_architectures(b"amd64\ni386\n\nbad name\n");
    assert_eq!(configuration.architectures(), ["amd64", "i386"]);
}

#[test]
fn as_apt_reads_it() {
    let text = "APT { Default-Release \"x y\"; Architecture amd64; // c\n Architectures { \"amd64\"; \"i386\" } }\n\
                APT::Machine-ID 'q';\nAPT::Get::Phase-Policy \"1\"\n;";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.conf");
    std::fs::write(&file, text).unwrap();
    let dump = |name: &str| {
        let value = Command::new("apt-config").arg("-c").arg(&file).args(["shell", "v", name]).output().ok()?.stdout;
        let value = String::from_utf8(value).unwrap();
        Some(value.trim().trim_start_matches("v=").trim_matches('\'').to_owned())
    };
    let Some(told) = dump("APT::Default-Release") else {
        println!("apt is not here: its own answers were not compared");
        return;
    };
    let (configuration, _) = read(text);
    assert_eq!(configuration.default_release, told);
    assert_eq!(Some(configuration.native_architecture), dump("APT::Architecture"));
    assert!(configuration.phase_policy && dump("APT::Get::Phase-Policy").as_deref() == Some("1"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_panics(text in "(APT|::|Get|\"|;|\\{|\\}|//|/\\*|\\*/|#|#clear| |\n|é|a){0,30}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = read(&text);
        let _ = Configuration::default().read_apt_conf("a", &bytes);
    }
}
