use homeward_model::{
    Coverage, Gateway, LookupForm, NetworkId, Secret, Security, ServiceTerms, Status,
};
use homeward_store::{
    Accounts, Classes, Enrolment, Gateways, MemoryStore, Networks, NewAccount, NewClass,
    NewCredential, NewGateway, NewNetwork,
};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};

use super::*;
use crate::testing::{self, FAR, GATEWAY, HOME};

const SERIAL: [u8; 16] = [0x51; 16];
const SERIAL_OF_DEVICE: [u8; 16] = [0x53; 16];

struct World {
    store: Arc<MemoryStore>,
    authority: AuthorityParts,
    door: Door,
}

impl World {
    /// Two gateways, the second of which was enrolled.
    async fn new(peers: &[(&str, &str)]) -> Self {
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        for id in [HOME, GATEWAY] {
            let gateway = testing::gateway(id, "gb/london");
            let new = NewGateway {
                name: gateway.name,
                mac: gateway.mac,
                place: gateway.place,
                operator: gateway.operator,
                address: None,
                radius_secret: Secret::new("sixteen characters"),
                lookup: LookupForm::Homeward,
                status: Status::Active,
                device_of: None,
                site: None,
            };
            assert_eq!(store.create_gateway(&new).await.unwrap().id, id);
        }
        let made = authority(&*store).await.unwrap();
        let stored = store.authority().await.unwrap().unwrap();
        let parts = AuthorityParts { certificate: stored.certificate, key: stored.key };
        let peers = peers.iter().map(|(n, g)| ((*n).to_owned(), g.parse().unwrap())).collect();
        let config = RadsecConfig { peers, ..RadsecConfig::default() };
        let projection = Arc::new(RwLock::new(testing::projection()));
        let dyn_store: Arc<dyn Store> = Arc::clone(&store) as _;
        let door = Door::new(&config, &made, dyn_store, projection).unwrap();
        let this = Self { store, authority: parts, door };
        this.enrol(SERIAL).await;
        this
    }

    async fn enrol(&self, serial: [u8; 16]) {
        self.enrol_as(GATEWAY, serial).await;
    }

    async fn enrol_as(&self, gateway: GatewayId, serial: [u8; 16]) {
        let now = SystemClock.unix();
        let later = homeward_model::UnixTime(now.0 + 86_400_000);
        let token = [u8::try_from(gateway.0).unwrap(); 32];
        self.store.put_token(gateway, token, later).await.unwrap();
        let new = NewCredential { serial, issued: now, not_after: later };
        self.store.redeem_token(token, &new).await.unwrap();
    }

    /// A network, and a third gateway that is a hybrid device of it.
    async fn add_device(&self) {
        let class = NewClass {
            name: "standard".parse().unwrap(),
            coverage: Coverage::National,
            terms: ServiceTerms::default(),
            retention: None,
        };
        let class = self.store.create_class(&class).await.unwrap().id;
        let (name, status) = ("smith".parse().unwrap(), Status::Active);
        let account = self.store.create_account(&NewAccount { name, class, status }).await.unwrap();
        let network = NewNetwork {
            account: account.id,
            gateway: Some(HOME),
            ssid: testing::ssid(),
            security: Security::Wpa2Psk,
            status,
        };
        assert_eq!(self.store.create_network(&network).await.unwrap().id, NetworkId(1));
        let phone = testing::gateway(FAR, "gb/london");
        let new = NewGateway {
            name: phone.name,
            mac: phone.mac,
            place: phone.place,
            operator: phone.operator,
            address: None,
            radius_secret: Secret::default(),
            lookup: LookupForm::Homeward,
            status,
            device_of: Some(NetworkId(1)),
            site: None,
        };
        assert_eq!(self.store.create_gateway(&new).await.unwrap().id, FAR);
    }

    /// The second gateway's certificate of the core's own authority.
    fn own(&self) -> CertificateDer<'static> {
        self.own_of(GATEWAY)
    }

    fn own_of(&self, gateway: GatewayId) -> CertificateDer<'static> {
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(self.authority.key.expose());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256).unwrap();
        let ca = CertificateDer::from(self.authority.certificate.clone());
        sign(&Issuer::from_ca_cert_der(&ca, key).unwrap(), gateway, &[])
    }

    async fn admits(&self, certificate: &CertificateDer<'_>) -> Option<u64> {
        self.door.admit(certificate, "192.0.2.1:40000".parse().unwrap()).await
    }
}

/// A certificate that says to be that gateway's, and has these names.
fn sign(
    issuer: &Issuer<'_, KeyPair>,
    gateway: GatewayId,
    names: &[&str],
) -> CertificateDer<'static> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let uri = Ia5String::try_from(format!("urn:homeward:gateway:{gateway}")).unwrap();
    params.subject_alt_names.push(SanType::URI(uri));
    let serial = if gateway == FAR { SERIAL_OF_DEVICE } else { SERIAL };
    params.serial_number = Some(SerialNumber::from(serial.to_vec()));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

fn foreign() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test]
async fn a_gateway_is_let_in_by_the_certificate_of_its_control_channel_until_that_ends() {
    let world = World::new(&[]).await;
    let certificate = world.own();
    assert_eq!(world.admits(&certificate).await, Some(2));
    // Enrolled anew: what was before is worth nothing.
    world.enrol([0x52; 16]).await;
    assert_eq!(world.admits(&certificate).await, None);
}

#[tokio::test]
async fn a_hybrid_devices_certificate_lets_nobody_in() {
    let world = World::new(&[("phone.example.net", "gw-3")]).await;
    world.add_device().await;
    // All else is as with a gateway: the certificate is good, and the look-ups know its number.
    world.enrol_as(FAR, SERIAL_OF_DEVICE).await;
    assert!(world.store.credential(SERIAL_OF_DEVICE).await.unwrap().is_some());
    assert!(world.door.projection.read().unwrap().client(FAR).is_some());
    assert_eq!(world.admits(&world.own_of(FAR)).await, None);
    // Nor does somebody else's certificate by the name of one.
    let phone = Gateway { device_of: Some(NetworkId(1)), ..testing::gateway(FAR, "gb/london") };
    world.door.projection.write().unwrap().put_gateway(phone);
    let named = sign(&foreign(), FAR, &["phone.example.net"]);
    assert_eq!(world.admits(&named).await, None);
}

#[tokio::test]
async fn what_others_certificates_say_of_gateways_is_not_believed() {
    let world = World::new(&[]).await;
    assert_eq!(world.admits(&sign(&foreign(), GATEWAY, &["gw-2"])).await, None);
}

#[tokio::test]
async fn a_name_that_the_configuration_knows_is_that_gateway() {
    let world = World::new(&[("nas.example.net", "gw-1"), ("gone.example.net", "gw-9")]).await;
    let names = |name: &str| sign(&foreign(), GATEWAY, &["other.example.net", name]);
    assert_eq!(world.admits(&names("nas.example.net")).await, Some(1));
    assert_eq!(world.admits(&names("NAS.example.net")).await, Some(1));
    assert_eq!(world.admits(&names("gone.example.net")).await, None);
    assert_eq!(world.admits(&names("nas.example.org")).await, None);
}

#[test]
fn a_configuration_that_cannot_be_is_refused() {
    let check = |text: &str| config(text).check().map_err(|error| error.to_string());
    assert_eq!(check(r#"{"listen": ["127.0.0.1:2083"]}"#), Ok(()));
    for (text, part) in [
        (r#"{"certificate": "a"}"#, "go together"),
        (r#"{"peers": {"nas.example.net": "oak"}}"#, "client_ca"),
        (r#"{"client_ca": "a", "peers": {"no name": "oak"}}"#, "DNS name"),
        (r#"{"outstanding": 0}"#, "outstanding"),
        (r#"{"idle_timeout": "0s"}"#, "idle_timeout"),
    ] {
        let error = check(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

fn config(text: &str) -> RadsecConfig {
    serde_json::from_str(text).unwrap()
}
