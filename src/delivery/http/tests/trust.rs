//! Whom the client believes.

use super::super::ClientError;
use super::*;

#[tokio::test]
async fn a_ca_file_is_trusted_by_name_and_by_address() {
    for host in ["localhost", "127.0.0.1"] {
        let vendor = FakeVendor::ok_tls(TRUSTED.acceptor(host)).await;
        let origin = Origin { host: host.into(), ..vendor.origin.clone() };
        let client = client();
        succeed(&client, &origin).await;
        succeed(&client, &origin).await;
        assert_eq!(vendor.connections(), 1);
    }
}

#[tokio::test]
async fn a_stranger_is_refused() {
    let vendor = FakeVendor::ok_tls(FakeAuthority::new("stranger").acceptor("127.0.0.1")).await;
    let error = fail(&client(), &vendor.origin).await;
    assert_eq!((error.kind(), error.may_have_been_received()), ("tls", false));
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    assert_eq!(vendor.requests(), 0);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let vendor = FakeVendor::ok_tls(TRUSTED.acceptor("elsewhere.example")).await;
    let error = fail(&client(), &vendor.origin).await;
    assert_eq!((error.kind(), vendor.requests()), ("tls", 0));
    assert!(error.to_string().contains("elsewhere.example"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let vendor = FakeVendor::ok().await;
    let origin = Origin { tls: true, ..vendor.origin.clone() };
    let error = fail(&client(), &origin).await;
    assert_eq!((error.kind(), vendor.requests()), ("tls", 0));
}

#[test]
fn a_ca_file_that_is_missing_empty_or_broken_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (path, text) in [(Path::new("/no/such/file"), None), (file.path(), Some("")), (file.path(), Some(broken))] {
        if let Some(text) = text {
            std::fs::write(path, text).unwrap();
        }
        let mut options = options();
        options.ca_file = Some(path.to_owned());
        let error = Client::new(options).unwrap_err();
        assert!(matches!(error, ClientError::CaFile { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}
