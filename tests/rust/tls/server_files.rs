//! Certificates and keys that a server loads.

use super::*;

#[test]
fn each_key_format_loads() {
    let authority = Authority::new();
    authority.issue("ec");
    authority.openssl("ec -in ec.key -out sec1.key");
    authority.openssl("ec -in ec.key -aes128 -passout pass:secret -out sec1-encrypted.key");
    authority.openssl("pkcs8 -topk8 -in ec.key -passout pass:secret -out pkcs8-encrypted.key");
    // As `openssl ecparam -genkey` writes it.
    authority.openssl("ecparam -name prime256v1 -out parameters.pem");
    let with_parameters = [
        fs::read(authority.path("parameters.pem")).unwrap(),
        fs::read(authority.path("sec1.key")).unwrap(),
    ]
    .concat();
    fs::write(authority.path("sec1-parameters.key"), with_parameters).unwrap();
    authority.openssl(
        "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout rsa.key -out rsa.pem -subj /CN=rsa",
    );
    authority.openssl("rsa -in rsa.key -traditional -out pkcs1.key");
    authority.openssl(
        "rsa -in rsa.key -traditional -aes128 -passout pass:secret -out pkcs1-encrypted.key",
    );
    authority.openssl("pkcs8 -topk8 -in rsa.key -passout pass:secret -out rsa-encrypted.key");
    for (certificate, key, marker) in [
        ("ec.pem", "ec.key", "BEGIN PRIVATE KEY"),
        ("ec.pem", "sec1.key", "BEGIN EC PRIVATE KEY"),
        ("ec.pem", "sec1-parameters.key", "BEGIN EC PARAMETERS"),
        ("ec.pem", "sec1-encrypted.key", "Proc-Type: 4,ENCRYPTED"),
        ("ec.pem", "pkcs8-encrypted.key", "BEGIN ENCRYPTED PRIVATE"),
        ("rsa.pem", "rsa.key", "BEGIN PRIVATE KEY"),
        ("rsa.pem", "pkcs1.key", "BEGIN RSA PRIVATE KEY"),
        ("rsa.pem", "pkcs1-encrypted.key", "Proc-Type: 4,ENCRYPTED"),
        ("rsa.pem", "rsa-encrypted.key", "BEGIN ENCRYPTED PRIVATE"),
    ] {
        let text = fs::read_to_string(authority.path(key)).unwrap();
        assert!(text.contains(marker), "{key} is not what it should be");
        for cafilename in [None, Some(authority.certificate())] {
            let files = ServerTlsFiles {
                certfilename: authority.path(certificate),
                keyfilename: authority.path(key),
                passphrase: Some(b"secret".to_vec()),
                cafilename,
            };
            if let Err(error) = ServerTls::load(&files) {
                panic!("{key}: {error}");
            }
        }
    }
}

#[test]
fn certificate_and_key_may_share_a_file() {
    let authority = Authority::new();
    let server = authority.issue("server");
    let both = [
        fs::read(&server.key).unwrap(),
        fs::read(&server.certificate).unwrap(),
        fs::read(authority.certificate()).unwrap(),
    ]
    .concat();
    fs::write(authority.path("both.pem"), both).unwrap();
    let both = authority.path("both.pem");
    assert!(ServerTls::load(&files(&both, &both)).is_ok());
}

#[test]
fn bad_files_are_named_with_what_is_wrong() {
    let authority = Authority::new();
    let server = authority.issue("server");
    let other = authority.issue("other");
    authority.openssl("ec -in server.key -aes128 -passout pass:secret -out sec1.key");
    authority.openssl("pkcs8 -topk8 -in server.key -passout pass:secret -out pkcs8.key");
    let file = |name: &str, content: &str| {
        fs::write(authority.path(name), content).unwrap();
        authority.path(name)
    };
    let missing = authority.path("missing.pem");
    let empty = file("empty.pem", "");
    let broken = file(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let broken_key = file(
        "broken.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    let chain = [
        fs::read_to_string(authority.certificate()).unwrap(),
        fs::read_to_string(&server.certificate).unwrap(),
    ];
    let backwards = file("backwards.pem", &chain.concat());
    let path = |path: &Path| path.display().to_string();
    let message = |files: ServerTlsFiles| match ServerTls::load(&files) {
        Ok(_) => "it loads".to_owned(),
        Err(error) => error.to_string(),
    };

    assert_eq!(
        message(files(&missing, &server.key)),
        format!(
            "cannot read {}: No such file or directory (os error 2)",
            path(&missing)
        )
    );
    assert_eq!(
        message(files(&server.certificate, &missing)),
        format!(
            "cannot read {}: No such file or directory (os error 2)",
            path(&missing)
        )
    );
    for without in [&empty, &server.key] {
        assert_eq!(
            message(files(without, &server.key)),
            format!("no certificate in {} (PEM is expected)", path(without))
        );
    }
    for without in [&empty, &server.certificate] {
        assert_eq!(
            message(files(&server.certificate, without)),
            format!("no private key in {} (PEM is expected)", path(without))
        );
    }
    assert!(message(files(&broken, &server.key)).starts_with(&format!(
        "cannot use the certificate in {}: ",
        path(&broken)
    )));
    assert!(
        message(files(&server.certificate, &broken_key)).starts_with(&format!(
            "cannot use the private key in {}: ",
            path(&broken_key)
        ))
    );
    assert_eq!(
        message(files(&server.certificate, &other.key)),
        format!(
            "the private key in {} does not belong to the certificate in {}",
            path(&other.key),
            path(&server.certificate)
        )
    );
    assert_eq!(
        message(files(&backwards, &server.key)),
        format!(
            "the certificate of the private key must be the first in {}",
            path(&backwards)
        )
    );
    for key in ["sec1.key", "pkcs8.key"].map(|name| authority.path(name)) {
        let encrypted = |passphrase: Option<&[u8]>| ServerTlsFiles {
            passphrase: passphrase.map(<[u8]>::to_vec),
            ..files(&server.certificate, &key)
        };
        assert_eq!(
            message(encrypted(None)),
            format!(
                "the private key in {} is encrypted and needs a passphrase",
                path(&key)
            )
        );
        let too_long = vec![b'x'; 5000];
        for wrong in [&b"wrong"[..], b"", &too_long] {
            assert_eq!(
                message(encrypted(Some(wrong))),
                format!("wrong passphrase for the private key in {}", path(&key))
            );
        }
        assert_eq!(message(encrypted(Some(b"secret"))), "it loads");
    }
    let with_authorities = |cafilename: &Path| ServerTlsFiles {
        cafilename: Some(cafilename.to_owned()),
        ..files(&server.certificate, &server.key)
    };
    assert_eq!(
        message(with_authorities(&empty)),
        format!("no certificate in {} (PEM is expected)", path(&empty))
    );
    assert_eq!(message(with_authorities(&server.certificate)), "it loads");
}

#[test]
fn a_clients_key_needs_its_certificate() {
    let authority = Authority::new();
    let issued = authority.issue("client");
    let options = ClientTlsOptions {
        keyfilename: Some(issued.key.clone()),
        ..ClientTlsOptions::default()
    };
    assert_eq!(
        ClientTls::new(&options).err().unwrap().to_string(),
        format!(
            "the private key in {} needs a certificate (certfilename)",
            issued.key.display()
        )
    );
}
