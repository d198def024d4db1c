use super::*;

fn settings(variables: &[(&str, &str)]) -> ProxySettings {
    ProxySettings::from_variables(|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn proxy(settings: &ProxySettings, scheme: &str, host: &str) -> Option<String> {
    let proxy = settings.proxy_for(scheme, host, 80).unwrap();
    proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port()))
}

#[test]
fn each_scheme_has_its_own_proxy_and_all_proxy_is_for_those_without() {
    let both = settings(&[("HTTP_PROXY", "http://a:1"), ("ALL_PROXY", "b:2")]);
    assert_eq!(proxy(&both, "http", "x"), Some("a:1".to_owned()));
    assert_eq!(proxy(&both, "ws", "x"), Some("a:1".to_owned()));
    assert_eq!(proxy(&both, "https", "x"), Some("b:2".to_owned()));
    assert_eq!(proxy(&both, "wss", "x"), Some("b:2".to_owned()));
    assert_eq!(proxy(&settings(&[]), "http", "x"), None);
}

#[test]
fn lower_case_goes_before_upper_case_and_an_empty_value_is_none() {
    let both = settings(&[("https_proxy", "low:1"), ("HTTPS_PROXY", "up:1")]);
    assert_eq!(proxy(&both, "https", "x"), Some("low:1".to_owned()));
    let empty = settings(&[("https_proxy", ""), ("HTTPS_PROXY", "up:1")]);
    assert_eq!(proxy(&empty, "https", "x"), Some("up:1".to_owned()));
}

#[test]
fn a_cgi_program_does_not_take_its_clients_proxy_header_for_a_setting() {
    let cgi = settings(&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil:1")]);
    assert_eq!(proxy(&cgi, "http", "x"), None);
    let own = settings(&[("REQUEST_METHOD", "GET"), ("http_proxy", "good:1")]);
    assert_eq!(proxy(&own, "http", "x"), Some("good:1".to_owned()));
}

#[test]
fn no_proxy_takes_hosts_domains_addresses_networks_and_ports() {
    let list = "example.com, .inner.test,*.wild.test 10.0.0.0/8,::1,[fe80::1],2001:db8::/32,here:8080,192.0.2.7";
    let some = settings(&[("http_proxy", "p:1"), ("no_proxy", list)]);
    for host in [
        "example.com",
        "www.Example.com",
        "example.com.",
        "a.inner.test",
        "inner.test",
        "a.wild.test",
        "10.1.2.3",
        "[::1]",
        "[fe80::1]",
        "[2001:db8:1::5]",
        "192.0.2.7",
    ] {
        assert_eq!(proxy(&some, "http", host), None, "{host}");
    }
    for host in [
        "notexample.com",
        "com",
        "11.0.0.1",
        "[2001:db9::1]",
        "here",
        "192.0.2.70",
    ] {
        assert!(proxy(&some, "http", host).is_some(), "{host}");
    }
    assert!(some.proxy_for("http", "here", 8080).unwrap().is_none());
    let all = settings(&[("http_proxy", "p:1"), ("no_proxy", "*")]);
    assert_eq!(proxy(&all, "http", "anything"), None);
}

#[test]
fn what_is_no_proxy_url_is_an_error_without_its_password() {
    for (text, expected) in [
        (
            "socks5://u:secret@h:1",
            "unsupported proxy scheme 'socks5' (http expected)",
        ),
        ("http://u:secret@:1", "invalid proxy url (empty host)"),
        (
            "http://u:secret@h:99999",
            "invalid proxy url (invalid port number)",
        ),
    ] {
        assert_eq!(Proxy::parse(text).err().unwrap().to_string(), expected);
        let broken = settings(&[("http_proxy", text)]);
        assert!(broken.proxy_for("http", "x", 80).is_err());
    }
}

#[test]
fn credentials_are_percent_decoded() {
    let proxy = Proxy::parse("us%65r:p%40ss@[::1]").unwrap();
    assert_eq!((proxy.host(), proxy.port()), ("[::1]", 80));
    assert_eq!(proxy.credentials(), Some("Basic dXNlcjpwQHNz"));
}
