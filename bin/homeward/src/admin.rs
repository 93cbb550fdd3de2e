//! `homeward admin`: the records of the datastore.
//!
//! | module | does |
//! |---|---|
//! | [`key`] | the key ring |
//! | [`class`], [`account`], [`gateway`], [`network`], [`device`], [`login`] | the records, one module each |
//! | [`subscriber`], [`policy`], [`issued`] | the cellular side: who there is, what devices are told, who holds what |
//! | [`audit`] | who changed what |
//! | [`pki`] | the authority of EAP's certificate |
//! | [`record`] | the roaming record that joins them |
//! | [`usage`], [`session`] | what was accounted, from the ledger |
//! | [`exchange`] | CSV, out and in |
//! | [`find`] | how records are addressed, and what is said of one that is not there |
//! | [`names`] | names for identifiers, so that people see no numbers |
//! | [`secret`] | secrets read from files, and made |
//! | [`spelling`] | rates, quotas and spans as people write them |

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use homeward_daemon::{Exit, ExitContext, SystemClock, SystemEntropy};
use homeward_ledger::LedgerReader;
use homeward_seal::{KeyFileError, KeyRing, SealError};
use homeward_store::{Error, OpenError, SqliteOptions, SqliteStore, Store};
use serde::Serialize;

use crate::core::Config;
use crate::homeless::Warning;
use crate::output;
use crate::role::{self, LogArgs};

mod account;
mod actor;
mod audit;
mod class;
mod device;
mod exchange;
mod find;
mod gateway;
mod issued;
mod key;
mod login;
mod names;
mod network;
mod pki;
mod policy;
mod record;
mod secret;
mod session;
mod spelling;
mod subscriber;
mod usage;

#[derive(Debug, Args)]
#[command(after_long_help = "Examples, from nothing to a device that roams:
  homeward admin key create
  homeward admin class create gold --coverage national --bandwidth-down 50M
  homeward admin account create smith --class gold
  homeward admin gateway create gw-1 --mac 02:00:5e:10:00:01 --place gb/london/n7 \\
      --operator example --address 10.8.0.17 --secret-out gw-1.secret
  homeward admin network create --account smith --ssid smithnet --security wpa2-psk --gateway gw-1
  homeward admin device create --network smith/smithnet --mac 02:00:5e:10:00:02 --label phone
  homeward admin gateway enrol gw-1              a token for its control channel

And to a phone that gets its Wi-Fi credentials by the cellular network:
  homeward admin subscriber add 999700123456789 --account smith --msisdn +447700900123
  homeward admin policy set --default policy.toml

A running core takes every change within a second. Exit status 66: what was named does not exist.")]
pub(crate) struct AdminArgs {
    #[command(subcommand)]
    command: AdminCommand,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Where the datastore is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Datastore")]
struct PlaceArgs {
    /// The core's configuration, which names the datastore [default: /etc/homeward/core.toml]
    #[arg(long, value_name = "FILE", global = true, conflicts_with_all = ["database", "key_file"])]
    config: Option<PathBuf>,
    /// The datastore itself, with --key-file
    #[arg(long, value_name = "PATH", global = true)]
    database: Option<PathBuf>,
    /// The key ring that opens it, with --database
    #[arg(long, value_name = "PATH", global = true)]
    key_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// The key ring that seals the secrets in the datastore
    #[command(subcommand)]
    Key(key::Verb),
    /// The authority of the certificate that EAP is spoken with
    #[command(subcommand)]
    Pki(pki::Verb),
    /// Classes of service: what a subscriber is entitled to away from home
    #[command(subcommand)]
    Class(Box<class::Verb>),
    /// Accounts: what billing knows
    #[command(subcommand)]
    Account(account::Verb),
    /// Gateways: who asks, and where homes are
    #[command(subcommand)]
    Gateway(gateway::Verb),
    /// Home networks: an SSID and its security
    #[command(subcommand)]
    Network(network::Verb),
    /// Devices, each with its own key
    #[command(subcommand)]
    Device(device::Verb),
    /// Log-ins: names and passwords for 802.1X, WISPr and PAP
    #[command(subcommand)]
    Login(login::Verb),
    /// Subscribers of the cellular network, by SIM and telephone number
    #[command(subcommand)]
    Subscriber(subscriber::Verb),
    /// What devices are told of the operator's Wi-Fi, and what credentials are like
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Issued credentials: which subscriber's device holds which
    #[command(subcommand)]
    Issued(issued::Verb),
    /// The roaming record: device, network, account, class and home gateway, joined
    #[command(subcommand)]
    Record(record::Verb),
    /// What was used: by account, device and log-in, and for billing
    #[command(subcommand)]
    Usage(usage::Verb),
    /// Sessions, as NASes report them
    #[command(subcommand)]
    Session(session::Verb),
    /// Who changed what, when, from what to what
    Audit(audit::AuditArgs),
    /// Write records as CSV
    Export(exchange::ExportArgs),
    /// Read records from CSV
    Import(exchange::ImportArgs),
}

impl AdminCommand {
    /// Whether it may make the datastore where there is none yet.
    fn creates(&self) -> bool {
        match self {
            Self::Class(verb) => matches!(**verb, class::Verb::Create(_)),
            Self::Account(verb) => matches!(verb, account::Verb::Create(_)),
            Self::Gateway(verb) => matches!(verb, gateway::Verb::Create(_)),
            Self::Import(import) => !import.is_dry(),
            _ => false,
        }
    }
}

/// What every verb works with.
pub(crate) struct Context<'a> {
    store: &'a dyn Store,
    entropy: SystemEntropy,
    json: bool,
}

impl Context<'_> {
    /// Shows a result: as JSON, or as `human` has it.
    fn show<T: Serialize + ?Sized>(
        &self,
        value: &T,
        human: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.json { output::json(value) } else { output::text(&human()) }
    }

    /// Warns of what will not work, beside what is shown.
    fn warn(&self, warnings: impl IntoIterator<Item = Warning>) {
        for Warning { what, repair } in warnings {
            output::complain(format_args!("warning: {what}; {repair}"));
        }
    }

    /// Shows that a record is gone.
    fn deleted(&self, entity: homeward_store::Entity, id: i64, name: &str) -> anyhow::Result<()> {
        let gone = serde_json::json!({
            "deleted": { "entity": entity.as_str(), "id": id, "name": name }
        });
        self.show(&gone, || format!("deleted {entity} {name}\n"))
    }
}

pub(crate) fn run(args: AdminArgs, log: &LogArgs) -> anyhow::Result<()> {
    log.begin_quietly()?;
    let place = args.place.resolve()?;
    if let AdminCommand::Key(verb) = &args.command
        && let Some(done) = key::without_store(verb, &place, args.json)
    {
        return done.map_err(classify);
    }
    if let AdminCommand::Pki(verb) = &args.command {
        return pki::run(verb, args.json).map_err(classify);
    }
    let creates = args.command.creates();
    role::small_runtime()?.block_on(async {
        let store = place.open(creates).await.map_err(classify)?;
        let mut cx = Context { store: &store, entropy: SystemEntropy::new(), json: args.json };
        let result = carry_out(args.command, &place, &mut cx).await;
        store.close().await;
        result.map_err(classify)
    })
}

async fn carry_out(
    command: AdminCommand,
    place: &Place,
    cx: &mut Context<'_>,
) -> anyhow::Result<()> {
    match command {
        AdminCommand::Key(verb) => key::run(verb, place, cx).await,
        AdminCommand::Pki(verb) => pki::run(&verb, cx.json),
        AdminCommand::Class(verb) => class::run(*verb, cx).await,
        AdminCommand::Account(verb) => account::run(verb, cx).await,
        AdminCommand::Gateway(verb) => gateway::run(verb, cx).await,
        AdminCommand::Network(verb) => network::run(verb, cx).await,
        AdminCommand::Device(verb) => device::run(verb, cx).await,
        AdminCommand::Login(verb) => login::run(verb, cx).await,
        AdminCommand::Subscriber(verb) => subscriber::run(verb, cx).await,
        AdminCommand::Policy(verb) => policy::run(verb, cx).await,
        AdminCommand::Issued(verb) => issued::run(verb, cx).await,
        AdminCommand::Record(verb) => record::run(verb, cx).await,
        AdminCommand::Usage(verb) => usage::run(verb, place, cx).await,
        AdminCommand::Session(verb) => session::run(verb, place, cx).await,
        AdminCommand::Audit(args) => audit::run(args, cx).await,
        AdminCommand::Export(args) => exchange::export(args, cx).await,
        AdminCommand::Import(args) => exchange::import(args, cx).await,
    }
}

/// The datastore's two files, and the ledger.
pub(crate) struct Place {
    database: PathBuf,
    key_file: PathBuf,
    ledger: PathBuf,
}

impl PlaceArgs {
    fn resolve(&self) -> anyhow::Result<Place> {
        let config = match (&self.database, &self.key_file) {
            (Some(database), Some(key_file)) => {
                let ledger = database.with_file_name(Config::LEDGER);
                let (database, key_file) = (database.clone(), key_file.clone());
                return Ok(Place { database, key_file, ledger });
            }
            (None, None) => match &self.config {
                Some(path) => Config::load(path)?,
                None => {
                    let usual = role::default_config("core");
                    if usual.exists() { Config::load(&usual)? } else { Config::default() }
                }
            },
            _ => {
                let half = anyhow!("--database and --key-file go together: give both, or --config");
                return Err(half).exit(Exit::Usage);
            }
        };
        let ledger = config.ledger();
        Ok(Place { database: config.store.path, key_file: config.store.key_file, ledger })
    }
}

impl Place {
    async fn open(&self, create: bool) -> anyhow::Result<SqliteStore> {
        let ring = KeyRing::load(&self.key_file)?;
        let options = SqliteOptions::new(&self.database).create(create).actor(actor::this_user());
        let opened =
            options.open(ring, Arc::new(SystemClock), Box::new(SystemEntropy::new())).await;
        match opened {
            Err(Error::Open(OpenError::NoFile(path))) => Err(anyhow!(
                "no datastore at {}; the first `homeward admin class create` makes it",
                path.display()
            ))
            .exit(Exit::NoInput),
            other => Ok(other?),
        }
    }
}

impl Place {
    /// The ledger, to read it.
    async fn ledger(&self) -> anyhow::Result<LedgerReader> {
        if !self.ledger.exists() {
            let path = self.ledger.display();
            let none = anyhow!("no ledger at {path}; `homeward core` makes it when it starts");
            return Err(none).exit(Exit::NoInput);
        }
        LedgerReader::open(&self.ledger).await.exit(Exit::Config)
    }
}

/// Gives an error of the datastore the exit status that it means.
fn classify(error: anyhow::Error) -> anyhow::Error {
    if Exit::of(&error) != Exit::Failure {
        return error;
    }
    let exit = error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<Error>() {
            return status(error);
        }
        cause.downcast_ref::<KeyFileError>().and_then(key_file_status)
    });
    match exit {
        Some(exit) => Err::<(), _>(error).exit(exit).err().unwrap_or_else(|| anyhow!("unknown")),
        None => error,
    }
}

fn status(error: &Error) -> Option<Exit> {
    match error {
        Error::NoSuchName { .. } | Error::NoSuch { .. } | Error::NoSubscriber(_) => {
            Some(Exit::NoInput)
        }
        Error::Invalid(_) => Some(Exit::Usage),
        Error::Locked => Some(Exit::Temporary),
        Error::Corrupt { .. } => Some(Exit::Data),
        Error::Seal(SealError::WrongKeyFile { .. }) => Some(Exit::Config),
        Error::Seal(SealError::Reload(error)) | Error::KeyFile(error) => key_file_status(error),
        Error::Seal(_) => Some(Exit::Data),
        Error::Open(OpenError::NoDirectory(_) | OpenError::NoFile(_)) => Some(Exit::NoInput),
        Error::Open(OpenError::NotADatabase(_) | OpenError::Foreign(_)) => Some(Exit::Data),
        Error::Open(
            OpenError::NotAFile(_) | OpenError::Mode { .. } | OpenError::NewerSchema { .. },
        ) => Some(Exit::Config),
        _ => None,
    }
}

fn key_file_status(error: &KeyFileError) -> Option<Exit> {
    match error {
        KeyFileError::Missing(_) => Some(Exit::NoInput),
        KeyFileError::Exists(_) => Some(Exit::CannotCreate),
        KeyFileError::Mode { .. } => Some(Exit::Config),
        KeyFileError::Malformed { .. } => Some(Exit::Data),
        _ => None,
    }
}

/// What was tried, where a deletion is refused: the datastore knows identifiers only.
fn cannot_delete(entity: homeward_store::Entity, name: impl std::fmt::Display) -> String {
    format!("cannot delete {entity} {name}")
}

/// A change that changes nothing is a mistake on the command line.
fn something<T: Default + PartialEq>(change: T) -> anyhow::Result<T> {
    if change == T::default() {
        return Err(anyhow!("nothing to change: say what, see --help")).exit(Exit::Usage);
    }
    Ok(change)
}

/// All pages of a list.
macro_rules! all {
    ($cx:expr, $list:ident($($filter:expr)?)) => {{
        const PAGE: u32 = 1000;
        let mut all = Vec::new();
        loop {
            let page = homeward_store::Page { after: all.last().map(|r: &_| $crate::admin::id_of(r)), limit: PAGE };
            let records = $cx.store.$list($(&$filter,)? page).await?;
            let last = records.len() < PAGE as usize;
            all.extend(records);
            if last {
                break all;
            }
        }
    }};
}
use all;

/// Records that have an identifier.
trait Identified {
    type Id;
    fn id(&self) -> Self::Id;
}

macro_rules! identified {
    ($($record:ident: $id:ident),+ $(,)?) => { $(
        impl Identified for homeward_model::$record {
            type Id = homeward_model::$id;
            fn id(&self) -> Self::Id {
                self.id
            }
        }
    )+ };
}

identified!(
    ClassOfService: ClassId,
    Account: AccountId,
    Gateway: GatewayId,
    Network: NetworkId,
    Device: DeviceId,
    Login: LoginId,
    Subscriber: SubscriberId,
);

impl Identified for homeward_store::Issued {
    type Id = homeward_model::LoginId;
    fn id(&self) -> Self::Id {
        self.login.id
    }
}

fn id_of<R: Identified>(record: &R) -> R::Id {
    record.id()
}
