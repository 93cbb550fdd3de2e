//! Those on the bus that ModemManager asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use homeward_net::PrivateBus;
use zbus::{Connection, OwnedVariant, connection::Builder, interface};

/// polkit, as far as ModemManager asks it: whoever asks may, or may not.
pub(crate) struct Polkit {
    allowed: Arc<AtomicBool>,
    _connection: Connection,
}

impl Polkit {
    pub(crate) async fn start(bus: &PrivateBus) -> Result<Self> {
        let allowed = Arc::new(AtomicBool::new(true));
        let authority = Authority(Arc::clone(&allowed));
        let connection = Builder::address(bus.address().as_str())
            .serve_at("/org/freedesktop/PolicyKit1/Authority", authority)
            .name("org.freedesktop.PolicyKit1")
            .build()
            .await
            .context("no polkit")?;
        Ok(Self { allowed, _connection: connection })
    }

    pub(crate) fn allow(&self, whether: bool) {
        self.allowed.store(whether, Ordering::Relaxed);
    }
}

struct Authority(Arc<AtomicBool>);

type Verdict = (bool, bool, HashMap<String, String>);

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Authority {
    /// (is authorized, is a challenge, details), of a subject, an action and some more.
    fn check_authorization(
        &self,
        _subject: (String, HashMap<String, OwnedVariant>),
        _action: String,
        _details: HashMap<String, String>,
        _flags: u32,
        _cancellation: String,
    ) -> (Verdict,) {
        ((self.0.load(Ordering::Relaxed), false, HashMap::new()),)
    }

    #[zbus(property)]
    fn backend_name(&self) -> String {
        "test".to_owned()
    }

    #[zbus(property)]
    fn backend_version(&self) -> String {
        "1".to_owned()
    }

    #[zbus(property)]
    fn backend_features(&self) -> u32 {
        0
    }
}
