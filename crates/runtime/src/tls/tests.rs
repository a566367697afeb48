//! Verification of peers, and reloading of valid and invalid files.

use std::{fs, io, net::IpAddr, sync::Arc};

use bytes::BytesMut;
use rcgen::date_time_ymd;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    version::TLS13,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{pki::Ca, *};

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Two ends of a connection.
async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// The outcome for a peer that sends `bytes` and closes its end.
async fn offer(acceptor: &InnerAcceptor, from: IpAddr, bytes: &[u8]) -> Result<Stream, Refused> {
    let (mut near, far) = tcp().await;
    near.write_all(bytes).await.unwrap();
    near.shutdown().await.unwrap();
    acceptor.enter(far, from, &mut BytesMut::new()).await
}

/// The outcome for a peer that connects with `client`, at either end.
async fn meet(
    acceptor: &InnerAcceptor,
    client: &MutualTls,
) -> (io::Result<Stream>, Result<Stream, Refused>) {
    let (near, far) = tcp().await;
    tokio::join!(client.connect(near), async {
        acceptor.enter(far, LOCAL, &mut BytesMut::new()).await
    })
}

/// A peer that trusts the CA, and presents the CA's last certificate or none.
async fn show(acceptor: &InnerAcceptor, ca: &Ca, certificate: bool) -> Result<Stream, Refused> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca.path("ca.pem")).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let client = client.with_protocol_versions(&[&TLS13]).unwrap().with_root_certificates(roots);
    let client = match certificate {
        false => client.with_no_client_auth(),
        true => {
            let cert = CertificateDer::from_pem_file(ca.path("cert.pem")).unwrap();
            let key = PrivateKeyDer::from_pem_file(ca.path("key.pem")).unwrap();
            client.with_client_auth_cert(vec![cert], key).unwrap()
        }
    };
    let client = ClientConnection::new(Arc::new(client), trust::name()).unwrap();
    let (near, far) = tcp().await;
    let (near, far) = tokio::join!(handshake(Session::new(near, client, BytesMut::new())), async {
        acceptor.enter(far, LOCAL, &mut BytesMut::new()).await
    });
    // With TLS 1.3 a client learns only from its first read that its certificate was rejected.
    if let (Ok(mut near), Err(_)) = (near, &far) {
        assert!(near.read_u8().await.is_err());
    }
    far
}

fn acceptor(inner: MutualTls) -> InnerAcceptor {
    InnerAcceptor::new(inner, Plain::Refuse)
}

#[tokio::test]
async fn members_of_a_cluster_accept_each_other() {
    let ca = Ca::new();
    let acceptor = acceptor(ca.member());
    let (near, far) = meet(&acceptor, &ca.member()).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    assert!(near.is_tls() && far.is_tls());
    near.write_u32(7).await.unwrap();
    assert_eq!(far.read_u32().await.unwrap(), 7);
    far.write_u32(8).await.unwrap();
    assert_eq!(near.read_u32().await.unwrap(), 8);
}

#[tokio::test]
async fn certificate_of_another_ca_is_refused_by_both_ends() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let (near, far) = meet(&acceptor(ours.member()), &theirs.member()).await;
    assert!(near.unwrap_err().to_string().contains("invalid peer certificate"));
    assert!(matches!(far.unwrap_err(), Refused::Tls(_)));
    // A peer that trusts our CA is refused as well.
    let both = [ours.path("ca.pem"), theirs.path("ca.pem")].map(|ca| fs::read(ca).unwrap());
    fs::write(theirs.path("ca.pem"), both.concat()).unwrap();
    let (_, far) = meet(&acceptor(ours.member()), &theirs.read().unwrap()).await;
    assert!(far.unwrap_err().to_string().contains("invalid peer certificate"));
}

#[tokio::test]
async fn peer_without_a_valid_certificate_is_refused() {
    let ca = Ca::new();
    let acceptor = acceptor(ca.member());
    assert!(matches!(show(&acceptor, &ca, false).await.unwrap_err(), Refused::Tls(_)));
    assert!(show(&acceptor, &ca, true).await.is_ok());
    type Change = fn(&mut rcgen::CertificateParams);
    let cases: [(&str, &str, Change); 4] = [
        ("another.name", "NotValidForName", |_| ()),
        (NAME, "Expired", |params| params.not_after = date_time_ymd(2020, 1, 1)),
        (NAME, "not valid yet", |params| params.not_before = date_time_ymd(4000, 1, 1)),
        (NAME, "extended key usage", |params| {
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning];
        }),
    ];
    for (name, why, change) in cases {
        ca.sign(name, change);
        let refused = show(&acceptor, &ca, true).await.unwrap_err().to_string();
        assert!(refused.to_lowercase().contains(&why.to_lowercase()), "{why}: {refused}");
        // Nor does a process start with it, which nobody would speak to.
        let error = format!("{:#}", ca.read().unwrap_err());
        assert!(error.starts_with("--inner-tls-cert ") && error.contains("cert.pem"), "{error}");
    }
}

#[tokio::test]
async fn peer_without_tls_is_accepted_only_if_plain_allows_it() {
    let ca = Ca::new();
    let (inner, far_away) = (ca.member(), IpAddr::from([192, 0, 2, 1]));
    let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1]);
    for (plain, from, enters) in [
        (Plain::Refuse, LOCAL, false),
        (Plain::Loopback, LOCAL, true),
        (Plain::Loopback, mapped, true),
        (Plain::Loopback, far_away, false),
        (Plain::Allow, far_away, true),
    ] {
        let acceptor = InnerAcceptor::new(inner.clone(), plain);
        for hello in [&b"GWN1"[..], b"{\"event\":1}\n", b"\0\0\0\x1c\xca"] {
            let (mut near, far) = tcp().await;
            near.write_all(hello).await.unwrap();
            let mut read = BytesMut::new();
            let entered = acceptor.enter(far, from, &mut read).await;
            assert_eq!(entered.is_ok(), enters, "{plain:?} {from}");
            match entered {
                Ok(stream) => assert!(!stream.is_tls() && hello.starts_with(&read)),
                Err(refused) => assert!(matches!(refused, Refused::Plain)),
            }
        }
    }
    assert!(
        offer(&InnerAcceptor::default(), far_away, b"x").await.is_ok(),
        "without TLS, every peer is accepted"
    );
}

#[tokio::test]
async fn malformed_tls_from_an_unauthenticated_peer_only_closes_its_connection() {
    let ca = Ca::new();
    let acceptor = InnerAcceptor::new(ca.member(), Plain::Refuse);
    assert!(matches!(offer(&acceptor, LOCAL, b"").await.unwrap_err(), Refused::Closed));
    for (bytes, what) in [
        (&b"\x16"[..], "no more than a byte"),
        (b"\x16HELLO", "another version"),
        (b"\x16\x03\x01\xff\xff", "a record too long"),
        (b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00", "an endless hello"),
        (b"\x16\x03\x01\x00\x00", "an empty record"),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "a hello of a server"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\x17\x03\x03\x00\x02xx", "data too early"),
    ] {
        assert!(offer(&acceptor, LOCAL, bytes).await.is_err(), "{what}");
    }
    // A hello of 4 MiB, in records of 16 KiB, is refused before its end.
    let (mut near, far) = tcp().await;
    let record = [&b"\x16\x03\x01\x40\x00"[..], b"\x01\x3f\xff\xff", &[0; 16 * 1024 - 4]].concat();
    let write = async { while near.write_all(&record).await.is_ok() {} };
    let (_, refused) =
        tokio::join!(write, async { acceptor.enter(far, LOCAL, &mut BytesMut::new()).await });
    assert!(matches!(refused.unwrap_err(), Refused::Tls(_)));
}

#[tokio::test]
async fn connecting_with_tls_to_a_plain_port_fails() {
    let inner = Ca::new().member();
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"{\"event\":1}\n", b""] {
        let (near, mut far) = tcp().await;
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        assert!(inner.connect(near).await.is_err(), "{answer:?}");
    }
}

#[tokio::test]
async fn reload_applies_to_new_connections_and_invalid_files_change_nothing() {
    let (old, new) = (Ca::new(), Ca::new());
    let (server, files) = (old.member(), ["cert.pem", "key.pem", "ca.pem"]);
    let acceptor = acceptor(server.clone());
    let client = new.member();
    let (near, far) = meet(&acceptor, &old.member()).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    assert!(meet(&acceptor, &client).await.1.is_err());
    // One file after the other: they match only once the last is replaced.
    for (at, file) in files.iter().enumerate() {
        fs::copy(new.path(file), old.path(file)).unwrap();
        assert_eq!(server.files().reread().is_ok(), at == 2, "{file}");
        assert_eq!(meet(&acceptor, &client).await.1.is_ok(), at == 2, "{file}");
    }
    for file in files {
        let good = fs::read(old.path(file)).unwrap();
        for bad in [&b""[..], b"-----BEGIN NONSENSE", &good[..good.len() / 2]] {
            fs::write(old.path(file), bad).unwrap();
            let error = format!("{:#}", server.files().reread().unwrap_err());
            assert!(error.contains(file), "{error}");
        }
        fs::write(old.path(file), good).unwrap();
    }
    assert!(meet(&acceptor, &client).await.1.is_ok(), "unchanged");
    near.write_u32(7).await.unwrap();
    assert_eq!(far.read_u32().await.unwrap(), 7, "existing connections are not affected");
}

#[test]
fn invalid_file_is_reported_with_its_flag_and_without_its_content() {
    let ca = Ca::new();
    ca.member();
    let [cert, key, root] = ["cert.pem", "key.pem", "ca.pem"].map(|file| ca.path(file));
    let error = |cert: &PathBuf, key: &PathBuf, ca: &PathBuf| {
        format!("{:#}", MutualTls::read(cert.clone(), key.clone(), ca.clone()).unwrap_err())
    };
    let nowhere = ca.path("nowhere.pem");
    assert!(error(&nowhere, &key, &root).contains("--inner-tls-cert "));
    assert!(error(&cert, &nowhere, &root).contains("--inner-tls-key "));
    assert!(error(&cert, &key, &nowhere).contains("--inner-tls-ca "));
    assert!(error(&key, &key, &root).contains("contains no certificate"));
    assert!(error(&cert, &cert, &root).contains("contains no private key"));
    fs::write(&key, "-----BEGIN PRIVATE KEY-----s3cret\ns3cret\n").unwrap();
    let shown = error(&cert, &key, &root);
    assert!(shown.contains("--inner-tls-key ") && !shown.contains("s3cret"), "{shown}");
    let other = Ca::new();
    other.member();
    assert!(error(&cert, &other.path("key.pem"), &root).contains("is not the key of"));
    assert!(ServerTls::read(cert, other.path("key.pem")).is_err());
}
