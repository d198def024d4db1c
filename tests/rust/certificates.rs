//! Certificates made for one test by the `openssl` command.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A certificate authority with a directory of its own, which is removed afterwards.
pub struct Authority {
    directory: PathBuf,
}

/// A certificate and its unencrypted PKCS#8 key.
#[derive(Clone)]
pub struct Issued {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lute-net-certificates-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let authority = Self { directory };
        authority.self_signed(
            "ca",
            "CN=test authority",
            "basicConstraints=critical,CA:TRUE",
        );
        authority
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A certificate for `localhost` and 127.0.0.1.
    pub fn issue(&self, name: &str) -> Issued {
        self.issue_for(name, "subjectAltName=DNS:localhost,IP:127.0.0.1", 2)
    }

    /// A certificate for another host.
    pub fn issue_for_another_host(&self, name: &str) -> Issued {
        self.issue_for(name, "subjectAltName=DNS:other.example", 2)
    }

    /// A certificate that was valid until yesterday.
    pub fn issue_expired(&self, name: &str) -> Issued {
        self.issue_for(name, "subjectAltName=DNS:localhost", -1)
    }

    /// A certificate for `localhost` that is its own issuer.
    pub fn issue_self_signed(&self, name: &str) -> Issued {
        self.self_signed(name, "CN=localhost", "subjectAltName=DNS:localhost")
    }

    fn self_signed(&self, name: &str, subject: &str, extension: &str) -> Issued {
        self.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout {name}.key -out {name}.pem \
             -subj|/{subject}|-addext|{extension}"
        ));
        self.issued(name)
    }

    fn issue_for(&self, name: &str, extension: &str, days: i32) -> Issued {
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        fs::write(self.path(&format!("{name}.ext")), extension).unwrap();
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile {name}.ext -out {name}.pem"
        ));
        self.issued(name)
    }

    fn issued(&self, name: &str) -> Issued {
        Issued {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        }
    }

    /// Runs the `openssl` command in the directory. Arguments end at a space, or at `|` from the first one on.
    pub fn openssl(&self, arguments: &str) {
        let (words, last) = arguments.split_once('|').unwrap_or((arguments, ""));
        let output = Command::new("openssl")
            .args(words.split_whitespace())
            .args(last.split('|').filter(|argument| !argument.is_empty()))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {problem}");
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
