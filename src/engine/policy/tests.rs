use std::net::SocketAddr;

use super::*;

fn closed(rules: &[&str]) -> Policy {
    rules.iter().fold(Policy::closed(), |policy, rule| {
        policy.allow_connect(rule).unwrap()
    })
}

fn open(denied: &[&str]) -> Policy {
    denied.iter().fold(Policy::open(), |policy, rule| {
        policy.deny_connect(rule).unwrap()
    })
}

/// Whether a name with one address can be connected to.
fn reaches(policy: &Policy, host: &str, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    policy.connect_name(host, address.port()).is_ok()
        && policy.connect_address(host, address).is_ok()
}

/// Whether an address that is written as one can be connected to.
fn reaches_literal(policy: &Policy, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    let host = match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let verdicts = (
        policy.connect_name(&host, address.port()),
        policy.connect_address(&host, address),
    );
    assert_eq!(verdicts.0.is_ok(), verdicts.1.is_ok(), "{address}");
    verdicts.0.is_ok()
}

#[test]
fn an_open_policy_allows_what_no_rule_denies() {
    let policy = open(&["evil.example", "*.ads.example:443", "private"]);
    assert!(reaches(&policy, "good.example", "93.184.216.34:80"));
    assert!(!reaches(&policy, "evil.example", "93.184.216.34:80"));
    assert!(reaches(&policy, "sub.evil.example", "93.184.216.34:80"));
    assert!(!reaches(&policy, "a.b.ads.example", "93.184.216.34:443"));
    assert!(reaches(&policy, "a.b.ads.example", "93.184.216.34:80"));
    assert!(reaches(&policy, "ads.example", "93.184.216.34:443"));
    assert!(!reaches(&policy, "good.example", "192.168.1.1:80"));
    assert!(!reaches_literal(&policy, "10.0.0.1:80"));
    assert!(reaches_literal(&policy, "127.0.0.1:80"));
}

#[test]
fn names_match_in_any_case_with_a_last_dot_and_in_their_international_form() {
    let policy = open(&["Evil.Example", "bücher.example"]);
    for host in ["EVIL.example", "evil.example.", "xn--bcher-kva.example"] {
        assert!(!reaches(&policy, host, "93.184.216.34:80"), "{host}");
    }
}

#[test]
fn a_closed_policy_allows_only_what_a_rule_allows() {
    let policy = closed(&[
        "api.example:443",
        "*.cdn.example",
        "198.51.100.7",
        "10.1.0.0/16:8000-8100",
    ]);
    assert!(reaches(&policy, "api.example", "93.184.216.34:443"));
    assert!(!reaches(&policy, "api.example", "93.184.216.34:80"));
    assert!(!reaches(
        &policy,
        "api.example.evil.example",
        "93.184.216.34:443"
    ));
    assert!(!reaches(&policy, "evilapi.example", "93.184.216.34:443"));
    assert!(reaches(&policy, "one.cdn.example", "93.184.216.34:1"));
    assert!(!reaches(&policy, "cdn.example", "93.184.216.34:1"));
    assert!(!reaches(&policy, "evilcdn.example", "93.184.216.34:1"));
    assert!(!reaches(&policy, "anything.example", "93.184.216.34:443"));
    assert!(reaches_literal(&policy, "198.51.100.7:1"));
    assert!(!reaches_literal(&policy, "198.51.100.8:1"));
    assert!(reaches_literal(&policy, "10.1.255.1:8100"));
    assert!(!reaches_literal(&policy, "10.1.255.1:8101"));
    assert!(!reaches_literal(&policy, "10.2.0.1:8000"));
    assert!(!reaches_literal(&policy, "93.184.216.34:443"));
}

#[test]
fn a_name_that_resolves_to_an_address_of_no_public_kind_does_not_get_through_a_closed_policy() {
    let policy = closed(&["api.example", "*"]);
    for address in [
        "10.0.0.1:80",
        "172.31.255.255:80",
        "192.168.0.1:80",
        "100.64.0.1:80",
        "127.0.0.1:80",
        "0.0.0.0:80",
        "169.254.169.254:80",
        "224.0.0.1:80",
        "255.255.255.255:80",
        "240.0.0.1:80",
        "[::1]:80",
        "[::]:80",
        "[fe80::1]:80",
        "[fd12::1]:80",
        "[ff02::1]:80",
        "[::ffff:10.0.0.1]:80",
        "[::10.0.0.1]:80",
        "[64:ff9b::127.0.0.1]:80",
        "[2002:7f00:1::]:80",
    ] {
        assert!(!reaches(&policy, "api.example", address), "{address}");
        assert!(!reaches_literal(&policy, address), "{address}");
    }
    assert!(reaches(&policy, "api.example", "[2606:2800:220:1::1]:80"));
    assert!(reaches_literal(&policy, "93.184.216.34:80"));
    let with_range = policy.allow_connect("10.0.0.0/8").unwrap();
    assert!(reaches(&with_range, "api.example", "10.0.0.1:80"));
}

#[test]
fn a_denied_range_can_not_be_reached_in_disguise() {
    let policy = open(&["loopback", "169.254.169.254", "[fd00::]/8"]);
    for address in [
        "127.0.0.1:80",
        "127.255.0.9:80",
        "0.0.0.0:80",
        "[::]:80",
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "[::ffff:0:127.0.0.1]:80",
        "[::127.0.0.1]:80",
        "[64:ff9b::7f00:1]:80",
        "[64:ff9b:1::7f00:1]:80",
        "[2002:7f00:1::]:80",
        "[::ffff:169.254.169.254]:80",
        "[64:ff9b::169.254.169.254]:80",
        "[fd00::1]:80",
    ] {
        assert!(!reaches_literal(&policy, address), "{address}");
        assert!(!reaches(&policy, "innocent.example", address), "{address}");
    }
    assert!(reaches_literal(&policy, "169.254.169.253:80"));
}

#[test]
fn a_denial_wins_over_an_allowance() {
    let policy = closed(&["*.example", "private"])
        .deny_connect("secret.example")
        .unwrap()
        .deny_connect("10.9.0.0/16")
        .unwrap();
    assert!(reaches(&policy, "open.example", "93.184.216.34:80"));
    assert!(!reaches(&policy, "secret.example", "93.184.216.34:80"));
    assert!(reaches_literal(&policy, "10.8.0.1:80"));
    assert!(!reaches_literal(&policy, "10.9.0.1:80"));
    assert!(!reaches(&policy, "open.example", "10.9.0.1:80"));
    let nothing = open(&["*"]);
    assert!(
        !reaches(&nothing, "open.example", "93.184.216.34:80")
            && !reaches_literal(&nothing, "93.184.216.34:80")
    );
}

#[test]
fn localhost_is_the_name_of_the_loopback_addresses() {
    for rule in ["loopback:3000", "localhost:3000"] {
        let policy = closed(&[rule]);
        assert!(reaches(&policy, "localhost", "127.0.0.1:3000"), "{rule}");
        assert!(reaches(&policy, "LOCALHOST.", "[::1]:3000"), "{rule}");
        assert!(!reaches(&policy, "localhost", "127.0.0.1:3001"), "{rule}");
        assert!(!reaches(&policy, "localhost", "10.0.0.1:3000"), "{rule}");
    }
    assert!(!reaches(&closed(&["*"]), "localhost", "127.0.0.1:80"));
    assert!(!reaches(
        &closed(&["loopback"]),
        "rebinding.example",
        "127.0.0.1:80"
    ));
}

#[test]
fn listening_is_asked_for_on_its_own() {
    let policy = closed(&["*"]).allow_listen("loopback:8000-8100").unwrap();
    assert!(
        policy
            .listen_address("127.0.0.1:8000".parse().unwrap())
            .is_ok()
    );
    for address in [
        "127.0.0.1:0",
        "127.0.0.1:80",
        "0.0.0.0:8000",
        "[::]:8000",
        "93.184.216.34:8000",
    ] {
        assert!(
            policy.listen_address(address.parse().unwrap()).is_err(),
            "{address}"
        );
    }
    assert!(policy.listen_name("localhost", 8000).is_ok());
    assert!(policy.listen_name("secret.example", 8000).is_err());
    assert!(
        Policy::open()
            .listen_address("0.0.0.0:80".parse().unwrap())
            .is_ok()
    );
}

#[test]
fn who_listens_on_every_address_listens_on_the_denied_ones_too() {
    for (rule, address, allowed) in [
        ("0.0.0.0/0:1-1023", "[::]:80", false),
        ("0.0.0.0/0:1-1023", "[::ffff:0.0.0.0]:80", false),
        ("0.0.0.0/0:1-1023", "[::]:8080", true),
        ("192.0.2.7", "0.0.0.0:80", false),
        ("192.0.2.7", "[::]:80", false),
        ("192.0.2.7", "192.0.2.8:80", true),
        ("[2001:db8::7]", "[::]:80", false),
        ("[2001:db8::7]", "0.0.0.0:80", true),
        ("public", "0.0.0.0:80", false),
        ("public", "[::]:80", false),
        ("public", "127.0.0.1:80", true),
        ("unix:/run", "0.0.0.0:80", true),
    ] {
        let policy = Policy::open().deny_listen(rule).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        let asked = policy.listen_address(address);
        assert_eq!(asked.is_ok(), allowed, "{rule}: {address}");
    }
}

#[test]
fn a_path_with_a_nul_is_that_of_no_socket_that_a_policy_allows() {
    let folder = std::env::temp_dir().canonicalize().unwrap();
    let rule = format!("unix:{}", folder.display());
    let denied = Policy::open()
        .deny_connect("unix:/run/docker.sock")
        .unwrap();
    let allowed = closed(&[&rule]).allow_listen(&rule).unwrap();
    for path in ["/run/docker.sock\0", "\0abstract", "/run/docker.sock\0x/y"] {
        assert!(denied.connect_path(path.as_ref()).is_err(), "{path:?}");
        assert!(denied.listen_path(path.as_ref()).is_err(), "{path:?}");
    }
    let inside = folder.join("app.sock\0");
    assert!(allowed.connect_path(&inside).is_err());
    assert!(allowed.listen_path(&inside).is_err());
}

#[test]
fn unix_sockets_have_rules_of_their_own() {
    let folder = std::env::temp_dir().join(format!("lute-net-policy-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("inside")).unwrap();
    let rule = format!("unix:{}", folder.join("inside").display());
    let policy = closed(&["*", &rule]).allow_listen(&rule).unwrap();
    assert!(policy.connect_path(&folder.join("inside/app.sock")).is_ok());
    assert!(policy.listen_path(&folder.join("inside/app.sock")).is_ok());
    for outside in ["app.sock", "inside/../app.sock", "inside2/app.sock"] {
        assert!(
            policy.connect_path(&folder.join(outside)).is_err(),
            "{outside}"
        );
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&folder, folder.join("inside/out")).unwrap();
        assert!(
            policy
                .connect_path(&folder.join("inside/out/app.sock"))
                .is_err()
        );
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(
        Policy::open()
            .connect_path(Path::new("/run/app.sock"))
            .is_ok()
    );
    assert!(
        open(&["unix:/run"])
            .connect_path(Path::new("/run/app.sock"))
            .is_err()
    );
}

#[test]
fn a_rule_that_can_not_be_read_says_why() {
    for (rule, why) in [
        ("fd00::/8", "brackets"),
        ("example.com:99999", "port"),
        ("example.com:9-1", "port"),
        ("10.0.0.0/33", "prefix"),
        ("10.0.0/8", "prefix"),
        ("exa*mple.com", "*.example.com"),
        ("*.*.com", "*.example.com"),
        ("a b", "invalid"),
        ("", "empty"),
        ("unix:", "path"),
    ] {
        let problem = Policy::open().deny_connect(rule).unwrap_err().to_string();
        assert!(problem.contains(why), "{rule}: {problem}");
    }
}

#[test]
fn a_refusal_names_what_was_asked_for() {
    let policy = closed(&["api.example"]);
    let problem = policy.connect_address("api.example", "10.0.0.1:80".parse().unwrap());
    assert_eq!(
        problem.unwrap_err(),
        "connecting to api.example:80 is not allowed: its address is 10.0.0.1"
    );
    assert_eq!(
        policy.connect_name("b.example", 81).unwrap_err(),
        "connecting to b.example:81 is not allowed"
    );
    assert_eq!(
        policy
            .listen_address("[::]:80".parse().unwrap())
            .unwrap_err(),
        "listening on [::]:80 is not allowed"
    );
}
