//! TLS for clients that insist on it: a certificate that is given, or one that is made at the start.
//!
//! A made certificate is signed by an authority that is made with it and whose key is forgotten at once: who
//! trusts that authority trusts this emulator's certificate and can be made to trust nothing else. Nothing is
//! made unless TLS is asked for, since making keys takes time.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Ports over TLS, beside the plain ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// The certificate. Default: one that is made.
    pub certificate: Certificate,
    /// Address of Service Bus over TLS. Absent: the fourth port counted from `listen`.
    pub service_bus_listen: Option<SocketAddr>,
    /// Address of the blob service over TLS. Absent: the fifth port counted from `listen`.
    pub blob_listen: Option<SocketAddr>,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// Made at the start, for `localhost`, `127.0.0.1`, `::1` and these names or addresses.
    Made {
        /// More names or addresses that it is good for.
        names: Vec<String>,
    },
    /// Read from files of PEM.
    Files {
        /// The certificate, and those between it and its authority.
        chain: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

impl Default for Certificate {
    fn default() -> Self {
        Self::Made { names: Vec::new() }
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// A file has no PEM of the right kind.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file has no certificate.
    #[error("no certificate in {0}")]
    Empty(PathBuf),
    /// Certificate and key are not accepted.
    #[error("the certificate or its key cannot be used")]
    Use(#[from] rustls::Error),
}

/// A certificate in use.
pub(crate) struct Identity {
    pub(crate) acceptor: TlsAcceptor,
    /// The authority to trust, as PEM, when the certificate was made.
    pub(crate) authority: Option<String>,
}

impl Certificate {
    pub(crate) fn load(&self) -> Result<Identity, TlsError> {
        let (chain, key, authority) = match self {
            Self::Made { names } => make(names)?,
            Self::Files { chain, key } => {
                let (chain, key) = read(chain, key)?;
                (chain, key, None)
            }
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Identity { acceptor: TlsAcceptor::from(Arc::new(config)), authority })
    }
}

type Loaded = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, Option<String>);

fn make(names: &[String]) -> Result<Loaded, TlsError> {
    // Longer than any test machine lives, and within what 32-bit clocks can say.
    let (from, to) = (rcgen::date_time_ymd(2024, 1, 1), rcgen::date_time_ymd(2037, 12, 31));
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "oncebus-emulator, good for one start");
    (authority.not_before, authority.not_after) = (from, to);
    let authority_key = KeyPair::generate()?;
    let pem = authority.self_signed(&authority_key)?.pem();

    let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut leaf = CertificateParams::new(own.iter().chain(names).cloned().collect::<Vec<_>>())?;
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    leaf.distinguished_name.push(DnType::CommonName, "oncebus-emulator");
    (leaf.not_before, leaf.not_after) = (from, to);
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &Issuer::new(authority, authority_key))?;
    Ok((vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()), Some(pem)))
}

fn read(chain: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| TlsError::Read { path, source }
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect);
    let certificates = certificates.map_err(failed(chain))?;
    if certificates.is_empty() {
        return Err(TlsError::Empty(chain.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    Ok((certificates, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_certificate_can_be_used_and_names_its_authority() {
        let identity =
            Certificate::Made { names: vec!["ns.example".to_owned(), "10.0.0.7".to_owned()] }.load().unwrap();
        assert!(identity.authority.unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    }

    #[test]
    fn files_that_are_no_pem_are_named() {
        let missing = Certificate::Files { chain: "no-such-chain.pem".into(), key: "no-such-key.pem".into() };
        let error = missing.load().map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read no-such-chain.pem");
    }
}
