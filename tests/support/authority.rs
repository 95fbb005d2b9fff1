//! A certificate authority of the test's own.

use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::node::Scratch;

/// An authority, with its certificate in a file.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: Scratch,
}

/// A certificate that an authority signed, and its key, in files.
pub struct Signed {
    pub pem: Scratch,
    pub key: Scratch,
}

impl Authority {
    pub fn make() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        // Two of one name would be taken for one another.
        params.distinguished_name.push(DnType::CommonName, unique("authority"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem: Scratch::write("ca.pem", &pem) }
    }

    /// A certificate for this name.
    pub fn sign(&self, name: &str) -> Signed {
        self.sign_until(name, 2999)
    }

    /// A certificate for this name that ends with the first day of this year.
    pub fn sign_until(&self, name: &str, year: i32) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, unique(name));
        params.not_after = date_time_ymd(year, 1, 1);
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { pem: Scratch::write("signed.pem", &pem), key: Scratch::write("signed.key", &key.serialize_pem()) }
    }
}

impl Signed {
    /// Puts another one into the same files.
    pub fn replace(&self, other: &Signed) {
        std::fs::copy(&other.pem.0, &self.pem.0).unwrap();
        std::fs::copy(&other.key.0, &self.key.0).unwrap();
    }
}

fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name} {}", NEXT.fetch_add(1, Ordering::Relaxed))
}
