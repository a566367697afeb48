//! `check certificates`: the certificates of gateways, of registers, and of this program.

use std::net::SocketAddr;

use futures_util::future::join_all;
use push_suite_cluster::{AboutRegister, CertificateStatus};
use runtime::{clock, tls::MutualTls};

use crate::{
    args::Settings,
    failure::{Failure, advice},
    health::{Finding, Severity, Topic, judge_certificate},
    output::utc,
    session::Session,
};

/// The faults of certificates, and the measured value.
///
/// # Errors
/// When the settings are invalid.
pub(super) async fn certificates(
    settings: &Settings,
    session: &Session,
    gateways: &[SocketAddr],
) -> Result<(Vec<Finding>, String), Failure> {
    let (mut findings, mut known) = (Vec::new(), Vec::new());
    let asked = gateways.iter().map(async |gateway| {
        let certificates = session.partial().certificates(*gateway).await;
        (*gateway, certificates)
    });
    for (gateway, answer) in join_all(asked).await {
        match answer {
            Ok(certificates) => {
                let of = format!("gateway {gateway}");
                known.extend(certificates.into_iter().map(|it| (of.clone(), it)));
            }
            Err(error) => findings.push(Finding {
                severity: Severity::Warning,
                topic: Topic::Certificates,
                problem: format!("the certificates of gateway {gateway} are not known: {error}"),
                next: advice(&error).unwrap_or_default(),
            }),
        }
    }
    // `check connection` names the registers that do not answer.
    for register in session.cluster().registers(session.time).await {
        if let Ok(Some(AboutRegister { certificates, .. })) = register.about {
            let of = format!("register {}", register.address);
            known.extend(certificates.into_iter().map(|it| (of.clone(), it)));
        }
    }
    known.extend(own(settings)?.map(|it| ("this program".to_owned(), it)));
    let now = clock::unix_seconds();
    findings.extend(known.iter().filter_map(|(of, it)| judge_certificate(of, it, now)));
    let first = known.iter().filter_map(|(_, certificate)| certificate.not_after).min();
    let detail = match (known.len(), first) {
        (0, _) => "no process uses any".to_owned(),
        (_, None) => "no expiry is known".to_owned(),
        (1, Some(first)) => format!("it expires on {}", utc(first.saturating_mul(1000))),
        (count, Some(first)) => {
            format!("the first of {count} expires on {}", utc(first.saturating_mul(1000)))
        }
    };
    Ok((findings, detail))
}

/// The certificate of this program.
fn own(settings: &Settings) -> Result<Option<CertificateStatus>, Failure> {
    let tls = settings.tls.clone().read();
    let tls = tls.map_err(|error| Failure::usage(format!("{error:#}")))?;
    let certificate = tls.as_ref().map(MutualTls::files).and_then(|files| files.certificate());
    Ok(certificate.map(service::certificates::status))
}
