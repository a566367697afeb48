//! Who is believed, and what becomes of files that are of no use.

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

/// What becomes of a peer that says `bytes`, and then nothing more.
async fn offer(gate: &Gate, from: IpAddr, bytes: &[u8]) -> Result<Stream, Refused> {
    let (mut near, far) = tcp().await;
    near.write_all(bytes).await.unwrap();
    near.shutdown().await.unwrap();
    gate.enter(far, from, &mut BytesMut::new()).await
}

/// What becomes of a peer that connects with `client`, at either end.
async fn meet(gate: &Gate, client: &Inner) -> (io::Result<Stream>, Result<Stream, Refused>) {
    let (near, far) = tcp().await;
    tokio::join!(client.connect(near), async { gate.enter(far, LOCAL, &mut BytesMut::new()).await })
}

/// A peer that shows what it likes, and believes the CA.
async fn show(gate: &Gate, ca: &Ca, certificate: bool) -> Result<Stream, Refused> {
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
    let (near, far) = tokio::join!(shaken(Session::new(near, client, BytesMut::new())), async {
        gate.enter(far, LOCAL, &mut BytesMut::new()).await
    });
    // With TLS 1.3 it hears only now what the other end makes of its certificate.
    if let (Ok(mut near), Err(_)) = (near, &far) {
        assert!(near.read_u8().await.is_err());
    }
    far
}

fn gate(inner: Inner) -> Gate {
    Gate::new(inner, Plain::Refuse)
}

#[tokio::test]
async fn members_of_a_cluster_let_each_other_in() {
    let ca = Ca::new();
    let gate = gate(ca.member());
    let (near, far) = meet(&gate, &ca.member()).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    assert!(near.is_tls() && far.is_tls());
    near.write_u32(7).await.unwrap();
    assert_eq!(far.read_u32().await.unwrap(), 7);
    far.write_u32(8).await.unwrap();
    assert_eq!(near.read_u32().await.unwrap(), 8);
}

#[tokio::test]
async fn another_cas_certificate_is_refused_by_both_ends() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let (near, far) = meet(&gate(ours.member()), &theirs.member()).await;
    assert!(near.unwrap_err().to_string().contains("invalid peer certificate"));
    assert!(matches!(far.unwrap_err(), Refused::Tls(_)));
    // One that believes us is refused all the same.
    let both = [ours.path("ca.pem"), theirs.path("ca.pem")].map(|ca| fs::read(ca).unwrap());
    fs::write(theirs.path("ca.pem"), both.concat()).unwrap();
    let (_, far) = meet(&gate(ours.member()), &theirs.read().unwrap()).await;
    assert!(far.unwrap_err().to_string().contains("invalid peer certificate"));
}

#[tokio::test]
async fn who_shows_nothing_or_what_is_not_for_this_is_refused() {
    let ca = Ca::new();
    let gate = gate(ca.member());
    assert!(matches!(show(&gate, &ca, false).await.unwrap_err(), Refused::Tls(_)));
    assert!(show(&gate, &ca, true).await.is_ok());
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
        let refused = show(&gate, &ca, true).await.unwrap_err().to_string();
        assert!(refused.to_lowercase().contains(&why.to_lowercase()), "{why}: {refused}");
        // Nor does a process start with it, which nobody would speak to.
        let error = format!("{:#}", ca.read().unwrap_err());
        assert!(error.starts_with("--inner-tls-cert ") && error.contains("cert.pem"), "{error}");
    }
}

#[tokio::test]
async fn who_speaks_no_tls_is_let_in_as_it_was_said() {
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
        let gate = Gate::new(inner.clone(), plain);
        for hello in [&b"GWN1"[..], b"{\"event\":1}\n", b"\0\0\0\x1c\xca"] {
            let (mut near, far) = tcp().await;
            near.write_all(hello).await.unwrap();
            let mut read = BytesMut::new();
            let entered = gate.enter(far, from, &mut read).await;
            assert_eq!(entered.is_ok(), enters, "{plain:?} {from}");
            match entered {
                Ok(stream) => assert!(!stream.is_tls() && hello.starts_with(&read)),
                Err(refused) => assert!(matches!(refused, Refused::Plain)),
            }
        }
    }
    assert!(offer(&Gate::default(), far_away, b"x").await.is_ok(), "without TLS, everybody is");
}

#[tokio::test]
async fn no_bytes_of_a_stranger_do_more_than_end_its_connection() {
    let ca = Ca::new();
    let gate = Gate::new(ca.member(), Plain::Refuse);
    assert!(matches!(offer(&gate, LOCAL, b"").await.unwrap_err(), Refused::Closed));
    for (bytes, what) in [
        (&b"\x16"[..], "no more than a byte"),
        (b"\x16HELLO", "another version"),
        (b"\x16\x03\x01\xff\xff", "a record too long"),
        (b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\x00", "a hello that has no end"),
        (b"\x16\x03\x01\x00\x00", "an empty record"),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "a hello of a server"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\x17\x03\x03\x00\x02xx", "data too early"),
    ] {
        assert!(offer(&gate, LOCAL, bytes).await.is_err(), "{what}");
    }
    // A hello of 4 MiB, in records of 16 KiB: it is not waited for.
    let (mut near, far) = tcp().await;
    let record = [&b"\x16\x03\x01\x40\x00"[..], b"\x01\x3f\xff\xff", &[0; 16 * 1024 - 4]].concat();
    let write = async { while near.write_all(&record).await.is_ok() {} };
    let (_, refused) =
        tokio::join!(write, async { gate.enter(far, LOCAL, &mut BytesMut::new()).await });
    assert!(matches!(refused.unwrap_err(), Refused::Tls(_)));
}

#[tokio::test]
async fn tls_at_a_port_without_it_is_an_error_for_who_speaks_it() {
    let inner = Ca::new().member();
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"{\"event\":1}\n", b""] {
        let (near, mut far) = tcp().await;
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        assert!(inner.connect(near).await.is_err(), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_read_again_holds_for_new_connections_and_what_is_of_no_use_changes_nothing() {
    let (old, new) = (Ca::new(), Ca::new());
    let (server, files) = (old.member(), ["cert.pem", "key.pem", "ca.pem"]);
    let gate = gate(server.clone());
    let client = new.member();
    let (near, far) = meet(&gate, &old.member()).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    assert!(meet(&gate, &client).await.1.is_err());
    // One file after the other: only with the last of them they fit.
    for (at, file) in files.iter().enumerate() {
        fs::copy(new.path(file), old.path(file)).unwrap();
        assert_eq!(server.files().reread().is_ok(), at == 2, "{file}");
        assert_eq!(meet(&gate, &client).await.1.is_ok(), at == 2, "{file}");
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
    assert!(meet(&gate, &client).await.1.is_ok(), "still as it was");
    near.write_u32(7).await.unwrap();
    assert_eq!(far.read_u32().await.unwrap(), 7, "connections that stand go on");
}

#[test]
fn what_cannot_be_read_is_named_with_its_flag_and_never_shown() {
    let ca = Ca::new();
    ca.member();
    let [cert, key, root] = ["cert.pem", "key.pem", "ca.pem"].map(|file| ca.path(file));
    let error = |cert: &PathBuf, key: &PathBuf, ca: &PathBuf| {
        format!("{:#}", Inner::read(cert.clone(), key.clone(), ca.clone()).unwrap_err())
    };
    let nowhere = ca.path("nowhere.pem");
    assert!(error(&nowhere, &key, &root).contains("--inner-tls-cert "));
    assert!(error(&cert, &nowhere, &root).contains("--inner-tls-key "));
    assert!(error(&cert, &key, &nowhere).contains("--inner-tls-ca "));
    assert!(error(&key, &key, &root).contains("there is no certificate"));
    assert!(error(&cert, &cert, &root).contains("there is no private key"));
    fs::write(&key, "-----BEGIN PRIVATE KEY-----s3cret\ns3cret\n").unwrap();
    let told = error(&cert, &key, &root);
    assert!(told.contains("--inner-tls-key ") && !told.contains("s3cret"), "{told}");
    let other = Ca::new();
    other.member();
    assert!(error(&cert, &other.path("key.pem"), &root).contains("is not the key of"));
    assert!(Public::read(cert, other.path("key.pem")).is_err());
}
