use super::*;

#[test]
fn files_that_cannot_be_fetched_are_named_with_apts_words() {
    let uris = "Reading package lists...\n\
        'http://m/pool/a/foo_1%3a2.0-1_amd64.deb' foo_1%3a2.0-1_amd64.deb 307832 SHA256:ab\n\
        'http://m/pool/b/bar_3_all.deb' bar_3_all.deb 10 SHA256:cd\n";
    let output = "Err:1 http://m x\n\
        E: Failed to fetch http://m/pool/a/foo_1%3a2.0-1_amd64.deb  404  Not Found [IP: 10.0.0.1 80]\n\
        E: Some files failed to download\n";
    let key = ("foo".to_owned(), "1:2.0-1".to_owned());
    let why = "Failed to fetch http://m/pool/a/foo_1%3a2.0-1_amd64.deb  404  Not Found [IP: 10.0.0.1 80]".to_owned();
    assert_eq!(unfetched(uris, output), [(key, why)]);
    assert_eq!(unfetched(uris, "E: You don't have enough free space"), []);
}

#[test]
fn packages_that_dpkg_could_not_process_are_found_by_name_and_by_file() {
    let output = "dpkg: error processing package bar (--configure):\n \
        installed bar package post-installation script subprocess returned error exit status 1\n\
        dpkg: error processing archive /tmp/apt-dpkg-install-x1/001-foo_1%3a2_amd64.deb (--unpack):\n \
        new foo package pre-installation script subprocess returned error exit status 1\n\
        Errors were encountered while processing:\n \
        bar\n libx:i386\n /tmp/apt-dpkg-install-x1/001-foo_1%3a2_amd64.deb\n \
        /var/cache/apt/archives/baz_1_all.deb\n\
        E: Sub-process /usr/bin/dpkg returned an error code (1)\n";
    let names: Vec<String> = processing_errors(output).into_iter().collect();
    assert_eq!(names, ["bar", "baz", "foo", "libx"]);
    assert_eq!(
        words_about("bar", output),
        "dpkg: error processing package bar (--configure):\n\
         installed bar package post-installation script subprocess returned error exit status 1"
    );
    assert!(words_about("foo", output).contains("pre-installation script"));
    assert_eq!(words_about("other", output).lines().count(), 3);
}
