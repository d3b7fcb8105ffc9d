//! A certificate authority and a server's certificate for loopback, as PEM files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Where the files are. Each authority is its own: nobody who trusts one trusts another.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    /// The authority: what a client trusts.
    pub(crate) ca: PathBuf,
    /// The server's certificate, for `localhost`, `127.0.0.1` and `::1`, and for two vendors' own names.
    pub(crate) certificate: PathBuf,
    /// The server's key.
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes an authority and a server's certificate and writes them to this directory, which is made if missing.
    pub(crate) fn write(directory: &Path) -> Self {
        let issuer = authority();
        let names = ["localhost", "127.0.0.1", "::1", "api.iterable.com", "api-02.moengage.com"].map(str::to_owned);
        let mut server = CertificateParams::new(names).expect("names");
        server.distinguished_name.push(DnType::CommonName, "localhost");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        server.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key");
        let certificate = server.signed_by(&key, &issuer).expect("a certificate");

        fs::create_dir_all(directory).expect("a directory");
        let file = |name: &str, pem: String| {
            let path = directory.join(name);
            fs::write(&path, pem).expect("a file is written");
            path
        };
        Self {
            ca: file("ca.pem", issuer.pem()),
            certificate: file("server.pem", certificate.pem()),
            key: file("server.key", key.serialize_pem()),
        }
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "the tests' authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("an authority")
}
